"""Writing of the synthetic town as tiles, laid out and named as in SpaceNet 2."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from shapely import Polygon, box, intersection
from shapely.geometry.base import BaseGeometry

from geoseg.core.errors import OutputError, OutputExistsError, ParameterError
from geoseg.core.patches import IGNORE
from geoseg.geo.sample.geometry import UNIT, Ring
from geoseg.geo.sample.hashing import Draws
from geoseg.geo.sample.town import Scene, build_scene

#: Folder of the area of interest under the root, as in SpaceNet 2's archives.
AOI_FOLDER = "AOI_0_Sample_Train"
#: Pixel side in degrees, as in SpaceNet 2's Las Vegas.
PIXEL_DEGREES = 2.7e-6
#: Names of the class ids 0, 1, 2, 3.
CLASS_NAMES = ("other", "building", "road", "vegetation")

# uninhabited desert at the latitude of Las Vegas
_WEST, _NORTH = -115.9, 36.2
_CRS = CRS.from_epsg(4326)
_OLD_CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
_PALETTE = {
    0: (222, 207, 168, 255),
    1: (214, 60, 60, 255),
    2: (110, 110, 118, 255),
    3: (70, 150, 70, 255),
    IGNORE: (0, 0, 0, 0),
}


class _Place(NamedTuple):
    """Number in a tile's name, and its upper left pixel in the scene."""

    number: int
    row: int
    col: int


