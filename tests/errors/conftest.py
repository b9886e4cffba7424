"""A desk with good files on it, and what every refused command must live up to.

A case is a row of a table: what makes the input bad, the command line, the exit code,
and a regular expression for what was found, what was expected and what to do.
"""

import hashlib
import json
import re
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from rasterio.errors import NotGeoreferencedWarning
from safetensors import safe_open
from safetensors.torch import save_file

from geoseg.cli import cli
from geoseg.model.card import CARD_KEY
from geoseg.model.file import save_model

UTM = "EPSG:32611"
GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)
#: A training of moments.
TINY = "-p width=2 -p over_clusters=4 -p half_width=2 --max-steps 2 --patch-size 32"
TINY += " --batch-size 2 --patches-per-epoch 4 --no-controls --report none --threads 1"


class Desk:
    """A folder with ``tile.tif``, ``tiles/``, ``labels/`` and a matched model ``m``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return a path on the desk whose folder exists."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file of any content."""
        raw = content.encode() if isinstance(content, str) else content
        self.path(name).write_bytes(raw)
        return self.path(name)

    def cut(self, source: str, target: str, share: float) -> None:
        """Copy the first part of a file."""
        content = (self.folder / source).read_bytes()
        self.write(target, content[: int(len(content) * share)])

    def tiff(self, name: str, pixels: Any = None, **profile: Any) -> Path:
        """Write a GeoTIFF of ``(B, H, W)`` pixels, by default those of ``tile.tif``."""
        if pixels is None:
            with rasterio.open(self.folder / "tile.tif") as dataset:
                pixels = dataset.read()
        pixels = np.asarray(pixels)
        count, height, width = pixels.shape
        given = {"crs": UTM, "transform": GRID, "dtype": pixels.dtype.name, **profile}
        given |= {"count": count, "height": height, "width": width}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(self.path(name), "w", driver="GTiff", **given) as made:
                made.write(pixels)
        return self.path(name)

    def geojson(
        self, name: str, *geometries: dict[str, Any] | None, **more: Any
    ) -> None:
        """Write a GeoJSON file."""
        features = [
            {"type": "Feature", "properties": {}, "geometry": geometry}
            for geometry in geometries
        ]
        collection = {"type": "FeatureCollection", "features": features, **more}
        self.write(name, json.dumps(collection))

    def edit_model(
        self,
        card: Callable[[dict[str, Any]], Any] = lambda card: None,
        weights: Callable[[dict[str, Any]], Any] = lambda weights: None,
    ) -> None:
        """Change the card and the weights of the model ``m`` in place."""
        with safe_open(self.folder / "m", framework="pt") as file:
            values = json.loads(file.metadata()[CARD_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        card(values)
        weights(tensors)
        save_file(tensors, self.folder / "m", metadata={CARD_KEY: json.dumps(values)})

    def contents(self) -> dict[str, str]:
        """Return every path on the desk, hidden ones too, with a hash of what it holds."""
        return {
            str(path.relative_to(self.folder)): (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            )
            for path in self.folder.rglob("*")
        }


def nothing(desk: Desk) -> None:
    """Leave the desk as it is: the command line alone is wrong."""


@pytest.fixture(scope="session")
def good_desk(tmp_path_factory, town, bright_model) -> Path:
    """The desk that is copied for every case."""
    folder = tmp_path_factory.mktemp("good") / "desk"
    shutil.copytree(town.images, folder / "tiles")
    shutil.copytree(town.labels, folder / "labels")
    shutil.copy(f"{town.images}/tile0.tif", folder / "tile.tif")
    save_model(folder / "m", bright_model())
    return folder


@pytest.fixture(scope="session")
def good_run(good_desk) -> Path:
    """A run that was stopped after two steps, in a place of its own."""
    words = (
        f"-q train --images {good_desk / 'tiles'} {TINY} -o {good_desk.parent / 'r'}"
    )
    result = CliRunner().invoke(cli, shlex.split(words))
    assert result.exit_code == 0, result.output
    return good_desk.parent / "r"


@pytest.fixture
def desk(good_desk, tmp_path, monkeypatch) -> Desk:
    """Be at a desk of one's own."""
    shutil.copytree(good_desk, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    monkeypatch.delenv("GEOSEG_DATA", raising=False)
    return Desk(tmp_path / "desk")


BEFORE = re.compile(r"^scoring |^looking at |images adjoin or overlap others")


@pytest.fixture
def refused(desk, capfd):
    """Return ``refused(make, command, exit_code, line)``, which checks one case.

    The command ends with that exit code and says one line, which holds the regular
    expression; neither Python nor GDAL says more, and the desk is as it was.
    """

    def check(make: Callable[[Desk], Any], words: str, code: int, line: str) -> None:
        make(desk)
        before = desk.contents()
        capfd.readouterr()
        command = words.replace("TINY", TINY)
        result = CliRunner().invoke(cli, shlex.split(command))
        if not isinstance(result.exception, SystemExit):
            raise AssertionError(result.output) from result.exception
        said = [text for text in result.stderr.splitlines() if text]
        # what takes long is announced, and what is doubtful warned of, before it fails
        said = [text for text in said if not BEFORE.search(text)]
        if code == 2 and said[0].startswith("Usage: "):
            said = said[2:]
        assert len(said) == 1 and said[0].startswith("Error: "), result.stderr
        assert re.search(line, said[0]), said[0]
        assert (result.exit_code, result.stdout) == (code, "")
        assert capfd.readouterr() == ("", "")
        assert desk.contents() == before

    return check
