"""Runs over signed addresses: what they write down opens nothing."""

import json
from dataclasses import replace
from pathlib import Path

import geopandas
import pytest
from click.testing import CliRunner
from shapely import box

from geoseg.cli import cli
from geoseg.model.card import load_card
from geoseg.runs import train as runs
from geoseg.runs.settings import RunSettings

SIGNATURE = "s3cretsignature"


@pytest.fixture
def address(s3, town) -> str:
    """The signed address of a tile."""
    s3.put("tile0.tif", Path(town.images, "tile0.tif").read_bytes())
    where = f"{s3.url}/{s3.bucket}/tile0.tif"
    return f"{where}?X-Amz-Expires=60&X-Amz-Credential={SIGNATURE}&sig={SIGNATURE}"


@pytest.fixture
def labels(tmp_path) -> str:
    """Buildings in all four blocks of the tile."""
    strips = [box(664000 + x, 3999968, 664006 + x, 4000000) for x in (0, 20)]
    frame = geopandas.GeoDataFrame(geometry=strips, crs="EPSG:32611")
    frame.to_file(tmp_path / "labels.gpkg")
    return str(tmp_path / "labels.gpkg")


@pytest.mark.slow
def test_a_run_keeps_no_signature_and_takes_it_again_to_go_on(
    address, labels, tmp_path
):
    settings = RunSettings(
        images=address,
        labels=labels,
        blocks=2,
        parameters={"width": 2, "over_clusters": 4, "half_width": 2},
        patch_size=16,
        batch_size=2,
        max_steps=2,
        controls=False,
    )
    folder = runs.start(settings, tmp_path / "run").run
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"run.json", "model.safetensors", "scores.json", "report.html"} <= set(
        written
    )
    assert not [name for name, text in written.items() if SIGNATURE.encode() in text]
    stored = json.loads(written["run.json"])["settings"]["images"]
    assert stored == address.replace(SIGNATURE, "REDACTED")
    assert load_card(folder / "model.safetensors").provenance["source"] == "tile0"

    (folder / "scores.json").unlink()
    words = ["train", "--resume", str(folder)]
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == 1
    assert f"give it again, with --resume {folder} --images URL" in refused.stderr
    anew = address.replace(SIGNATURE, "another")
    resumed = CliRunner().invoke(cli, [*words, "--images", anew])
    assert resumed.exit_code == 0, resumed.stderr
    assert b"another" not in (folder / "scores.json").read_bytes()


def test_settings_without_secrets_are_written_as_they_are():
    settings = RunSettings(images="https://host/a.tif?page=2", labels="l.gpkg")
    settings = replace(settings, parameters={"width": 2})
    assert RunSettings.from_json(settings.to_json()) == settings
