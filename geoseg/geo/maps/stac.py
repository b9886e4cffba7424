"""A STAC item for a map: its footprints and rasters, what they are of, and when.

The specification: https://github.com/radiantearth/stac-spec/blob/v1.1.0/item-spec/item-spec.md
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import CRS
from shapely.geometry import mapping

import geoseg
from geoseg.core.addresses import file_name, is_remote
from geoseg.core.errors import OutputError, ParameterError
from geoseg.core.outputs import write_aside
from geoseg.core.patches import IGNORE
from geoseg.geo.coordinates.crs import crs_name, has_longitude_latitude
from geoseg.geo.formats.attributes import ATTRIBUTES, ID, ID_MEANING
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.formats.feature_chunks import to_longitude_latitude
from geoseg.geo.formats.formats import check_format
from geoseg.geo.labels.vectors import outline_of
from geoseg.geo.maps.files import RasterOutputs
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.legend import class_legend, cluster_legend
from geoseg.geo.rasters.raster import open_raster, require_crs
from geoseg.model.file import file_sha256

if TYPE_CHECKING:
    import pystac

#: With the versions that go with STAC 1.1.
_EXTENSIONS = (
    *("classification/v2.0.0", "file/v2.1.0", "processing/v1.2.0"),
    *("projection/v2.0.0", "raster/v2.0.0", "table/v1.2.0"),
)
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def item_path(output: Path) -> Path:
    """Return where the item of a map lies: ``buildings.gpkg`` → ``buildings.stac.json``."""
    return output.with_name(f"{output.stem}.stac.json")


@dataclass(frozen=True)
class MapContents:
    """What a map consists of, complete and on disk.

    Attributes:
        output: The footprints.
        count: How many there are.
        images: That were mapped.
        grids: Of the images; of their mosaic alone if they were mapped as one.
        places: Of the rasters of each grid.
        class_names: Background first.
        cluster_count: Of the head that was mapped.
        tags: What made it.
    """

    output: Path
    count: int
    images: Sequence[RasterDescription]
    grids: Sequence[RasterDescription]
    places: Sequence[RasterOutputs]
    class_names: tuple[str, ...]
    cluster_count: int
    tags: RasterTags


def check_item(grid: RasterDescription) -> None:
    """Refuse an item that cannot be written for a grid, before the predicting.

    Raises:
        ParameterError: If pystac is not installed, or the CRS has no longitudes and
            latitudes.
    """
    if find_spec("pystac") is None:
        raise ParameterError(
            "--stac needs pystac, which is not installed: pip install 'geoseg[stac]'"
        )
    if not has_longitude_latitude(require_crs(grid)):
        raise ParameterError(
            f"--stac needs longitudes and latitudes, which {crs_name(grid.crs)} of "
            f"{grid.path} has none of: leave it out"
        )


def write_map_item(contents: MapContents, *, overwrite: bool = False) -> Path:
    """Write the item of a map beside its footprints; return where.

    Raises:
        OutputExistsError: If it exists and ``overwrite`` is False.
        OutputError: If it cannot be written.
    """
    path = item_path(contents.output)
    item = map_item(contents, now=datetime.now(UTC))
    # without a link to itself, so that it can be moved
    made = item.to_dict(include_self_link=False, transform_hrefs=False)
    with write_aside(path, verify=_parse, overwrite=overwrite) as temporary:
        text = json.dumps(made, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def _parse(path: Path) -> None:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OutputError(
            f"the item just written does not parse ({error}); check the free space"
        ) from error


def map_item(contents: MapContents, *, now: datetime) -> "pystac.Item":
    """Describe a map; links and assets are relative to the folder of its footprints.

    Its time is when the images were taken, if all of them say so in their tag DateTime
    (taken for UTC), else ``now``, when it was made.
    """
    import pystac

    now = now.replace(microsecond=0)
    crs = contents.grids[0].crs
    outlines = np.array([outline_of(grid) for grid in contents.images], dtype=object)
    place = shapely.union_all(to_longitude_latitude(crs)(outlines))
    first, last = _times(contents.images, now)
    one = first == last
    made_by = {
        "geoseg:method": contents.tags.method,
        "geoseg:model_sha256": contents.tags.model_sha256,
    }
    properties = {
        **_projection(crs),
        "processing:software": {"geoseg": geoseg.__version__},
        "processing:datetime": pystac.utils.datetime_to_str(now),
        "processing:lineage": "class probabilities of a network, stitched over the image; "
        "outlines of the classes, simplified in metres",
        **{key: value for key, value in made_by.items() if value is not None},
    }
    item = pystac.Item(
        contents.output.stem,
        mapping(place),
        bbox(place),
        first if one else None,
        properties,
        start_datetime=None if one else first,
        end_datetime=None if one else last,
        stac_extensions=[
            f"https://stac-extensions.github.io/{name}/schema.json"
            for name in _EXTENSIONS
        ],
        assets={"footprints": _footprints(contents), **_rasters(contents)},
    )
    item.common_metadata.title = f"Footprints of {contents.output.stem}"
    item.common_metadata.created = now
    item.common_metadata.gsd = max(grid.gsd_m or 0.0 for grid in contents.grids)
    for grid in contents.images:
        href = _href(grid.path, contents.output.parent)
        item.add_link(pystac.Link("derived_from", href, "image/tiff"))
    return item


def _times(
    grids: Sequence[RasterDescription], now: datetime
) -> tuple[datetime, datetime]:
    """Return when the first and the last image was taken; now if one does not say."""
    taken = [_taken(grid.path) for grid in grids]
    known = [moment for moment in taken if moment is not None]
    if len(known) < len(taken):
        return now, now
    return min(known), max(known)


def _taken(path: str) -> datetime | None:
    """Read when an image was taken; None where it does not say so, or oddly."""
    with open_raster(path) as dataset:
        said = dataset.tags().get("TIFFTAG_DATETIME", "")
    try:
        return datetime.strptime(said, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _projection(crs: Any) -> dict[str, Any]:
    found = CRS.from_wkt(crs.to_wkt())
    authority = found.to_authority(min_confidence=100)
    if authority is None:
        return {"proj:code": None, "proj:wkt2": found.to_wkt()}
    return {"proj:code": ":".join(authority)}


def bbox(geometry: shapely.Geometry) -> list[float]:
    """Return west, south, east, north; west is above east across the antimeridian.

    Example:
        >>> bbox(shapely.union(shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -178, 1)))
        [179.0, 0.0, -178.0, 1.0]
    """
    west, south, east, north = shapely.bounds(geometry).tolist()
    boxes = shapely.bounds(shapely.get_parts(geometry))
    eastern, western = boxes[boxes[:, 0] >= 0], boxes[boxes[:, 2] <= 0]
    if (west, east) == (-180, 180) and len(eastern) + len(western) == len(boxes):
        west, east = float(eastern[:, 0].min()), float(western[:, 2].max())
    return [west, south, east, north]


def _footprints(contents: MapContents) -> "pystac.Asset":
    how = check_format(contents.output)
    fields = [(ID, "int64", ID_MEANING)]
    kinds = {"str": "string", "float": "double"}
    fields += [(it.name, kinds[it.kind], it.meaning) for it in ATTRIBUTES]
    facts = {
        **({"proj:code": "EPSG:4326"} if how.longitude_latitude else {}),
        "table:row_count": contents.count,
        "table:columns": [
            {"name": name, "type": kind, "description": meaning}
            for name, kind, meaning in fields
        ],
    }
    title = f"Footprints ({how.name})"
    return _asset(contents.output, contents, title, how.media_type, facts)


def _rasters(contents: MapContents) -> dict[str, "pystac.Asset"]:
    """Describe the rasters; those of several images have the images' names."""
    assets = {}
    together = len(contents.images) > len(contents.grids)
    for grid, place in zip(contents.grids, contents.places, strict=True):
        of = "all images" if together else file_name(grid.path).name
        ending = f"-{file_name(grid.path).stem}" if len(contents.grids) > 1 else ""
        for key, path in vars(place).items():
            if path is not None:
                facts = {
                    "proj:shape": [grid.height, grid.width],
                    "proj:transform": list(grid.transform)[:6],
                    "bands": _bands(key, contents),
                }
                title = f"{key.capitalize()} of {of}"
                assets[key + ending] = _asset(path, contents, title, _COG, facts)
    return assets


