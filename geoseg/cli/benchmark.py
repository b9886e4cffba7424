"""The command ``geoseg benchmark``."""

import sys
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.printing import echo
from geoseg.cli.sections import SectionedCommand
from geoseg.cli.setting_options import setting_opt
from geoseg.geo.tiles.presence import need_tiles

#: Heading in the help → options below it.
SECTIONS = {
    "Tiles and labels": (
        *("images", "labels", "aoi", "data", "bands", "nodata", "blocks"),
        *("classes", "class_field", "label_layer"),
        *("labelled_area", "sparse", "point_radius"),
    ),
    "The leaderboard": (
        "methods",
        "output",
        "seeds",
        "splits",
        "label_tiles",
        "clusters",
    ),
    "Budget of each run": (
        *("max_steps", "parameters", "patch_size", "batch_size", "whiten"),
        "transductive",
    ),
    "Matching": ("match_tiles", "test_tiles", "objective", "naming"),
    "Machine": ("device", "precision", "threads", "loader_workers"),
}


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers separated by commas.

    Args:
        least: Smallest allowed number.
    """

    name = "N,N,…"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdigit() and int(part) >= self.least for part in parts):
            self.fail(
                f"{value!r} are not whole numbers of at least {self.least}, separated "
                "by commas",
                param,
                ctx,
            )
        return tuple(sorted({int(part) for part in parts}))


@click.command(
    "benchmark",
    cls=SectionedCommand,
    sections=SECTIONS,
)
@options.images_opt
@options.label_options
@options.aoi_opt
@options.data_opt
@click.option(
    "--methods",
    metavar="NAMES",
    required=True,
    help="Rows of the table, such as iic,color_kmeans,probe:iic; METHOD:OTHER starts "
    "from OTHER's run of the same split and seed. See geoseg methods.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the benchmark; an existing benchmark is resumed.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Number of trainings of each row on each split.",
)
@click.option(
    "--splits",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of splits of the tiles into matching and test tiles, the same for all "
    "rows.",
)
@click.option(
    "--label-tiles",
    type=Numbers(1),
    default=(),
    help="Also score with these numbers of labelled tiles, such as 1,5,10,50; methods "
    "that learn from labels are trained again for each number.",
)
@click.option(
    "--clusters",
    type=Numbers(2),
    default=(),
    help="Also score k-means of the trained features for several K, such as 3,6,12,24.",
)
@click.option(
    "--max-steps",
    metavar="N",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Optimiser steps of each run.",
)
@click.option(
    "-p",
    "parameters",
    multiple=True,
    metavar="[METHOD.]NAME=VALUE",
    help="Parameter of every method that has it, or of METHOD only; may be repeated.",
)
@setting_opt("bands", "-b", help="As for geoseg train.")
@setting_opt(
    "whiten", help="Decorrelate the bands by the covariance of the training tiles."
)
@setting_opt("nodata", help="As for geoseg train.")
@setting_opt("patch_size", metavar="N", least=16)
@setting_opt("batch_size", metavar="N", help="Patches in each step.")
@options.match_tiles_opt
@options.test_tiles_opt
@setting_opt(
    "transductive",
    help="Let training see the images of the test tiles too, without labels; every "
    "table says so.",
)
@options.blocks_opt
@options.objective_opt
@options.naming_opt
@options.threads_opt
@options.device_opt
@setting_opt(
    "loader_workers",
    metavar="N",
    help="Processes that read patches while the network computes.",
)
@setting_opt("precision")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    methods: str,
    output: Path,
    seeds: int,
    splits: int,
    label_tiles: tuple[int, ...],
    clusters: tuple[int, ...],
    parameters: tuple[str, ...],
    threads: int | None,
    **given: Any,
) -> None:
    """Compare methods on the same tiles, with the same budget.

    Every row is trained --seeds times on each of --splits splits. All rows are matched
    on the same tiles and scored on the same test tiles. Each run has its own process
    and run folder. The same command resumes a stopped benchmark; a further method adds
    a row.

    The leaderboard is rewritten after every run: leaderboard.md, .csv, .json and .html.

    \b
        geoseg benchmark --images tiles/ --labels labels/ -o bench \\
            --methods iic,picie,color_kmeans,supervised,finetune:iic -p width=8
    """
    options.need_one_source(given["images"], given["aoi"], given["labels"])
    need_tiles(*(given[name] for name in ("images", "labels", "aoi", "labelled_area")))
    pairs = options.parse_parameters(parameters)
    options.say_first(options.tiles_of(given))
    from geoseg.leaderboard.plan import BenchmarkPlan, parse_rows, split_parameters
    from geoseg.methods import METHODS

    rows = parse_rows(methods)
    shared, own = split_parameters(pairs, tuple(METHODS))
    given["device"] = options.found_device(given["device"])
    # slow import, after the checks
    from geoseg.leaderboard.conduct import run_benchmark
    from geoseg.leaderboard.tables import summary
    from geoseg.runs.settings import RunSettings

    plan = BenchmarkPlan(
        base=RunSettings(**given, controls=False, report="none"),
        rows=rows,
        seeds=seeds,
        splits=splits,
        shared=shared,
        own=own,
        label_tiles=label_tiles,
        clusters=clusters,
        threads=threads,
    )
    board = run_benchmark(plan, output, options.command_line(ctx))
    echo(summary(board).for_stream(sys.stdout), nl=False)
