"""The command ``geoseg evaluate``."""

import sys
from pathlib import Path
from typing import Any

import click

import geoseg
from geoseg.cli import options
from geoseg.cli.printing import echo
from geoseg.core.outputs import refuse_existing
from geoseg.core.run_files import SCORES_NAME
from geoseg.geo.tiles.presence import need_map, need_tiles
from geoseg.runs.folders import newest_model


@click.command("evaluate")
@click.argument("prediction", type=click.Path(path_type=Path))
@options.images_opt
@options.label_options
@options.aoi_opt
@options.data_opt
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model file or run folder that made the map: leave out the tiles that it was "
    "trained or matched on, and score the controls too.",
)
@options.footprint_class_opt
@options.blocks_opt
@options.objective_opt
@options.seed_opt
@options.threads_opt
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for scores.json and, with --model, panel.png.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Page to write, such as report.html; with --model it shows clusters and curves.",
)
@options.overwrite_opt
@click.pass_context
def command(
    ctx: click.Context,
    /,
    prediction: Path,
    *,
    model: Path | None,
    footprint_classes: tuple[str, ...],
    threads: int | None,
    output: Path | None,
    report: Path | None,
    overwrite: bool,
    **labelled: Any,
) -> None:
    """Score PREDICTION against reference labels, tile by tile.

    PREDICTION is a vector file of footprints, a class raster, or a folder of class
    rasters. The result is a table of pixel and footprint scores with 95 % intervals
    over tiles. It also has the scores of constant maps and, with --model, of colour
    k-means and an untrained network.

    \b
        geoseg evaluate buildings.geojson --images tiles/ --labels labels/
        geoseg evaluate classes/ --aoi sample --model runs/sample-iic-001 -o scores/
        geoseg evaluate buildings.gpkg --aoi sample --report report.html
    """
    options.need_one_source(labelled["images"], labelled["aoi"], labelled["labels"])
    if output is not None:
        refuse_existing(output / SCORES_NAME, overwrite)
    if report is not None:
        refuse_existing(report, overwrite)
    need_tiles(
        *(labelled[name] for name in ("images", "labels", "aoi", "labelled_area"))
    )
    need_map(prediction)
    path = None if model is None else newest_model(model)
    options.say_first(options.tiles_of(labelled))
    options.set_threads(threads)
    scores = geoseg.evaluate(
        prediction,
        model=path,
        output=output,
        report=report,
        footprint_classes=footprint_classes,
        command=options.command_line(ctx),
        overwrite=overwrite,
        **labelled,
    )
    echo(scores.table.for_stream(sys.stdout))
