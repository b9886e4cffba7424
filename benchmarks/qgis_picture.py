"""Draw what QGIS shows of a sample tile's reference: the picture of docs/qgis.md.

    python benchmarks/qgis_picture.py docs/images/qgis.png

Needs QGIS (``apt-get install python3-qgis``), which draws with the styles that geoseg
writes: footprints at the left, the class raster at the right.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.image import imread, imsave
from rasterio.crs import CRS

from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.class_rasters import class_raster
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.labels.labels import read_footprints
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.legend import class_legend
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import ClassStrip
from geoseg.geo.sample.write import CLASS_NAMES
from geoseg.geo.styles.styles import (
    layer_style,
    plan_styles,
    styled_outputs,
    write_style,
)
from geoseg.geo.tiles.tiles import Tile
from geoseg.report.painting import stretch_image

ROOT = Path(__file__).parents[1]
TILES = ROOT / "sample_tiles" / "AOI_0_Sample_Train"
NAME = "AOI_0_Sample_img56"
RED_GREEN_BLUE = (5, 3, 2)
SIDE = 640  # of each half, pixels


def write_image(path: Path, grid: RasterDescription) -> None:
    """Write the tile's visible bands as people like to see them."""
    with rasterio.open(grid.path) as source:
        seen = stretch_image(source.read(RED_GREEN_BLUE))
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "photometric": "rgb"}
    profile |= {"width": grid.width, "height": grid.height, "crs": grid.crs}
    with rasterio.open(path, "w", transform=grid.transform, **profile) as dataset:
        dataset.write((seen * 255).astype(np.uint8).transpose(2, 0, 1))


def write_outputs(folder: Path, grid: RasterDescription) -> list[Path]:
    """Write the reference as ``geoseg predict`` writes a map; return the files."""
    vectors = TILES / "geojson" / "buildings" / f"buildings_{NAME}.geojson"
    masks = TILES / "masks" / f"classes_{NAME}.tif"
    footprints, classes = folder / "buildings.geojson", folder / "classes.tif"
    found = [
        Footprint(polygon, 1, "building", 1.0, 0.0, 0.0, 0.0)
        for polygon in read_footprints(Tile(NAME, grid.path, str(vectors)), grid)
    ]
    buildings, everything = class_legend(CLASS_NAMES[:2]), class_legend(CLASS_NAMES)
    style = layer_style(footprints.stem, buildings)
    write_footprints(footprints, found, crs=CRS.from_user_input(grid.crs), style=style)
    with rasterio.open(masks) as dataset:
        ids = dataset.read(1)
    with class_raster(classes, grid, legend=everything) as rows:
        rows(ClassStrip(0, ids, np.ones(ids.shape, np.float32)))
    styled = styled_outputs(buildings, footprints=footprints)
    styled += styled_outputs(everything, classes=classes)
    for path, elements in plan_styles(styled).items():
        write_style(path, elements)
    return [footprints, classes]


def main() -> None:
    """Write the picture to the path of the command line."""
    (image,) = (TILES / "MUL-PanSharpen").glob(f"*_{NAME}.tif")
    grid = describe(str(image))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder / "image.tif", grid)
        files = [*write_outputs(folder, grid), folder / "image.tif"]
        probe = [str(ROOT / "tests" / "qgis" / "probe.py"), "--each", name]
        words = ["/usr/bin/python3", *probe, "--width", str(SIDE), *map(str, files)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        halves = [imread(f"{path}.png")[:, :, :3] for path in files[:2]]
    gap = np.ones((halves[0].shape[0], 12, 3), dtype=np.float32)
    imsave(sys.argv[1], np.concatenate((halves[0], gap, halves[1]), axis=1))


if __name__ == "__main__":
    main()
