"""The command ``geoseg info``."""

import logging
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.printing import echo, echo_json
from geoseg.core.words import one_line
from geoseg.geo.tiles.presence import need_aoi
from geoseg.runs.folders import newest_model


@click.command("info")
@click.argument("paths", nargs=-1, metavar="[FILE|FOLDER…]")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model file or run folder: check whether the images fit it.",
)
@options.label_options
@options.aoi_opt
@options.data_opt
@click.option("-b", "--bands", help="As for geoseg train.")
@click.option(
    "--nodata", default="auto", show_default=True, help="As for geoseg train."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(
    paths: tuple[str, ...],
    *,
    model: Path | None,
    aoi: str | None,
    data: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Describe files and folders, and what geoseg would do with them.

    They can be images (also URLs), folders of tiles, vector files, models or runs.
    Values are percentiles 1 to 99 of a sample, so images of any size are quick. If a
    path cannot be read, its error is printed and the others are shown; the exit status
    is 1.

    \b
        geoseg info tile.tif
        geoseg info tiles/ --labels buildings.geojson
        geoseg info --aoi las_vegas --data spacenet/
        geoseg info tile.tif --model runs/tiles-iic-001
        geoseg info runs/tiles-iic-001 --json
    """
    _need_one_kind(paths, aoi, chosen["labels"])
    from geoseg import info
    from geoseg.core.errors import GeosegError
    from geoseg.runs.settings import RunSettings

    # the sheets hold everything that would be logged, except warnings
    logger = logging.getLogger("geoseg")
    if logger.level == logging.INFO:
        logger.setLevel(logging.WARNING)
    card = None
    if model is not None:
        named = newest_model(model)
        from geoseg.model.card import load_card  # slow import, after the check

        card = load_card(named)
    if aoi is not None:
        folder, chosen["labels"] = _folders_of(aoi, data)
        paths = (folder,)
    settings = RunSettings(**chosen)
    sheets, failed = [], []
    for path in paths:
        try:
            sheets.append(info.inspect(path, settings, card))
        except GeosegError as error:
            if len(paths) == 1:
                raise
            failed.append(error)
            click.echo(f"Error: {one_line(error)}", err=True)
    if as_json:
        echo_json([sheet.to_json() for sheet in sheets])
    elif sheets:
        echo("\n\n".join(sheet.text() for sheet in sheets))
    if failed:
        raise click.exceptions.Exit(max(error.exit_code for error in failed))


def _need_one_kind(paths: tuple[str, ...], aoi: str | None, labels: str | None) -> None:
    """Raise if there is neither a path nor an AOI, or an AOI beside paths or labels."""
    if not paths and aoi is None:
        raise click.UsageError("no path is given: geoseg info PATH, or --aoi NAME")
    if paths and aoi is not None:
        raise click.UsageError("name either files and folders or --aoi NAME (not both)")
    if aoi is not None:
        options.need_one_source(None, aoi, labels)


def _folders_of(aoi: str, data: Path | None) -> tuple[str, str | None]:
    """Return the folders of the images and the labels of an AOI."""
    need_aoi(aoi)
    from geoseg.geo.tiles.tiles import aoi_folders  # slow import, after the check

    images, labels = aoi_folders(aoi, data)
    return str(images), None if labels is None else str(labels)