def write_sample(
    root: Path,
    *,
    tiles: int = 24,
    size: int = 256,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a town as adjoining tiles: images, building footprints, class masks.

    The files are in ``root/AOI_0_Sample_Train``: ``MUL-PanSharpen`` (8 bands of
    WorldView-3, uint16 of 11-bit values, zeros outside the sensor's swath, no nodata
    tag), ``geojson/buildings`` (an old ``crs`` member, Z = 0, repeated ids, empty
    collections, as in the real data set) and ``masks`` (class ids of
    :data:`CLASS_NAMES`, 255 where there is no image). The folder appears only when it is
    complete.

    Args:
        root: Folder to write into; created if absent.
        tiles: Number of tiles; they fill a grid row by row.
        size: Side of a tile in pixels.
        seed: Seed of the town.
        overwrite: Replace the folder if it exists.

    Raises:
        OutputExistsError: If the folder exists and ``overwrite`` is False.
        OutputError: If it cannot be written.
        ParameterError: If ``tiles`` or ``size`` is not positive.
    """
    if tiles < 1 or size < 1:
        raise ParameterError(
            f"{tiles} tiles of {size}x{size} pixels requested, expected at least one "
            "tile of at least one pixel"
        )
    target = Path(root) / AOI_FOLDER
    if target.exists() and not overwrite:
        raise OutputExistsError(
            f"{target} exists already, expected no such folder; give --overwrite or "
            "another folder with -o"
        )
    places = _places(tiles, size, seed)
    scene = build_scene(
        places[-1].row + size, max(place.col for place in places) + size, seed=seed
    )
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".sample-") as aside:
            draft = Path(aside) / AOI_FOLDER
            for folder in ("MUL-PanSharpen", "geojson/buildings", "masks"):
                (draft / folder).mkdir(parents=True)
            for place in places:
                _write_tile(draft, scene, place, size)
            if target.exists():
                target.rename(Path(aside) / "replaced")
            draft.rename(target)
    except (OSError, rasterio.errors.RasterioIOError) as error:
        raise OutputError(
            f"{target} cannot be written ({error}); choose a writable folder with enough "
            "space"
        ) from error


def _places(tiles: int, size: int, seed: int) -> list[_Place]:
    """Return tiles numbered with gaps and in no spatial order, as in the real data set."""
    columns = 1
    while 2 * columns * columns < 3 * tiles:
        columns += 1
    draws = Draws(seed, 6)
    numbers: list[int] = []
    for _ in range(tiles):
        numbers.append((numbers[-1] if numbers else 0) + draws.between(1, 9))
    for last in range(tiles - 1, 0, -1):
        other = draws.below(last + 1)
        numbers[last], numbers[other] = numbers[other], numbers[last]
    return [
        _Place(number, index // columns * size, index % columns * size)
        for index, number in enumerate(numbers)
    ]


def _write_tile(folder: Path, scene: Scene, place: _Place, size: int) -> None:
    name = f"AOI_0_Sample_img{place.number}"
    transform = Affine(
        PIXEL_DEGREES,
        0.0,
        _WEST + place.col * PIXEL_DEGREES,
        0.0,
        -PIXEL_DEGREES,
        _NORTH - place.row * PIXEL_DEGREES,
    )
    rows = slice(place.row, place.row + size)
    cols = slice(place.col, place.col + size)
    _write_image(
        folder / "MUL-PanSharpen" / f"MUL-PanSharpen_{name}.tif",
        scene.image[:, rows, cols],
        transform,
    )
    _write_mask(
        folder / "masks" / f"classes_{name}.tif", scene.classes[rows, cols], transform
    )
    _write_footprints(
        folder / "geojson" / "buildings" / f"buildings_{name}.geojson",
        _cut_footprints(scene, place, size),
        transform,
    )


def _profile(
    array: npt.NDArray[np.uint16] | npt.NDArray[np.uint8], transform: Affine
) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": str(array.dtype),
        "height": array.shape[-2],
        "width": array.shape[-1],
        "crs": _CRS,
        "transform": transform,
        "compress": "deflate",
        "zlevel": 9,
        # one strip per band compresses better
        "blockysize": array.shape[-2],
    }


def _write_image(path: Path, image: npt.NDArray[np.uint16], transform: Affine) -> None:
    profile = _profile(image, transform)
    with rasterio.open(
        path, "w", count=len(image), interleave="band", predictor=2, **profile
    ) as dataset:
        dataset.write(image)


def _write_mask(path: Path, classes: npt.NDArray[np.uint8], transform: Affine) -> None:
    profile = _profile(classes, transform)
    with rasterio.open(path, "w", count=1, nodata=IGNORE, **profile) as dataset:
        dataset.write(classes, 1)
        dataset.write_colormap(1, _PALETTE)


def _cut_footprints(
    scene: Scene, place: _Place, size: int
) -> list[tuple[BaseGeometry, bool]]:
    """Return the footprints cut to a tile and to the sensor's swath.

    Returns:
        Geometries in pixels of the tile, each with whether something was cut off.
    """
    seen = _polygon((scene.seen,), place)
    frame = intersection(box(0, 0, size, size), seen)
    pieces = []
    for rings in scene.footprints:
        polygon = _polygon(rings, place)
        if not polygon.intersects(frame):
            continue
        piece = intersection(polygon, frame)
        # a footprint that only touches the edge leaves a line or a point
        if piece.geom_type in ("Polygon", "MultiPolygon"):
            pieces.append((piece, not frame.contains(polygon)))
    return pieces


def _polygon(rings: tuple[Ring, ...], place: _Place) -> Polygon:
    shell, *holes = [
        [(x / UNIT - place.col, y / UNIT - place.row) for x, y in ring]
        for ring in rings
    ]
    return Polygon(shell, holes)


def _write_footprints(
    path: Path, pieces: list[tuple[BaseGeometry, bool]], transform: Affine
) -> None:
    features = [
        {
            "type": "Feature",
            "properties": {
                "OBJECTID": 0,
                "Id": 0,
                "Name": "None",
                "partialBuilding": float(cut),
            },
            "geometry": _geometry(piece, transform),
        }
        for piece, cut in pieces
    ]
    collection = {"type": "FeatureCollection", "crs": _OLD_CRS, "features": features}
    path.write_text(json.dumps(collection) + "\n", encoding="ascii")


def _geometry(piece: BaseGeometry, transform: Affine) -> dict[str, Any]:
    parts = [piece] if piece.geom_type == "Polygon" else list(piece.geoms)
    coordinates = [
        [
            [[*_degrees(x, y, transform), 0.0] for x, y in ring.coords]
            for ring in (part.exterior, *part.interiors)
        ]
        for part in parts
    ]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _degrees(x: float, y: float, transform: Affine) -> tuple[float, float]:
    """Return longitude and latitude, rounded to about 0.01 µm."""
    longitude = transform.c + x * transform.a
    latitude = transform.f + y * transform.e
    return round(longitude, 13), round(latitude, 13)
