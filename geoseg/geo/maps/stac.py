"""A STAC item for a map: its footprints and rasters, what they are of, and when."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

import geoseg
from geoseg.core.addresses import file_name, is_remote
from geoseg.core.errors import OutputError
from geoseg.core.outputs import write_aside
from geoseg.core.patches import IGNORE
from geoseg.geo.formats.attributes import ATTRIBUTES, ID, ID_MEANING
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.formats.feature_chunks import to_longitude_latitude
from geoseg.geo.formats.formats import check_format
from geoseg.geo.labels.vectors import outline_of
from geoseg.geo.maps.files import RasterOutputs
from geoseg.geo.maps.stac_fields import classes, file_facts, item, utc
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.legend import class_legend, cluster_legend
from geoseg.geo.rasters.raster import open_raster

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


def write_map_item(contents: MapContents, *, overwrite: bool = False) -> Path:
    """Write the item of a map beside its footprints; return where.

    Raises:
        OutputExistsError: If it exists and ``overwrite`` is False.
        OutputError: If it cannot be written.
    """
    path = item_path(contents.output)
    made = map_item(contents, now=datetime.now(UTC))
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


def map_item(contents: MapContents, *, now: datetime) -> dict[str, Any]:
    """Describe a map; links and assets are relative to the folder of its footprints.

    Its time is when the images were taken, if all of them say so in their tag DateTime
    (taken for UTC), else ``now``, when it was made.
    """
    crs = contents.grids[0].crs
    outlines = np.array([outline_of(grid) for grid in contents.images], dtype=object)
    placed = to_longitude_latitude(crs)(outlines)
    made_by = {
        "geoseg:method": contents.tags.method,
        "geoseg:model_sha256": contents.tags.model_sha256,
    }
    properties = {
        **_times(contents.images, now),
        "title": f"Footprints of {contents.output.stem}",
        "created": utc(now),
        "gsd": max(grid.gsd_m or 0.0 for grid in contents.grids),
        **_projection(crs),
        "processing:software": {"geoseg": geoseg.__version__},
        "processing:datetime": utc(now),
        "processing:lineage": "class probabilities of a network, stitched over the image; "
        "outlines of the classes, simplified in metres",
        **{key: value for key, value in made_by.items() if value is not None},
    }
    return item(
        contents.output.stem,
        properties,
        {"footprints": _footprints(contents), **_rasters(contents)},
        extensions=(
            *("classification", "file", "processing", "projection", "raster"),
            "table",
        ),
        geometry=shapely.union_all(placed),
        links=[_source(grid.path, contents.output.parent) for grid in contents.images],
    )


def _times(grids: Sequence[RasterDescription], now: datetime) -> dict[str, Any]:
    taken = [_taken(grid.path) for grid in grids]
    known = sorted(moment for moment in taken if moment is not None)
    if len(known) < len(taken):
        return {"datetime": utc(now)}
    first, last = utc(known[0]), utc(known[-1])
    if first == last:
        return {"datetime": first}
    return {"datetime": None, "start_datetime": first, "end_datetime": last}


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


def _footprints(contents: MapContents) -> dict[str, Any]:
    how = check_format(contents.output)
    fields = [(ID, "int64", ID_MEANING)]
    kinds = {"str": "string", "float": "double"}
    fields += [(it.name, kinds[it.kind], it.meaning) for it in ATTRIBUTES]
    return {
        "href": _href(contents.output, contents.output.parent),
        "type": how.media_type,
        "title": f"Footprints ({how.name})",
        "roles": ["data"],
        **({"proj:code": "EPSG:4326"} if how.longitude_latitude else {}),
        "table:row_count": contents.count,
        "table:columns": [
            {"name": name, "type": kind, "description": meaning}
            for name, kind, meaning in fields
        ],
        **file_facts(contents.output),
    }


def _rasters(contents: MapContents) -> dict[str, Any]:
    """Describe the rasters; those of several images have the images' names."""
    assets = {}
    together = len(contents.images) > len(contents.grids)
    folder = contents.output.parent
    for grid, place in zip(contents.grids, contents.places, strict=True):
        of = "all images" if together else file_name(grid.path).name
        ending = f"-{file_name(grid.path).stem}" if len(contents.grids) > 1 else ""
        for key, path in vars(place).items():
            if path is not None:
                assets[key + ending] = {
                    "href": _href(path, folder),
                    "type": _COG,
                    "title": f"{key.capitalize()} of {of}",
                    "roles": ["data"],
                    "proj:shape": [grid.height, grid.width],
                    "proj:transform": list(grid.transform)[:6],
                    "bands": _bands(key, contents),
                    **file_facts(path),
                }
    return assets


def _bands(key: str, contents: MapContents) -> list[Mapping[str, Any]]:
    """Describe the bands of a raster of classes, probabilities or clusters."""
    stored = {"data_type": "uint8", "nodata": IGNORE}
    if key == "probability":
        names = [f"{name} probability" for name in contents.class_names[1:]]
        return [{"name": name, **stored, "raster:scale": 0.01} for name in names]
    if key == "classes":
        legend = class_legend(contents.class_names)
    else:
        legend = cluster_legend(contents.cluster_count)
    return [{"name": key, **stored, "classification:classes": classes(legend)}]


def _source(image: str, folder: Path) -> dict[str, str]:
    href = image if is_remote(image) else _href(Path(image), folder)
    return {"rel": "derived_from", "href": href, "type": "image/tiff"}


def _href(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder."""
    relative = Path(os.path.relpath(path, folder)).as_posix()
    return relative if relative.startswith("../") else f"./{relative}"
