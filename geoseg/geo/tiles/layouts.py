"""Folder layouts and file names of tiles, including SpaceNet's."""

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from geoseg.core.addresses import is_remote
from geoseg.core.errors import DatasetError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".tif", ".tiff", ".vrt")
VECTOR_SUFFIXES = (
    ".geojson",
    ".json",
    ".gpkg",
    ".fgb",
    ".shp",
    ".parquet",
    ".geoparquet",
    ".geojsonl",
    ".ndjson",
)
LABEL_SUFFIXES = (*VECTOR_SUFFIXES, *IMAGE_SUFFIXES)
#: Tables are labels only if the user names them, as folders of labels may hold others.
TABLE_SUFFIXES = (".csv",)

# Best first. Rio's 8band images are not pan-sharpened (2 m), so 3band comes first.
_PRODUCTS = (
    "MUL-PanSharpen",
    "PS-MS",
    "RGB-PanSharpen",
    "PS-RGB",
    "3band",
    "8band",
    "MUL",
    "MS",
    "PAN",
)
_PRODUCT_LABELS = (
    "geojson/buildings",
    "geojson_buildings",
    "vectordata/geojson",
    "geojson",
)
_SPACENET_ID = re.compile(r"AOI_(\d+)_.*?img(\d+)$", re.IGNORECASE)
_DECORATION = re.compile(
    r"^(?:images?|masks?|labels?|buildings?|geo)[_-]"
    r"|[_-](?:images?|masks?|labels?|buildings?|gt)$",
    re.IGNORECASE,
)


def pair_key(stem: str) -> str:
    """Return the common part of the file names of an image and its labels.

    Example:
        >>> pair_key("buildings_AOI_2_Vegas_img225")
        'aoi2_img225'
        >>> pair_key("RGB-PanSharpen_AOI_2_Vegas_img225")
        'aoi2_img225'
        >>> pair_key("OAM-386690-220241-19_mask")
        'oam-386690-220241-19'
    """
    spacenet = _SPACENET_ID.search(stem)
    if spacenet:
        return f"aoi{int(spacenet[1])}_img{int(spacenet[2])}"
    return plain_name(_DECORATION.sub("", stem))


def plain_name(stem: str) -> str:
    """Return a name for comparison, as macOS writes ``ü`` as two characters.

    Example:
        >>> plain_name("Zu\u0308rich") == plain_name("Z\u00dcrich")
        True
    """
    return unicodedata.normalize("NFC", stem).lower()


def tile_id(stem: str) -> str:
    """Return a tile's id: ``img225`` for SpaceNet's names, else the file's stem."""
    spacenet = _SPACENET_ID.search(stem)
    return f"img{int(spacenet[2])}" if spacenet else stem


def tile_ids(stems: Sequence[str]) -> list[str]:
    """Return the ids of tiles; for several SpaceNet cities, ``aoi2_img225``."""
    ids = [tile_id(stem) for stem in stems]
    by_city = [pair_key(s) if _SPACENET_ID.search(s) else s for s in stems]
    cities = len(set(ids)) < len(ids) and len(set(by_city)) == len(ids)
    return by_city if cities else ids


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def list_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """List a folder's files with one of the suffixes, in natural order of names."""
    return sorted(
        (
            path
            for path in folder.iterdir()
            # keep broken links, which fail with a message when opened
            if path.suffix.lower() in suffixes
            and not path.name.startswith("._")  # metadata files of macOS
            and not path.is_dir()
        ),
        key=_natural,
    )


def rasters(folder: Path) -> list[Path]:
    """List the image files of a folder."""
    return list_files(folder, IMAGE_SUFFIXES)


def _folders_below(root: Path, depth: int = 4) -> list[Path]:
    """List a folder and those below it, breadth first, sorted, without hidden ones."""
    level, everything = [root], [root]
    for _ in range(depth):
        level = [
            child
            for folder in level
            for child in sorted(folder.iterdir())
            if child.is_dir() and not child.name.startswith(".")
        ]
        everything += level
    return everything


def image_folders(root: Path) -> dict[Path, int]:
    """Count the images of each folder at or below a folder.

    The depth is that of :func:`spacenet_layouts` and one more, for the products'
    folders.
    """
    counts = {folder: len(rasters(folder)) for folder in _folders_below(root, 5)}
    return {folder: count for folder, count in counts.items() if count}


def is_label_folder(folder: Path) -> bool:
    """Tell whether a folder is named like a folder of labels."""
    return folder.name.startswith(("label", "mask"))


def spacenet_layouts(root: Path) -> list[tuple[int | None, Path, Path | None]]:
    """Return (number, image folder, label folder) of the SpaceNet AOIs in a folder."""
    layouts = []
    for folder in _folders_below(root):
        for product in _PRODUCTS:
            images = rasters(folder / product) if (folder / product).is_dir() else []
            if images:
                named = _SPACENET_ID.search(images[0].stem)
                number = int(named[1]) if named else None
                labels = labels_of_product(folder / product)
                layouts.append((number, folder / product, labels))
                break
    return layouts


def labels_of_product(images: Path) -> Path | None:
    """Return the label folder beside a SpaceNet product folder; None for others."""
    if images.name not in _PRODUCTS:
        return None
    for name in _PRODUCT_LABELS:
        folder = images.parent / name
        if folder.is_dir() and list_files(folder, VECTOR_SUFFIXES):
            return folder
    return None


def single_layout(folder: Path) -> tuple[Path, Path | None]:
    """Return the image folder and the labels of the only layout at or below a folder.

    Raises:
        DatasetError: If there is no image, or more than one layout.
    """
    layouts = spacenet_layouts(folder)
    if len(layouts) == 1:
        return layouts[0][1], layouts[0][2]
    if layouts:
        names = ", ".join(str(images) for _, images, _ in layouts)
        raise DatasetError(
            f"{folder} holds {len(layouts)} image folders ({names}), expected one: "
            "name one of these folders, or --aoi if the command has it"
        )
    subfolders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    with_images = [path for path in subfolders if rasters(path)]
    image_folders = [path for path in with_images if path.name.startswith("image")]
    if len(image_folders) == 1:
        label_folders = [
            path
            for path in subfolders
            if is_label_folder(path) and list_files(path, LABEL_SUFFIXES)
        ]
        files = [
            path
            for path in list_files(folder, VECTOR_SUFFIXES)
            if path.stem == "labels"
        ]
        return image_folders[0], next(iter([*label_folders, *files]), None)
    hint = ", ".join(f"{path.name} ({len(rasters(path))})" for path in with_images)
    raise DatasetError(
        f"no image in {folder}, expected {', '.join(IMAGE_SUFFIXES)} files"
        + (f"; its folders with images: {hint}" if hint else "")
    )


def images_in(path: Path | str) -> list[str]:
    """Return a folder's images sorted by name, or the path itself if it is no folder.

    A folder without images may have a layout that ``find_tiles`` recognises.

    Raises:
        DatasetError: If the folder holds no image, or the images of several layouts.
    """
    folder = Path(path)
    if is_remote(path) or not folder.is_dir():
        return [str(path)]
    if not rasters(folder):
        folder, _ = single_layout(folder)
        log.info("%s: images in %s", path, folder)
    return [str(image) for image in rasters(folder)]
