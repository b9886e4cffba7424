"""File names that trip up programs."""

import json
import shlex
import shutil

import pytest
from click.testing import CliRunner

from geoseg.cli import cli

NAMES = ["a b.tif", "grün 建物.tif", "b\nc.tif", "-b.tif"]


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_name_that_is_wrong_stays_on_one_line(refused, name):
    words = f"predict -o b.gpkg --model m -- {shlex.quote(name)}"
    refused(lambda desk: None, words, 1, "does not exist, expected a GeoTIFF")


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_name_is_mapped(desk, name):
    shutil.copy("tile.tif", name)
    words = ["predict", "-o", "ü b.geojson", "--model", "m", "--", name]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert json.loads((desk.folder / "ü b.geojson").read_text())["features"]
