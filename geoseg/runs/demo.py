"""Run all steps on the sample tiles: train → match → predict → polygons → scores."""

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

from geoseg.core.errors import DatasetError, OutputExistsError
from geoseg.core.run_files import REPORT_NAME
from geoseg.core.words import counted
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.sample.write import write_sample
from geoseg.geo.tiles.tiles import aoi_tiles
from geoseg.runs import train as runs
from geoseg.runs.folders import is_run
from geoseg.runs.reporting.pictures import draw_overlay
from geoseg.runs.settings import RunSettings, read_settings
from geoseg.runs.tiles.run_tiles import split_of, tiles_of
from geoseg.scores.documents import Document

log = logging.getLogger(__name__)

#: Settings of the demo: the best of those tried for a few minutes on two CPU cores
#: (docs/results.md has the others).
DEMO = RunSettings(
    aoi="sample",
    parameters={
        "width": 8,
        "schedule": "joint",
        "half_width": 10,
        "lam_over": 1.5,
        "learning_rate": 2e-3,
        "jitter": 0.3,
        "jitter_both": True,
    },
    patch_size=96,
    batch_size=8,
    max_steps=300,
)


def run_demo(folder: Path, settings: RunSettings = DEMO) -> Document:
    """Train on the sample tiles and map the unseen ones.

    Writes ``run/`` (the model, its scores and pictures), ``buildings.geojson``,
    ``classes/`` and ``buildings.png`` into ``folder``, in place of those of an earlier
    demo.

    Args:
        folder: Created if it does not exist.
        settings: Of the run.

    Returns:
        The tables of scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_former(folder / "run")
    try:
        aoi_tiles("sample", folder)
    except DatasetError:
        log.info("making the sample tiles in %s", folder / "sample_tiles")
        write_sample(folder / "sample_tiles")
    settings = replace(settings, data=settings.data or str(folder))
    log.info("training for %s", counted(settings.max_steps or 0, "step"))
    result = runs.start(settings, folder / "run")
    test = split_of(settings, tiles_of(settings)).test
    output = folder / "buildings.geojson"
    summary = map_buildings(
        result.model,
        [tile.image for tile in test],
        output,
        classes=folder / "classes",
        options=MapOptions(overwrite=True),
    )
    log.info(
        "%s of %s in %s: %s",
        counted(summary.footprints, "footprint"),
        counted(len(test), "unseen tile"),
        output,
        summary.areas,
    )
    draw_overlay(folder / "buildings.png", result.model, test[0], output)
    log.info(
        "open %s, and %s in QGIS; then use your own tiles: geoseg train --images tiles/ "
        "--labels labels/",
        result.run / REPORT_NAME,
        output,
    )
    return result.scores


def _remove_former(run: Path) -> None:
    """Remove the run of an earlier demo.

    Raises:
        OutputExistsError: If the folder is not a run of the demo.
    """
    if run.is_dir() and not any(run.iterdir()):
        return
    if os.path.lexists(run):
        if run.is_symlink() or not is_run(run) or read_settings(run).aoi != "sample":
            raise OutputExistsError(
                f"{run} is not from an earlier demo: give another folder with -o"
            )
        shutil.rmtree(run)
