"""Describe an image."""

from dataclasses import asdict, replace
from typing import Any

from geoseg.core.errors import GeosegError
from geoseg.core.words import counted
from geoseg.geo.rasters.ground import Ground
from geoseg.geo.rasters.inspection import (
    ImageFacts,
    doubtful_alpha,
    inspect_image,
    pages_in_words,
)
from geoseg.info.fit import refusal, say_fit, say_problem
from geoseg.info.grids import crs_words, size_words
from geoseg.info.labels import say_labels
from geoseg.info.rasters import say_use, say_values
from geoseg.info.sheet import Sheet, columns, number, percent, wrapped
from geoseg.info.training import say_training
from geoseg.model.card import ModelCard
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import tiles_of

_NAMED_BY = {
    "descriptions": "named by the file's descriptions",
    "colours": "named by the file's colours",
    "count": "named by the usual order of so many bands: the file names none",
    "numbers": "numbered: the file names none",
}


def image_sheet(
    path: str, settings: RunSettings, card: ModelCard | None = None
) -> Sheet:
    """Describe an image.

    Raises:
        RasterError: If it cannot be read.
        ParameterError: If the bands or the nodata rule are invalid.
    """
    nodata = settings.nodata if card is None else card.nodata
    facts = inspect_image(path, nodata=nodata)
    grid = facts.grid
    sheet = Sheet(path, facts.kind, _image_json(facts))
    sheet.say(
        "size", f"{grid.width} x {grid.height} pixels, {counted(grid.count, 'band')}"
    )
    if facts.kind == "image":
        _say_bands(sheet, facts)
    else:
        names = grid.band_names if grid.named_by == "descriptions" else ()
        sheet.say("type", " ".join([*dict.fromkeys(grid.dtypes)]))
        sheet.say("bands", *[name.replace("_", " ") for name in names])
    doubts = (pages_in_words(grid), doubtful_alpha(grid))
    for doubt in filter(None, doubts):
        sheet.say("note", *wrapped(doubt))
    sheet.say("CRS", crs_words(grid))
    sheet.say("pixels", f"{size_words(grid.gsd_m)}, {facts.orientation}")
    way = "give" if card is None else "train with"
    gap, gaps = facts.gap, list[str]()
    if gap is not None and facts.kind == "image":
        gaps = wrapped(f"{gap}: {gap.advice}, or {way} {gap.option}")
    missing = f"{facts.nodata}: {percent(1 - facts.valid_share)} of pixels"
    sheet.say("no data", missing, *gaps)
    over = " ".join(map(str, facts.overviews)) or "none"
    cog = "COG" if facts.cog else "no COG"
    sheet.say("layout", f"{facts.layout}; overviews {over}; {cog}")
    for name, value in facts.tags.items():
        sheet.say("written by", f"{name.removeprefix('GEOSEG_').lower()} {value}")
    if facts.kind != "image":
        say_values(sheet, facts)
        if card is None and settings.bands is None:
            say_use(sheet, facts.kind, facts.values)
            return sheet
    sheet.say("map", refusal(lambda: Ground(grid)) or f"in {crs_words(grid)}")
    if settings.labels is not None and not _say_labels(sheet, settings, nodata):
        return sheet
    if card is None:
        area = grid.height * grid.width
        say_training(sheet, [grid], area, bands=settings.bands, nodata=settings.nodata)
    else:
        say_fit(sheet, [grid], card)
    return sheet


def _say_bands(sheet: Sheet, facts: ImageFacts) -> None:
    rows = [
        (str(b.number), b.name, b.dtype, f"{number(b.low)} to {number(b.high)}")
        + (f"median {number(b.median)}",)
        for b in facts.bands
    ]
    sheet.say("bands", *columns(rows), f"({_NAMED_BY[facts.grid.named_by]})")


def _say_labels(sheet: Sheet, settings: RunSettings, nodata: str) -> bool:
    """Add the contents of the labels; return False if training would fail."""
    try:
        say_labels(sheet, tiles_of(replace(settings, images=sheet.path)), nodata)
    except GeosegError as error:
        say_problem(sheet, error)
        return False
    return True


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
        "gaps": None if facts.gap is None else str(facts.gap),
        "layout": facts.layout,
        "overviews": list(facts.overviews),
        "cog": facts.cog,
        "tags": facts.tags,
        "values": facts.values,
        "value_names": facts.names,
    }
