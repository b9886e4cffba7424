"""Commands in this process and in others, and one small trained run for many tests."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from geoseg.cli import cli

COMMAND = (sys.executable, "-m", "geoseg")


def invoke(*words: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture(scope="session")
def geoseg():
    """Return ``geoseg(*words) -> click.testing.Result``."""
    return invoke


@pytest.fixture
def spawn(tmp_path):
    """Return ``spawn(*words) -> Popen`` of a process of its own; none outlives a test."""
    started = []

    def start(*words: object) -> subprocess.Popen:
        with (tmp_path / f"stderr{len(started)}").open("wb") as stderr:
            process = subprocess.Popen(
                [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=stderr
            )
        process.stderr_path = tmp_path / f"stderr{len(started)}"
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


class Work(NamedTuple):
    """A folder with sample tiles and a run, as a user has after ``geoseg train``."""

    folder: Path
    run: Path
    images: list[Path]
    trained: Result


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> Work:
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert invoke("sample", "--tiles", 6, "--size", 128).exit_code == 0
        trained = invoke(
            *("train", "--aoi", "sample", "--max-steps", 2, "-p", "width=2"),
            "--no-controls",
        )
    assert trained.exit_code == 0, trained.output
    images = sorted(folder.rglob("MUL-PanSharpen_*.tif"))
    return Work(folder, folder / "runs" / "sample-iic-001", images, trained)


@pytest.fixture
def there(work, monkeypatch) -> Work:
    """Be in that folder."""
    monkeypatch.chdir(work.folder)
    return work


@pytest.fixture
def info(geoseg):
    """Return ``info(*words) -> text`` of a successful call."""

    def call(*words):
        done = geoseg("-q", "info", *words)
        assert done.exit_code == 0, done.output
        return done.stdout

    return call
