"""Describe folders of images."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.core.addresses import is_remote
from geoseg.core.errors import DatasetError, GeosegError
from geoseg.core.words import counted
from geoseg.geo.formats.role_outlines import adjoining_test, adjoining_words
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.inspection import inspect_image
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.layouts import (
    image_folders,
    is_label_folder,
    labels_of_product,
    single_layout,
)
from geoseg.geo.tiles.mixture import mixture
from geoseg.geo.tiles.roles import Split, tiles_by_role
from geoseg.geo.tiles.tiles import Tile, find_tiles
from geoseg.info.fit import say_fit, say_problem
from geoseg.info.grids import band_words, crs_words, span, span_m
from geoseg.info.labels import say_labels
from geoseg.info.rasters import say_use
from geoseg.info.sheet import Sheet, columns, wrapped
from geoseg.info.training import LOOKED_AT, say_training
from geoseg.model.card import ModelCard
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import split_of, tiles_of, training_tiles

#: Most folders that are listed.
_SHOWN = 12


def folder_sheet(
    path: str, settings: RunSettings, card: ModelCard | None = None
) -> Sheet:
    """Describe a folder of images and their labels, or list its folders of images.

    Raises:
        DatasetError: If there are no images, or they cannot be used together.
        LabelError: If the labels do not exist.
    """
    below = {} if is_remote(path) else _image_folders(Path(path))
    if below and Path(path) not in below:
        try:
            single_layout(Path(path))
        except DatasetError as error:
            return _listing(path, below, error)
    nodata = settings.nodata if card is None else card.nodata
    settings = replace(settings, images=path, nodata=nodata)
    tiles = find_tiles(path, settings.labels)
    grids = [describe(tile.image) for tile in tiles]
    sheet = Sheet(path, "folder")
    _say_images(sheet, tiles, grids)
    _say_others(sheet, tiles, below)
    if card is None and settings.bands is None and _say_no_images(sheet, grids):
        return sheet
    try:
        # the same checks as at the start of a training
        checked = tiles_of(settings)
        sheet.facts["labelled"] = sum(tile.labels is not None for tile in checked)
        say_labels(sheet, checked, nodata)
    except GeosegError as error:
        say_problem(sheet, error)
        return sheet
    split = split_of(settings, checked)
    _say_split(sheet, split)
    seen = {tile.image for tile in training_tiles(split)}
    used = [grid for grid in grids if grid.path in seen] or grids
    if card is None:
        area = sum(grid.height * grid.width for grid in used)
        say_training(sheet, used, area, bands=settings.bands, nodata=settings.nodata)
    else:
        say_fit(sheet, grids, card)
    return sheet


def _image_folders(folder: Path) -> dict[Path, int]:
    return image_folders(folder) if folder.is_dir() else {}


def _listing(path: str, below: dict[Path, int], error: DatasetError) -> Sheet:
    """Return the sheet of a folder whose folders of images need a choice."""
    sheet = Sheet(path, "folder", {"problem": str(error), "others": _json(below)})
    sheet.say("folders", *_folder_words(below, path))
    sheet.say("training", "needs one folder of images", *_how_to_take(below))
    return sheet


def _folder_words(folders: dict[Path, int], root: str) -> list[str]:
    """Return lines with the contents of folders and SpaceNet's labels beside them."""
    rows = []
    for folder, count in folders.items():
        labels = labels_of_product(folder)
        beside = "" if labels is None else f"labels in {_within(labels, root)}"
        noun = "mask" if is_label_folder(folder) else "image"
        rows.append((_within(folder, root), counted(count, noun), beside))
    more = len(rows) - _SHOWN
    rest = [f"and {counted(more, 'more folder')}"] if more > 0 else []
    return [*columns(rows[:_SHOWN]), *rest]


def _how_to_take(folders: Iterable[Path]) -> list[str]:
    """Return a line with the option that takes one of the folders, if there is one."""
    first = next((folder for folder in folders if not is_label_folder(folder)), None)
    return [] if first is None else [f"to take one: --images {shlex.quote(str(first))}"]


def _say_images(
    sheet: Sheet, tiles: Sequence[Tile], grids: Sequence[RasterDescription]
) -> None:
    labelled = sum(tile.labels is not None for tile in tiles)
    sheet.facts |= {"tiles": len(tiles), "labelled": labelled}
    sheet.say("tiles", f"{counted(len(tiles), 'image')}, {labelled} with labels")
    heights, widths = [g.height for g in grids], [g.width for g in grids]
    sheet.say(
        "size", f"{span(widths)} x {span(heights)} pixels, {band_words(grids[0])}"
    )
    sheet.say("CRS", crs_words(grids[0]))
    sizes = [grid.gsd_m for grid in grids if grid.gsd_m]
    sheet.facts |= {
        "widths": [min(widths), max(widths)],
        "heights": [min(heights), max(heights)],
        "bands": list(grids[0].band_names),
        "crs": grids[0].crs.to_string() if grids[0].crs else None,
        "gsd_m": [min(sizes), max(sizes)] if sizes else None,
    }
    sheet.say("pixels", span_m(sizes))
    differences = mixture(grids)
    sheet.facts["differences"] = differences
    sheet.say("they differ", *(differences or ["in nothing that matters"]))


def _say_others(sheet: Sheet, tiles: Sequence[Tile], below: dict[Path, int]) -> None:
    """Add the folder of the images, and the folders that are ignored."""
    taken = Path(tiles[0].image).parent
    if taken not in below:  # remote, or a list
        return
    used = {taken, *(Path(tile.labels).parent for tile in tiles if tile.labels)}
    others = {folder: count for folder, count in below.items() if folder not in used}
    sheet.facts |= {"images": str(taken), "others": _json(others)}
    if taken != Path(sheet.path):
        sheet.say("images", f"in {_within(taken, sheet.path)}")
    if others:
        words = _folder_words(others, sheet.path)
        sheet.say("ignored", *words, *_how_to_take(others))


def _say_no_images(sheet: Sheet, grids: Sequence[RasterDescription]) -> bool:
    """Add the use of a folder of masks or maps; return False for one of images."""
    looked = [
        inspect_image(grid.path) for grid in grids[:: -(-len(grids) // LOOKED_AT)]
    ]
    kind = looked[0].kind
    if kind == "image" or any(facts.kind != kind for facts in looked):
        return False
    sheet.facts["contents"] = kind
    sheet.say("contents", f"{kind}s")
    values = {value: share for facts in looked for value, share in facts.values.items()}
    say_use(sheet, kind, dict(sorted(values.items())))
    return True


def _say_split(sheet: Sheet, split: Split) -> None:
    roles, adjoining = tiles_by_role(split), adjoining_test(split)
    sheet.facts |= {"split": roles, "adjoining_test": adjoining}
    sheet.say("split", ", ".join(f"{n} {role}" for role, n in roles.items() if n))
    if adjoining:
        sheet.say("", *wrapped(adjoining_words(adjoining, roles)))


def _json(folders: dict[Path, int]) -> list[dict[str, object]]:
    return [{"path": str(f), "images": count} for f, count in folders.items()]


def _within(folder: Path, root: str) -> str:
    return str(folder.relative_to(root)) if folder.is_relative_to(root) else str(folder)
