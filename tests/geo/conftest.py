"""Real GeoTIFFs and GeoJSONs over crs x dtype x nodata kind; ``pixel_models``."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

sys.path.insert(0, str(Path(__file__).parent))  # for pixel_models

UTM = "EPSG:32611"
GRID = Affine(0.5, 0, 664000, 0, -0.5, 4000000)


@pytest.fixture
def write_tiff(tmp_path):
    """Return ``write(name, pixels, ...) -> path``; pixels are ``(B, H, W)``."""

    def write(
        name,
        pixels,
        *,
        crs=UTM,
        transform=GRID,
        nodata=None,
        alpha=False,
        mask=None,
        descriptions=None,
        photometric="minisblack",
        **profile,
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(pixels)
        profile |= {} if crs is None else {"crs": crs, "transform": transform}
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                count=pixels.shape[0],
                height=pixels.shape[1],
                width=pixels.shape[2],
                dtype=pixels.dtype,
                nodata=nodata,
                photometric=photometric,
                alpha="yes" if alpha else "no",
                **profile,
            ) as dataset:
                dataset.write(pixels)
                if descriptions:
                    dataset.descriptions = descriptions
                if mask is not None:
                    dataset.write_mask(mask)
        return str(path)

    return write


@pytest.fixture
def write_geojson(tmp_path):
    """Return ``write(name, geometries, crs=None) -> path``."""

    def write(name, geometries, *, crs=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        collection = {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "properties": {"Id": 0}, "geometry": geometry}
                for geometry in geometries
            ],
        }
        if crs:
            collection["crs"] = {"type": "name", "properties": {"name": crs}}
        path.write_text(json.dumps(collection))
        return str(path)

    return write


@pytest.fixture
def rectangle():
    """Return ``make(row, col, height, width)``: pixels of GRID as a GeoJSON polygon."""

    def make(row, col, height, width, *, z=False):
        corners = [
            (col, row),
            (col + width, row),
            (col + width, row + height),
            (col, row + height),
            (col, row),
        ]
        x0, y0 = GRID.c, GRID.f
        ring = [[x0 + 0.5 * x, y0 - 0.5 * y] + ([0.0] if z else []) for x, y in corners]
        return {"type": "Polygon", "coordinates": [ring]}

    return make


@pytest.fixture
def folder(tmp_path):
    """Return the folder of the tiles that ``write`` writes."""
    (tmp_path / "tiles").mkdir()
    return tmp_path / "tiles"


@pytest.fixture
def write(write_tiff):
    """Return ``write(number, pixels, ...) -> path`` of a tile of the folder."""

    def tile(number, pixels, *, after=None, **profile):
        profile.setdefault("transform", GRID @ Affine.translation(100 * number, 0))
        path = write_tiff(f"tiles/tile{number}.tif", pixels, **profile)
        if after is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path, "r+") as dataset:
                    after(dataset)
        return path

    return tile
