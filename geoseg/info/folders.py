"""What geoseg sees in folders of images."""

from geoseg.geo.aoi import find_tiles
from geoseg.geo.mixture import mixture
from geoseg.geo.raster import describe
from geoseg.info.choices import Choices
from geoseg.info.fit import refusal, say_fit
from geoseg.info.grids import band_words, crs_words, span, span_m
from geoseg.info.sheet import Sheet
from geoseg.info.training import say_training
from geoseg.model import ModelCard
from geoseg.settings import RunSettings, load_tiles, split_of, training_tiles


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
    sheet.say(
        "size", f"{span(widths)} x {span(heights)} pixels, {band_words(grids[0])}"
    )
    sheet.say("CRS", crs_words(grids[0]))
    sizes = [grid.gsd_m for grid in grids if grid.gsd_m]
    sheet.say("pixels", span_m(sizes))
    differences = mixture(grids)
    sheet.facts["differences"] = differences
    sheet.say("they differ", *(differences or ["in nothing that matters"]))
    # the very checks that a training begins with
    problem = refusal(
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
        say_training(sheet, used, choices, area)
    else:
        say_fit(sheet, grids, card)
    return sheet
