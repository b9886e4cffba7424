"""Discovery of tiles: areas of interest, folders, images paired with labels."""

import logging
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.addresses import file_name, is_remote
from geoseg.core.classes import TWO_CLASSES, LabelClasses
from geoseg.core.errors import DatasetError, LabelError, RasterError
from geoseg.core.words import counted
from geoseg.geo.rasters.description import PixelWindow, RasterDescription
from geoseg.geo.rasters.raster import describe
from geoseg.geo.sources.remote import list_remote
from geoseg.geo.sources.text_files import read_text
from geoseg.geo.tiles.catalogue import AOIS
from geoseg.geo.tiles.layouts import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    TABLE_SUFFIXES,
    labels_of_product,
    list_files,
    pair_key,
    plain_name,
    rasters,
    single_layout,
    spacenet_layouts,
    tile_ids,
)
from geoseg.geo.tiles.presence import SAMPLE, need_aoi, need_images, need_labels

log = logging.getLogger(__name__)

#: Names of single-band files that are labels.
_MASK_NAME = re.compile(r"(?:^|[/_-])(?:masks?|labels?|gt)[^/]*$", re.IGNORECASE)


@dataclass(frozen=True)
class Tile:
    """An image file, or a part of one, with its reference labels.

    Attributes:
        id: Unique within a set of tiles.
        image: Path or URL of the image.
        labels: Path of the vector or mask file with its labels; None: unlabelled.
        window: The part of the image that is the tile; None: all of it.
        classes: Meanings of the label values.
    """

    id: str
    image: str
    labels: str | None = None
    window: PixelWindow | None = None
    classes: LabelClasses = TWO_CLASSES

    def extent(self, description: RasterDescription) -> PixelWindow:
        """Return the tile's window in its image."""
        return self.window or description.window


def find_tiles(images: Path | str, labels: Path | str | None = None) -> list[Tile]:
    """Find tiles and pair them with their labels.

    Args:
        images: A folder of GeoTIFFs (all of them count as images, so keep masks
            elsewhere, or name the image), a bucket's prefix (``s3://…``) or an archive
            (``/vsizip/…``); one image or URL; a ``.txt`` file with one of these per
            line; or a folder in a known layout: SpaceNet's two, or ``images*/`` beside
            ``labels*/``, ``masks*/`` or ``labels.geojson``.
        labels: A folder of vector or mask files, local or remote, paired by name: equal
            stems, equal SpaceNet image numbers, or stems equal except for ``mask_``,
            ``_labels`` and the like; or one file for all tiles. None: labels of the
            layout, if any. These are also used if a named folder without label files
            contains them.

    Returns:
        Tiles sorted by id. Tiles without a label file have ``labels = None``; they are
        counted and named in one warning, as are labels without an image.

    Raises:
        DatasetError: If there is no image, or images are unreadable, differ in their
            number of bands, or have the same id.
        LabelError: If the labels are absent or none belongs to an image.
    """
    need_images(images)
    if is_remote(images) or Path(images).is_file():
        paths = _named_images(str(images))
        return _pair(paths, _label_files(labels, paths))
    folder = Path(images)
    files = rasters(folder)
    if files:
        layout_labels = labels_of_product(folder)
    else:
        folder, layout_labels = single_layout(folder)
        files = rasters(folder)
    paths = [str(path) for path in files]
    return _pair(paths, _label_files(_chosen(labels, layout_labels), paths))


def aoi_tiles(aoi: str, data: Path | str | None = None) -> list[Tile]:
    """Find the tiles of an area of interest in the folders of :func:`aoi_folders`.

    Raises:
        DatasetError: As :func:`aoi_folders` and :func:`find_tiles`.
    """
    return find_tiles(*aoi_folders(aoi, data))


