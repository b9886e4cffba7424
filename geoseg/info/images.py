"""What geoseg sees in images, and what training and a model would make of them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from geoseg.errors import BandMismatchError, GeosegError
from geoseg.geo.aoi import find_tiles
from geoseg.geo.inspection import (
    ImageFacts,
    inspect_image,
    percentiles,
    sample,
    stretch_mismatch,
)
from geoseg.geo.mixture import mixture
from geoseg.geo.raster import (
    RasterDescription,
    band_numbers,
    choose_bands,
    describe,
    require_crs,
)
from geoseg.info.sheet import Sheet, columns, number, percent
from geoseg.model import ModelCard
from geoseg.settings import RunSettings, load_tiles, split_of, training_tiles

#: Images of a folder whose pixels are looked at.
LOOKED_AT = 8

_NAMED_BY = {
    "descriptions": "named by the file's descriptions",
    "colours": "named by the file's colours",
    "count": "named by the usual order of so many bands: the file names none",
    "numbers": "numbered: the file names none",
}


@dataclass(frozen=True)
class Choices:
    """What ``geoseg train`` would be told, where it matters here.

    Attributes:
        labels: Folder or file of labels, or None for those of the layout.
        bands: Preset, names or numbers, or None for the usual ones.
        nodata: The nodata rule.
    """

    labels: str | None = None
    bands: str | None = None
    nodata: str = "auto"


def image_sheet(path: str, choices: Choices, card: ModelCard | None = None) -> Sheet:
    """Look at an image.

    Raises:
        RasterError: If it cannot be read.
        ParameterError: If the bands or the nodata rule make no sense.
    """
    nodata = choices.nodata if card is None else card.nodata
    facts = inspect_image(path, nodata=nodata)
    grid = facts.grid
    sheet = Sheet(path, "image", _image_json(facts))
    sheet.say("size", f"{grid.width} x {grid.height} pixels, {_count(grid.count)}")
    rows = [
        (str(b.number), b.name, b.dtype, f"{number(b.low)} to {number(b.high)}")
        + (f"median {number(b.median)}",)
        for b in facts.bands
    ]
    sheet.say("bands", *columns(rows), f"({_NAMED_BY[grid.named_by]})")
    sheet.say("CRS", _crs(grid))
    sheet.say("pixels", f"{_gsd(grid.gsd_m)}, {facts.orientation}")
    sheet.say("no data", f"{facts.nodata}: {percent(1 - facts.valid_share)} of pixels")
    over = " ".join(map(str, facts.overviews)) or "none"
    cog = "COG" if facts.cog else "no COG"
    sheet.say("layout", f"{facts.layout}; overviews {over}; {cog}")
    for name, value in facts.tags.items():
        sheet.say("written by", f"{name.removeprefix('GEOSEG_').lower()} {value}")
    sheet.say("map", _refusal(lambda: require_crs(grid)) or f"in {_crs(grid)}")
    if card is None:
        _say_training(sheet, [grid], choices, grid.height * grid.width)
    else:
        _say_fit(sheet, [grid], card)
    return sheet


def _image_json(facts: ImageFacts) -> dict[str, Any]:
    grid = facts.grid
    return {
        "width": grid.width,
        "height": grid.height,
        "bands": [asdict(band) for band in facts.bands],
        "named_by": grid.named_by,
        "alpha": grid.alpha,
        "crs": grid.crs.to_string() if grid.crs else None,
        "located_by": grid.located_by,
        "transform": list(grid.transform)[:6],
        "gsd_m": grid.gsd_m,
        "orientation": facts.orientation,
        "nodata": facts.nodata,
        "valid_share": facts.valid_share,
        "layout": facts.layout,
        "overviews": list(facts.overviews),
        "cog": facts.cog,
        "tags": facts.tags,
    }


def folder_sheet(path: str, choices: Choices, card: ModelCard | None = None) -> Sheet:
    """Look at a folder of images and their labels.

    Raises:
        DatasetError: If there are no images, or they cannot be used together.
        LabelError: If the labels are elsewhere.
    """
    nodata = choices.nodata if card is None else card.nodata
    found = find_tiles(path, choices.labels)
    grids = [describe(tile.image) for tile in found]
    labelled = sum(tile.labels is not None for tile in found)
    sheet = Sheet(path, "folder", {"tiles": len(found), "labelled": labelled})
    sheet.say("tiles", f"{len(found)} images, {labelled} with labels")
    heights, widths = [g.height for g in grids], [g.width for g in grids]
    sheet.say("size", f"{_span(widths)} x {_span(heights)} pixels, {_bands(grids[0])}")
    sheet.say("CRS", _crs(grids[0]))
    sizes = [grid.gsd_m for grid in grids if grid.gsd_m]
    sheet.say("pixels", _span_m(sizes))
    differences = mixture(grids)
    sheet.facts["differences"] = differences
    sheet.say("they differ", *(differences or ["in nothing that matters"]))
    # the very checks that a training begins with
    problem = _refusal(
        lambda: load_tiles(
            images=path, labels=choices.labels, aoi=None, data=None, nodata=nodata
        )
    )
    if problem:
        sheet.facts["problem"] = problem
        sheet.say("training", f"refused: {problem}")
        return sheet
    split = split_of(RunSettings(images=path, labels=choices.labels), found)
    roles = {role: len(getattr(split, role)) for role in vars(split)}
    sheet.facts["split"] = roles
    sheet.say("split", ", ".join(f"{n} {role}" for role, n in roles.items() if n))
    seen = {tile.image for tile in training_tiles(split)}
    used = [grid for grid in grids if grid.path in seen] or grids
    if card is None:
        area = sum(grid.height * grid.width for grid in used)
        _say_training(sheet, used, choices, area)
    else:
        _say_fit(sheet, grids, card)
    return sheet


def _say_training(
    sheet: Sheet, grids: Sequence[RasterDescription], choices: Choices, area: int
) -> None:
    """Say what a training would take of images, by default settings."""
    try:
        chosen = choose_bands(grids[0], choices.bands)
        stretches = _stretches(grids, chosen, choices.nodata)
    except BandMismatchError as error:
        sheet.facts["training"] = {"problem": str(error)}
        sheet.say("training", f"refused: {error}")
        return
    defaults = RunSettings()
    patches = math.ceil(area / defaults.patch_size**2)
    sheet.facts["training"] = {
        "stretch": stretches,
        "patch_size": defaults.patch_size,
        "patches_per_epoch": patches,
    }
    why = "as asked for" if choices.bands else _why(grids[0], chosen)
    sheet.say("training", f"on {' '.join(chosen)}: {why}")
    rows = [(k, f"{number(a)} to {number(b)}") for k, (a, b) in stretches.items()]
    sheet.say("", *columns(rows))
    sheet.say("", "made 0 to 1, about: percentiles 1 to 99 over all training tiles")
    sheet.say("", f"{patches} patches of {defaults.patch_size} pixels a side an epoch")
    if min(min(grid.height, grid.width) for grid in grids) < defaults.patch_size:
        sheet.say("", "tiles smaller than a patch are padded with invalid pixels")


def _stretches(
    grids: Sequence[RasterDescription], bands: Sequence[str], nodata: str
) -> dict[str, tuple[float | None, float | None]]:
    """Percentiles 1 and 99 of each band over a sample of some images.

    Raises:
        BandMismatchError: If an image, of all, lacks a band.
    """
    numbers = [band_numbers(grid, bands) for grid in grids]
    values: dict[str, list[np.ndarray[Any, Any]]] = {band: [] for band in bands}
    step = -(-len(grids) // LOOKED_AT)
    for grid, own in zip(grids[::step], numbers[::step], strict=True):
        pixels, valid = sample(grid, nodata=nodata)
        for band, index in zip(bands, own, strict=True):
            values[band].append(pixels[grid.band_indexes.index(index)][valid])
    found = {band: percentiles(np.concatenate(parts)) for band, parts in values.items()}
    return {band: (low, high) for band, (low, _, high) in found.items()}


def _why(grid: RasterDescription, chosen: tuple[str, ...]) -> str:
    if chosen == ("red", "green", "blue", "nir"):
        return "the usual bands"
    if chosen == ("red", "green", "blue"):
        return "the usual bands, where there is no near infrared"
    return "all, for not all of red, green and blue are there"


def _say_fit(sheet: Sheet, grids: Sequence[RasterDescription], card: ModelCard) -> None:
    """Say whether a model can map images; of a folder's values, some are looked at."""
    bands = card.normalization.bands
    refusals = (
        [_refusal(lambda grid=grid: require_crs(grid)) for grid in grids],
        [_refusal(lambda grid=grid: band_numbers(grid, bands)) for grid in grids],
    )
    problems = [_first_of(found) for found in refusals if any(found)]
    warnings: list[str] = []
    if card.head not in card.matchings:
        problems.append("the model's clusters have no classes yet: run geoseg match")
    if not problems:
        for grid in grids[:: -(-len(grids) // LOOKED_AT)]:
            warnings += [f"{grid.path}: {warning}" for warning in _unlike(grid, card)]
    verdict = "does not fit" if problems else "fits, but" if warnings else "fits"
    sheet.facts["model"] = {
        "fits": not problems,
        "problems": problems,
        "warnings": warnings,
    }
    sheet.say("the model", verdict, *problems, *warnings)


def _first_of(refusals: Sequence[str | None]) -> str:
    found = [refusal for refusal in refusals if refusal is not None]
    of = f" ({len(found)} of {len(refusals)} images)" if len(refusals) > 1 else ""
    return found[0] + of


def _unlike(grid: RasterDescription, card: ModelCard) -> list[str]:
    """Say what is unlike the images that a model was trained on."""
    found = []
    if card.gsd_m and grid.gsd_m and not 2 / 3 < grid.gsd_m / card.gsd_m < 3 / 2:
        found.append(
            f"pixels of {grid.gsd_m:.3g} m, trained at {card.gsd_m:.3g} m: expect a "
            "poor map"
        )
    pixels, valid = sample(grid, nodata=card.nodata)
    if not valid.any():
        return [*found, "no valid pixel: nothing would be mapped"]
    mismatch = stretch_mismatch(pixels, valid, grid.band_names, card.normalization)
    return [*found, mismatch] if mismatch else found


def _refusal(check: Any) -> str | None:
    try:
        check()
    except GeosegError as error:
        return str(error)
    return None


def _count(bands: int) -> str:
    return "1 band" if bands == 1 else f"{bands} bands"


def _bands(grid: RasterDescription) -> str:
    return f"{_count(grid.count)}: {' '.join(grid.band_names)}"


def _crs(grid: RasterDescription) -> str:
    if grid.crs is not None:
        return str(grid.crs.to_string())
    located = {"gcps": "; has ground control points", "rpcs": "; has RPCs"}
    return "none" + located.get(grid.located_by, "")


def _gsd(size: float | None) -> str:
    return f"{size:.3g} m a side" if size else "of unknown size"


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def _span_m(sizes: Sequence[float]) -> str:
    if not sizes:
        return "of unknown size"
    low, high = f"{min(sizes):.3g}", f"{max(sizes):.3g}"
    return f"{low} m a side" if low == high else f"{low} to {high} m a side"
