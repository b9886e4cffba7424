"""The command ``geoseg demo``."""

import sys
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.printing import echo
from geoseg.core.outputs import refuse_existing


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Folder for all outputs.",
)
@options.threads_opt
@options.overwrite_opt
def command(output: Path, threads: int | None, overwrite: bool) -> None:
    """Train, match, predict and score on the sample tiles.

    It takes a few minutes on two CPU cores. The result is a folder with a trained
    model, the buildings of the tiles that training did not use, pictures of both, and
    scores with those of the controls. The tiles are synthetic.
    """
    refuse_existing(output, overwrite)
    options.say_first("the sample tiles")
    options.set_threads(threads)
    from geoseg.runs.demo import run_demo  # slow import, after the checks

    echo(run_demo(output).for_stream(sys.stdout))