def aoi_folders(
    aoi: str, data: Path | str | None = None
) -> tuple[Path | str, Path | None]:
    """Find the image folder and the label folder of an area of interest on disk.

    Args:
        aoi: ``las_vegas``, ``paris``, ``shanghai``, ``khartoum``, ``rio``, ``sample``,
            or a folder.
        data: Folder of AOIs; None: ``$GEOSEG_DATA``. The AOI's folder may be up to four
            levels below, in either SpaceNet layout; its pan-sharpened multispectral
            images are preferred.

    Returns:
        Arguments of :func:`find_tiles`; labels are None if that finds them by the
        layout.

    Raises:
        DatasetError: If the AOI is unknown or not on disk.
    """
    need_aoi(aoi)
    root = data if data is not None else os.environ.get("GEOSEG_DATA")
    base = Path(root) if root else None
    if aoi == SAMPLE:
        return _sample_folder(base), None
    if aoi not in AOIS:
        return aoi, None
    if base is None or not base.is_dir():
        place = "nowhere ($GEOSEG_DATA is not set)" if base is None else str(base)
        raise DatasetError(_absent(aoi, place))
    layouts = [
        layout
        for layout in spacenet_layouts(base)
        if layout[0] == AOIS[aoi].number or layout[0] is None and aoi == "rio"
    ]
    if not layouts:
        raise DatasetError(_absent(aoi, str(base)))
    # prefer labelled folders to unlabelled test images, and more tiles to fewer
    _, images, labels = min(
        layouts, key=lambda layout: (layout[2] is None, -len(rasters(layout[1])))
    )
    log.info("%s: images in %s", aoi, images)
    return images, labels


def _absent(aoi: str, place: str) -> str:
    return (
        f"AOI {aoi} is not on disk: looked in {place}, expected {AOIS[aoi].unpacked} "
        f"below --data or $GEOSEG_DATA; get it with: geoseg download --aoi {aoi} --data "
        f"DIR (about {AOIS[aoi].size_gb:.3g} GB; far less with --tiles 50)"
    )


def _sample_folder(base: Path | None) -> Path:
    roots = [Path.cwd(), *([base] if base else []), Path(__file__).parents[3]]
    for root in roots:
        if (root / "sample_tiles").is_dir() and any(
            path.suffix.lower() in IMAGE_SUFFIXES
            for path in (root / "sample_tiles").rglob("*")
        ):
            return root / "sample_tiles"
    raise DatasetError(
        f"no sample_tiles folder in {', '.join(str(root) for root in roots[:-1])}, "
        "expected the repository's sample tiles; make them with: geoseg sample"
    )


def _named_images(name: str) -> list[str]:
    """Return the images of a remote folder or a text file, or the named image."""
    suffix = file_name(name).suffix.lower()
    if is_remote(name):
        whole = suffix in IMAGE_SUFFIXES or name.startswith("http") and name[-1] != "/"
        return [name] if whole else list_remote(name, IMAGE_SUFFIXES)
    if suffix != ".txt":
        return [name]
    lines = [line.strip().strip('"') for line in read_text(name).splitlines()]
    folder = Path(name).parent
    listed = [
        line if is_remote(line) else _beside(folder, line)
        for line in lines
        if line and not line.startswith("#")
    ]
    if not listed:
        raise DatasetError(f"{name} names no image, expected one path or URL per line")
    return listed


def _beside(folder: Path, line: str) -> str:
    r"""Return the file that a line of a list names, if need be with / for Windows'
    \."""
    path, other = folder / line, folder / line.replace("\\", "/")
    return str(other if other.exists() and not path.exists() else path)


def _chosen(labels: Path | str | None, layout: Path | None) -> Path | str | None:
    """Return the named labels, or the layout's labels if none or its root are named."""
    if labels is None:
        return layout
    root = Path(labels)
    if layout is None or is_remote(labels) or not root.is_dir():
        return labels
    below = layout.resolve().is_relative_to(root.resolve())
    if not below or list_files(root, LABEL_SUFFIXES):
        return labels
    log.info("%s: labels in %s", labels, layout)
    return layout


def _label_files(
    labels: Path | str | None, images: Sequence[str]
) -> str | list[str] | None:
    """Return one label file for all tiles, the label files of a folder, or None."""
    if labels is None:
        return None
    if is_remote(labels):
        one = file_name(labels).suffix.lower() in LABEL_SUFFIXES
        return str(labels) if one else list_remote(str(labels), LABEL_SUFFIXES)
    path = Path(labels)
    if path.is_file():
        if path.suffix.lower() not in (*LABEL_SUFFIXES, *TABLE_SUFFIXES):
            raise LabelError(
                f"labels {path} end in {path.suffix!r}, expected one of "
                f"{', '.join(LABEL_SUFFIXES)}"
            )
        return str(path)
    need_labels(path)
    taken = {Path(image).resolve() for image in images}
    files = [
        str(file)
        for file in list_files(path, LABEL_SUFFIXES)
        if file.resolve() not in taken
    ]
    if not files:
        raise LabelError(
            f"no label file in {path}, expected {', '.join(LABEL_SUFFIXES)}"
        )
    return files


