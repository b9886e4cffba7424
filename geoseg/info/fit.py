"""What a model would make of images."""

from collections.abc import Callable, Sequence
from functools import partial

from geoseg.errors import GeosegError
from geoseg.geo.inspection import sample, stretch_mismatch
from geoseg.geo.raster import RasterDescription, band_numbers, require_crs
from geoseg.info.sheet import Sheet
from geoseg.info.training import LOOKED_AT
from geoseg.model import ModelCard


def say_fit(sheet: Sheet, grids: Sequence[RasterDescription], card: ModelCard) -> None:
    """Say whether a model can map images; of a folder's values, some are looked at."""
    bands = card.normalization.bands
    refusals = (
        [refusal(partial(require_crs, grid)) for grid in grids],
        [refusal(partial(band_numbers, grid, bands)) for grid in grids],
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


def say_problem(sheet: Sheet, error: GeosegError) -> None:
    """Say why a training would be refused."""
    sheet.facts["problem"] = str(error)
    sheet.say("training", f"refused: {error}")


def _first_of(refusals: Sequence[str | None]) -> str:
    found = [text for text in refusals if text is not None]
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


def refusal(check: Callable[[], object]) -> str | None:
    """Return what a check says no with, or None where it says nothing."""
    try:
        check()
    except GeosegError as error:
        return str(error)
    return None
