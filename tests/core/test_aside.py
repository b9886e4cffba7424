"""What is written aside or in place never lands behind a link."""

import stat

import pytest

from geoseg.core.aside import open_in_place, own_folder, replace_text, replacing
from geoseg.core.errors import OutputError, OutputExistsError
from geoseg.runs.demo import run_demo
from geoseg.runs.folders import write_json
from geoseg.runs.result import timed


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError), replacing(path) as aside:
        aside.write_text("half")
        raise ValueError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old" and aside.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_usual_mode(tmp_path):
    (tmp_path / "plain").touch()
    replace_text(tmp_path / "a", "ü")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a")}
    assert len(modes) == 1
    assert (tmp_path / "a").read_bytes() == "ü".encode()


@pytest.mark.parametrize("name", ["run.json", "times.json"])
def test_files_of_runs_are_not_written_through_links(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    stem = name.partition(".")[0]
    for link in (name, f"{stem}.part", f"{name}.part", f".{name}.part"):
        (run / link).symlink_to(victim)
    write_json(run / "run.json", {"a": 1})
    with timed(run / "times.json", "training"):
        pass
    assert victim.read_text() == "mine"
    assert not (run / name).is_symlink()


def test_links_are_refused_where_a_file_is_written_in_place(tmp_path):
    for there in (True, False):
        victim, link = tmp_path / f"victim{there}", tmp_path / f"link{there}"
        if there:
            victim.write_text("mine")
        link.symlink_to(victim)
        for mode in ("a", "w", "ab"):
            with pytest.raises(OutputError, match="is a link, expected a file"):
                open_in_place(link, mode)
        assert victim.exists() == there
        assert not there or victim.read_text() == "mine"


def test_folders_in_a_run_are_no_links(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "restarts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link, expected a folder"):
        own_folder(tmp_path / "restarts")
    assert own_folder(tmp_path / "a" / "b").is_dir()


def test_the_demo_replaces_its_own_run_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    with pytest.raises(OutputExistsError, match="not from an earlier demo"):
        run_demo(tmp_path)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "mine"