def _pair(images: Sequence[str], labels: str | list[str] | None) -> list[Tile]:
    stems = {image: file_name(image).stem for image in images}
    names = tile_ids([stems[image] for image in images])
    _check_unique(names, images)
    ids = dict(zip(images, names, strict=True))
    _check_readable(images)
    if labels is None or isinstance(labels, str):
        return [Tile(ids[image], image, labels) for image in images]
    by_stem = _by_name(labels, plain_name)
    by_key = _by_name(labels, pair_key)
    tiles, used = [], set()
    for image in images:
        stem = stems[image]
        file = by_stem.get(plain_name(stem)) or by_key.get(pair_key(stem)) or []
        if len(file) > 1:
            raise LabelError(
                f"{image} has {len(file)} label files "
                f"({', '.join(file)}), expected one"
            )
        used.update(file)
        tiles.append(Tile(ids[image], image, file[0] if file else None))
    _report_unpaired(tiles, [path for path in labels if path not in used], labels)
    return tiles


def _by_name(labels: list[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for path in labels:
        names.setdefault(key(file_name(path).stem), []).append(path)
    return names


def _some(names: Sequence[str], limit: int = 10) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def _report_unpaired(tiles: list[Tile], unused: list[str], labels: list[str]) -> None:
    without = [file_name(tile.image).name for tile in tiles if tile.labels is None]
    if len(without) == len(tiles):
        raise LabelError(
            f"no label file belongs to an image: images are named {without[0]}, labels "
            f"{file_name(labels[0]).name}; expected equal names or image numbers"
        )
    if without:
        log.warning(
            "no label file for %d of %s, which count as unlabelled: %s",
            len(without),
            counted(len(tiles), "image"),
            _some(without),
        )
    if unused:
        names = [file_name(path).name for path in unused]
        log.warning(
            "%s without an image: %s", counted(len(names), "label file"), _some(names)
        )


def _check_unique(ids: Sequence[str], images: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name, image in zip(ids, images, strict=True):
        if name in first:
            raise DatasetError(
                f"{first[name]} and {image} are both tile {name!r}, expected one image "
                "per tile: name the folder of one product"
            )
        first[name] = image


def _count_bands(image: str) -> int | RasterError:
    try:
        return describe(image).count
    except RasterError as error:
        return error


def _check_readable(images: Sequence[str]) -> None:
    """Raise if images cannot be opened or differ in their number of bands."""
    counts: dict[int, list[str]] = {}
    broken = []
    # in parallel, because a remote image takes some round trips
    with ThreadPoolExecutor(8 if is_remote(images[0]) else 1) as pool:
        for image, bands in zip(images, pool.map(_count_bands, images), strict=True):
            if isinstance(bands, int):
                counts.setdefault(bands, []).append(image)
            else:
                broken.append(str(bands))
    if broken:
        rest = f" | and {len(broken) - 20} more" if len(broken) > 20 else ""
        raise DatasetError(
            f"{len(broken)} of {counted(len(images), 'image')} cannot be used: "
            + " | ".join(broken[:20])
            + rest
        )
    if len(counts) > 1:
        masks = [image for image in counts.get(1, ()) if _MASK_NAME.search(image)]
        others = [image for image in images if image not in masks]
        if masks and others:
            raise DatasetError(
                f"{_some(masks)} looks like a mask among the images: name the images "
                f"and the labels, such as --images {others[0]} --labels {masks[0]}, or "
                "move masks to another folder"
            )
        usual = max(counts, key=lambda count: len(counts[count]))
        odd = [
            f"{image} ({count})"
            for count, names in counts.items()
            if count != usual
            for image in names
        ]
        raise DatasetError(
            f"images differ in their number of bands, expected {usual} as in most: "
            f"{_some(odd)}; move other products and masks to another folder"
        )
