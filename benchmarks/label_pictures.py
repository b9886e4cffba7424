"""Draw the pictures of docs/labels.md: what each way to label says of four sample tiles.

The label files are written, and read again as geoseg reads them:

    python benchmarks/label_pictures.py docs/images

Red is building, what is clear is background, and what lies in blue fog is unlabelled.
"""

import sys
import tempfile
from pathlib import Path

import fiona
import numpy as np
import rasterio
import shapely
from PIL import Image
from rasterio.features import rasterize

from geoseg.core.patches import IGNORE
from geoseg.geo.labels.labels import read_footprints, read_labels
from geoseg.geo.labels.vectors import outline_of
from geoseg.geo.rasters.bands import band_numbers
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.tiles.tiles import Tile, aoi_tiles
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import tiles_of

TILES = ("img46", "img79", "img112", "img22")
#: Of each tile that is shown, in pixels, from a corner.
SIDE, GAP = 150, 6
RED, FOG = np.array([215, 25, 28]), np.array([95, 115, 150])


def main(folder: Path) -> None:
    """Write the pictures."""
    known = {tile.id: tile for tile in aoi_tiles("sample")}
    tiles = [known[name] for name in TILES]
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for name, (labels, options) in label_files(place, tiles).items():
            listed = place / "tiles.txt"
            listed.write_text("".join(f"{tile.image}\n" for tile in tiles))
            settings = RunSettings(images=str(listed), labels=str(labels), **options)
            parts = [draw(tile) for tile in tiles_of(settings)]
            picture = Image.fromarray(side_by_side(parts))
            path = folder / f"labels-{name}.png"
            picture.quantize(64).save(path, optimize=True)
            print(path, path.stat().st_size)


def label_files(place: Path, tiles: list[Tile]) -> dict[str, tuple[Path, dict]]:
    """Write the labels; return their paths and options by the name of the picture."""
    houses = [read_footprints(tile) for tile in tiles]
    everywhere = [house for own in houses for house in own]
    few = [house for own in houses[:2] for house in own]
    (place / "files").mkdir()
    for tile, own in zip(tiles[:3], houses[:3], strict=True):
        write(place / "files" / f"{Path(tile.image).stem}.gpkg", "houses", own)
    write(place / "one.gpkg", "houses", everywhere)
    write(place / "few.gpkg", "houses", few)
    write(place / "area.gpkg", "houses", everywhere)
    write(place / "area.gpkg", "labelled", [part(tile) for tile in tiles[:3]])
    write(place / "sparse.gpkg", "labels", *sparse(tiles, houses))
    (place / "masks").mkdir()
    for tile in tiles:
        write_mask(place / "masks" / f"{Path(tile.image).stem}.tif", tile)
    return {
        "files": (place / "files", {}),
        "one": (place / "one.gpkg", {}),
        "touched": (place / "few.gpkg", {"labelled_area": "touched"}),
        "area": (place / "area.gpkg", {}),
        "sparse": (place / "sparse.gpkg", {"sparse": True}),
        "masks": (place / "masks", {}),
    }


def write(
    path: Path, layer: str, shapes: list, classes: list[str] | None = None
) -> None:
    """Write a layer of a GeoPackage."""
    schema = {
        "geometry": "Unknown",
        "properties": {} if classes is None else {"class": "str"},
    }
    with fiona.open(
        path, "w", driver="GPKG", layer=layer, crs="EPSG:4326", schema=schema
    ) as file:
        for number, shape in enumerate(shapes):
            own = {} if classes is None else {"class": classes[number]}
            geometry = shapely.geometry.mapping(shape)
            file.write({"geometry": geometry, "properties": own})


def part(tile: Tile) -> shapely.Polygon:
    """Return an area that somebody may have looked at in a tile."""
    grid = describe(tile.image)
    return outline_of(grid, grid.window._replace(row=20, col=25, height=95, width=110))


def sparse(tiles: list[Tile], houses: list[list]) -> tuple[list, list[str]]:
    """Return points on houses, polygons of some, and lines beside them."""
    shapes: list[shapely.Geometry] = []
    for tile, own in zip(tiles[:3], houses[:3], strict=True):
        large = sorted(own, key=lambda house: -house.area)
        shapes += [large[0], *(house.representative_point() for house in large[1:])]
    classes = ["building"] * len(shapes)
    for tile, own in zip(tiles[:3], houses[:3], strict=True):
        grid = describe(tile.image)
        free = shapely.box(*part(tile).bounds) - shapely.union_all(own).buffer(2e-5)
        left, low, right, high = free.bounds
        for share in (0.2, 0.8):
            y = low + share * (high - low)
            line = shapely.LineString([(left, y), (right, y + 4 * grid.transform.e)])
            shapes.append(line.intersection(free))
            classes.append("background")
    return shapes, classes


def write_mask(path: Path, tile: Tile) -> None:
    """Write a mask of a tile, of which the right and lower parts were not looked at."""
    with rasterio.open(tile.image) as image:
        about = {"crs": image.crs, "transform": image.transform}
        shape = image.shape
    mask = rasterize(
        read_footprints(tile) or [shapely.Point(0, 0)],
        shape,
        transform=about["transform"],
    )
    mask[110:] = mask[:, 120:] = IGNORE
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", nodata=IGNORE,
        height=shape[0], width=shape[1], **about,
    ) as file:  # fmt: skip
        file.write(mask.astype(np.uint8), 1)


def draw(tile: Tile) -> np.ndarray:
    """Return ``(SIDE, SIDE, 3)`` uint8: a corner of the tile under its labels."""
    grid = describe(tile.image)
    window = grid.window._replace(height=SIDE, width=SIDE)
    with open_raster(tile.image) as image:
        numbers = band_numbers(grid, ("red", "green", "blue"))
        pixels, _ = read_window(image, numbers, window)
    low, high = np.percentile(pixels, (1, 99), axis=(1, 2), keepdims=True)
    colours = np.clip((pixels - low) / (high - low), 0, 1).transpose(1, 2, 0) * 255
    ids = np.full((SIDE, SIDE), IGNORE)
    if tile.labels is not None:
        ids = read_labels(tile, grid)[:SIDE, :SIDE]
    grey = colours.mean(axis=2, keepdims=True)
    colours = np.where((ids == IGNORE)[..., None], 0.25 * grey + FOG, colours)
    colours[ids == 1] = 0.35 * colours[ids == 1] + 0.65 * RED
    return colours.astype(np.uint8)


def side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    """Return pictures in a row with white between them."""
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    row = [piece for one in parts for piece in (one, gap)]
    return np.concatenate(row[:-1], axis=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
