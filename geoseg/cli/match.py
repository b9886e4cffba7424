"""The command ``geoseg match``."""

import logging
import sys
from pathlib import Path
from typing import Any

import click

import geoseg
from geoseg.cli import options
from geoseg.cli.printing import echo
from geoseg.core.outputs import check_output
from geoseg.core.run_files import SCORES_NAME
from geoseg.geo.tiles.presence import need_tiles
from geoseg.runs.folders import newest_model

log = logging.getLogger(__name__)


@click.command("match")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "--model",
    "named",
    type=click.Path(path_type=Path),
    help="The same as MODEL, as in the other commands.",
)
@options.images_opt
@options.label_options
@options.aoi_opt
@options.data_opt
@click.option(
    "--match-tiles",
    "--tiles",
    "match_tiles",
    type=options.CountOrShare(),
    default=50,
    show_default=True,
    help="Labelled tiles to use: a number, or a share of those with labels.",
)
@options.blocks_opt
@options.objective_opt
@options.naming_opt
@options.seed_opt
@options.threads_opt
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Model file to write; default: MODEL itself.",
)
@options.overwrite_opt
def command(
    model: Path | None,
    *,
    named: Path | None,
    threads: int | None,
    output: Path | None,
    overwrite: bool,
    **labelled: Any,
) -> None:
    """Match the clusters of MODEL to classes with labelled tiles.

    MODEL is a model file or a run folder. The result is the model with a matching of
    every head; the table of clusters and classes is printed.
    """
    if (model is None) == (named is None):
        raise click.UsageError("name one model file or run folder: geoseg match MODEL")
    options.need_one_source(labelled["images"], labelled["aoi"], labelled["labels"])
    if output is not None:
        check_output(output, overwrite=overwrite)
    need_tiles(
        *(labelled[name] for name in ("images", "labels", "aoi", "labelled_area"))
    )
    path = newest_model(model or named)
    options.say_first(options.tiles_of(labelled))
    options.set_threads(threads)
    from geoseg.model.class_table import matching_document
    from geoseg.runs.matching import refuse_worse  # slow import, after the checks

    matched = geoseg.match(path, **labelled)
    if output is None:
        refuse_worse(matched)
    matched.save(output or path)
    echo(matching_document(matched).for_stream(sys.stdout))
    log.info("the matched model is in %s", output or path)
    if output is None and (path.parent / SCORES_NAME).exists():
        log.warning(
            "the scores and the report in %s are those of the former matching",
            path.parent,
        )
