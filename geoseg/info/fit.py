"""Check whether a model fits images."""

from collections.abc import Callable, Sequence
from functools import partial

from geoseg.core.errors import GeosegError
from geoseg.geo.rasters.bands import band_numbers, check_scaling
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.ground import Ground
from geoseg.geo.rasters.inspection import assumed_bands, sample, stretch_mismatch
from geoseg.info.sheet import Sheet, wrapped
from geoseg.info.training import LOOKED_AT
from geoseg.model.card import ModelCard


def say_fit(sheet: Sheet, grids: Sequence[RasterDescription], card: ModelCard) -> None:
    """Add whether a model fits images; the values of a folder are sampled."""
    bands = card.normalization.bands
    refusals = [
        [refusal(partial(Ground, grid)) for grid in grids],
        [refusal(partial(band_numbers, grid, bands)) for grid in grids],
    ]
    if not any(refusals[1]):
        scaling = card.provenance.get("image_scaling")
        refusals.append(
            [refusal(partial(check_scaling, grid, bands, scaling)) for grid in grids]
        )
    problems = [_first_of(texts) for texts in refusals if any(texts)]
    unlike: list[list[str]] = []
    near = grids[:: -(-len(grids) // LOOKED_AT)]
    if card.head not in card.matchings:
        problems.append("the model's clusters have no classes yet: run geoseg match")
    if not problems:
        unlike = _by_kind(near, card)
    verdict = "does not fit" if problems else "fits, but" if unlike else "fits"
    sheet.facts["model"] = {
        "fits": not problems,
        "problems": problems,
        "warnings": [warning for kind in unlike for warning in kind],
    }
    lines = [_with_count(kind, len(near), "images looked at") for kind in unlike]
    sheet.say("the model", verdict, *problems, *lines)
    if not problems and (assumed := _assumption(grids, bands)):
        sheet.facts["model"]["assumed"] = assumed
        sheet.say("assumed", *wrapped(assumed))


def _assumption(grids: Sequence[RasterDescription], bands: Sequence[str]) -> str | None:
    """Return a sentence on bands that are chosen only by position, or None."""
    texts = [text for grid in grids if (text := assumed_bands(grid, bands))]
    return _with_count(texts, len(grids), "images") if texts else None


def say_problem(sheet: Sheet, error: GeosegError) -> None:
    """Add the error with which training would fail."""
    sheet.facts["problem"] = str(error)
    sheet.say("training", f"refused: {error}")


def _first_of(refusals: Sequence[str | None]) -> str:
    texts = [text for text in refusals if text is not None]
    return _with_count(texts, len(refusals), "images")


def _with_count(texts: Sequence[str], total: int, what: str) -> str:
    """Return the first of some sentences, with the number of images that have one."""
    return texts[0] + (f" ({len(texts)} of {total} {what})" if total > 1 else "")


def _by_kind(grids: Sequence[RasterDescription], card: ModelCard) -> list[list[str]]:
    """Return sentences on images unlike the training images, one list for each kind."""
    by_kind: dict[str, list[str]] = {}
    for grid in grids:
        for kind, sentence in _unlike(grid, card).items():
            by_kind.setdefault(kind, []).append(f"{grid.path}: {sentence}")
    return list(by_kind.values())


def _unlike(grid: RasterDescription, card: ModelCard) -> dict[str, str]:
    """Return differences from the training images: kind → sentence."""
    differences = {}
    if card.gsd_m and grid.gsd_m and not 2 / 3 < grid.gsd_m / card.gsd_m < 3 / 2:
        differences["pixels"] = (
            f"pixels of {grid.gsd_m:.3g} m, trained at {card.gsd_m:.3g} m: expect a "
            "poor map"
        )
    pixels, valid = sample(grid, nodata=card.nodata)
    if not valid.any():
        return differences | {"data": "no valid pixel: nothing would be mapped"}
    mismatch = stretch_mismatch(pixels, valid, grid.band_names, card.normalization)
    return differences | ({"values": mismatch} if mismatch else {})


def refusal(check: Callable[[], object]) -> str | None:
    """Return the error message of a check, or None if it passes."""
    try:
        check()
    except GeosegError as error:
        return str(error)
    return None
