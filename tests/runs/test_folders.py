import os
import re

import pytest

from geoseg.core.errors import ModelFileError
from geoseg.core.run_files import MODEL_NAME, RUNS
from geoseg.runs.folders import newest_model


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / RUNS


def test_the_newest_model_is_the_one_written_last(runs):
    for number, name in enumerate(("b-iic-001", "c-iic-001", "a-iic-001")):
        (runs / name).mkdir(parents=True)
        path = runs / name / MODEL_NAME
        path.write_bytes(b"")
        os.utime(path, (1000 + number, 1000 + number))
    (runs / "d-iic-001").mkdir()  # began, but has no model yet
    assert newest_model().resolve() == runs / "a-iic-001" / MODEL_NAME
    os.utime(runs / "b-iic-001" / MODEL_NAME, (2000, 2000))
    assert newest_model().resolve() == runs / "b-iic-001" / MODEL_NAME


def test_a_new_matching_of_an_old_run_makes_it_no_newer(runs):
    for number, name in enumerate(("b-iic-001", "a-iic-001")):
        (runs / name).mkdir(parents=True)
        (runs / name / MODEL_NAME).write_bytes(b"")
        (runs / name / "run.json").write_text("{}")
        os.utime(runs / name / "run.json", (1000 + number, 1000 + number))
    os.utime(runs / "b-iic-001" / MODEL_NAME, (2e9, 2e9))
    assert newest_model().resolve() == runs / "a-iic-001" / MODEL_NAME


def test_without_a_run_the_message_says_what_to_do(runs):
    message = (
        f"no model in {re.escape(str(runs))}: train one with geoseg train, or name"
    )
    with pytest.raises(ModelFileError, match=message):
        newest_model()


def test_a_run_folder_or_a_file_can_be_named(tmp_path):
    for name in (MODEL_NAME, "other.bin"):
        (tmp_path / name).write_bytes(b"")
    assert newest_model(tmp_path) == tmp_path / MODEL_NAME
    assert newest_model(tmp_path / "other.bin") == tmp_path / "other.bin"
    with pytest.raises(
        ModelFileError, match="there is no model file .*none: train one"
    ):
        newest_model(tmp_path / "none")
