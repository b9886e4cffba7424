"""The command ``geoseg sample``."""

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.printing import echo


@click.command("sample")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sample_tiles"),
    show_default=True,
    help="Folder to write.",
)
@click.option(
    "--tiles", metavar="N", type=click.IntRange(1, 400), default=24, show_default=True
)
@click.option(
    "--size", metavar="N", type=click.IntRange(64), default=256, show_default=True
)
@options.seed_opt
@options.overwrite_opt
def command(output: Path, tiles: int, size: int, seed: int, overwrite: bool) -> None:
    """Write synthetic tiles of a desert suburb, in the layout of SpaceNet 2.

    The result is a folder of 8-band images with building footprints and class masks.
    The same seed gives the same pixels on every machine. The tiles are for trying out
    geoseg: real imagery is harder in other ways.
    """
    from geoseg.geo.sample.write import write_sample  # slow import, after the checks

    write_sample(output, tiles=tiles, size=size, seed=seed, overwrite=overwrite)
    echo(output)
