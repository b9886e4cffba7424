"""What a command's input can cause is one line with its cause; bugs keep their traceback."""

import errno
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import geoseg.cli as package
from geoseg.cli import cli
from geoseg.core.errors import OutputError, ParameterError, remedy
from geoseg.geo.formats.formats import check_format
from geoseg.geo.sources.remote import explain


def run_raising(monkeypatch, error):
    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(package._Commands, "get_command", lambda *_: command)
    return CliRunner().invoke(cli, ["info"])


def library_errors():
    from pyproj.exceptions import CRSError
    from rasterio.errors import RasterioIOError
    from safetensors import SafetensorError
    from shapely.errors import GEOSException

    return [
        CRSError("bad"),
        RasterioIOError("bad"),
        SafetensorError("bad"),
        GEOSException("bad"),
    ]


@pytest.mark.parametrize("error", library_errors(), ids=lambda e: type(e).__module__)
def test_errors_of_libraries_are_one_line(monkeypatch, error):
    result = run_raising(monkeypatch, error)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert (
        line.startswith("Error: ")
        and "says: " in line
        and "check the given files" in line
    )


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EACCES, "check the permissions"),
        (errno.ENOENT, "check the path"),
        (errno.EMFILE, "allow more open files"),
        (errno.EXDEV, "check the path and its folder"),
    ],
)
def test_errors_of_the_system_name_their_cause(monkeypatch, number, advice):
    result = run_raising(monkeypatch, OSError(number, os.strerror(number), "a.tif"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: a.tif: {os.strerror(number)}: {advice}")
    assert ("free space" in result.stderr) is False


def test_memory_that_is_full_is_said(monkeypatch):
    result = run_raising(monkeypatch, MemoryError("Unable to allocate 9 GiB"))
    assert result.exit_code == 1 and "the memory is full (Unable" in result.stderr


@pytest.mark.parametrize(
    "error", [KeyError("a"), ValueError("b"), IndexError(), TypeError()]
)
def test_bugs_keep_their_traceback_and_ask_to_be_reported(monkeypatch, error):
    result = run_raising(monkeypatch, error)
    assert result.exception is error
    assert "please report it" in "".join(error.__notes__)


def test_an_output_error_names_the_output_and_not_what_was_written_beside_it():
    full = OSError(errno.ENOSPC, "No space left on device", "elsewhere/tmpx")
    text = str(OutputError.unwritable("run/last.ckpt", full))
    assert text == (
        "run/last.ckpt could not be written (No space left on device); make room on that "
        "disk"
    )
    assert (
        remedy("I/O error: No space left on device (os error 28)")
        == "make room on that disk"
    )
    assert remedy("layer name not allowed") == "check the path and its folder"
    assert remedy("disk I/O error") == "check the free space"


@pytest.mark.parametrize(
    "name",
    ["gpkg_town", "GPKG", "sqlite_town", "layer_styles", "-town", ".town", "rtree_a"],
)
def test_names_that_geopackages_keep_are_refused(tmp_path, name):
    with pytest.raises(ParameterError, match="give the file another name"):
        check_format(tmp_path / f"{name}.gpkg")
    check_format(tmp_path / f"{name}.geojson")
    check_format(tmp_path / f"my_{name.strip('-.')}.gpkg")


def test_a_server_without_ranges_is_named():
    reason = (
        "'/vsicurl/http://a/b.tif' not recognized as being in a supported file format."
    )
    said = explain("http://a/b.tif", reason)
    assert "range requests" in said and "download the file" in said
    assert explain("b.tif", reason) is None


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_any_encoding_can_be_written(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", "methods", "iic"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0
    assert rb"\u03bb" in done.stdout
    assert b"lacks some letters" in done.stderr