def _asset(
    path: Path, contents: MapContents, title: str, kind: str, facts: dict[str, Any]
) -> "pystac.Asset":
    """Describe a file, with its size and its checksum."""
    import pystac

    facts["file:size"] = path.stat().st_size
    # a multihash: 0x12 is SHA-256, 0x20 its length
    facts["file:checksum"] = f"1220{file_sha256(path)}"
    href = _href(str(path), contents.output.parent)
    return pystac.Asset(href, title, None, kind, ["data"], facts)


def _bands(key: str, contents: MapContents) -> list[dict[str, Any]]:
    """Describe the bands of a raster of classes, probabilities or clusters."""
    stored = {"data_type": "uint8", "nodata": IGNORE}
    if key == "probability":
        names = [f"{name} probability" for name in contents.class_names[1:]]
        return [{"name": name, **stored, "raster:scale": 0.01} for name in names]
    if key == "classes":
        legend = class_legend(contents.class_names)
    else:
        legend = cluster_legend(contents.cluster_count)
    classes = [
        {
            "value": entry.value,
            "name": entry.name,
            "description": entry.name,
            "color_hint": "%02X%02X%02X" % tuple(entry.colour[:3]),
        }
        for entry in legend
    ]
    return [{"name": key, **stored, "classification:classes": classes}]


def _href(path: str, folder: Path) -> str:
    """Return a path as seen from a folder; that of an image may be remote."""
    if is_remote(path):
        return path
    # pystac takes a backslash in a name for one between folders
    relative = Path(os.path.relpath(path, folder)).as_posix().replace("\\", "%5C")
    return relative if relative.startswith("../") else f"./{relative}"
