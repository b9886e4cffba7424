"""The command ``geoseg download``."""

import logging
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.printing import echo

log = logging.getLogger(__name__)


@click.command("download")
@click.option(
    "--aoi",
    metavar="NAME",
    required=True,
    help="las_vegas, paris, shanghai, khartoum or rio.",
)
@options.data_opt
@click.option(
    "--tiles",
    metavar="N",
    type=click.IntRange(1),
    help="Number of tiles to download, as single files; a larger number later adds to "
    "them.",
)
@click.option(
    "--products",
    metavar="LIST",
    help="Only these image products, separated by commas: PS-MS, PS-RGB, MS, PAN; "
    "rio: 3band, 8band. Default with --tiles: PS-MS, 8 bands at 0.3 m (rio: 3band).",
)
@click.option(
    "--endpoint",
    metavar="URL",
    envvar="GEOSEG_S3_ENDPOINT",
    show_envvar=True,
    help="An S3-compatible server with a copy of the bucket; default: AWS.",
)
@click.option("--keep-archive", is_flag=True, help="Keep the tarball on disk.")
@click.option("--overwrite", is_flag=True, help="Download and replace existing files.")
def command(
    *,
    aoi: str,
    data: Path | None,
    tiles: int | None,
    products: str | None,
    endpoint: str | None,
    keep_archive: bool,
    overwrite: bool,
) -> None:
    """Download a SpaceNet area: images with building labels.

    No account is needed. The files are stored below the data folder, where train --aoi
    finds them. Without --tiles and --products the whole labelled part is downloaded
    (las_vegas and shanghai 23 GB, paris and khartoum 5 GB, rio 3 GB, and once to twice
    as much when unpacked). The same command resumes an interrupted download; existing
    files are not downloaded again.

    \b
        geoseg download --aoi las_vegas --data data/ --tiles 50
        geoseg train    --aoi las_vegas --data data/
    """
    if data is None:
        raise click.UsageError("no data folder: give --data DIR or set GEOSEG_DATA")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise click.BadParameter(
            f"{endpoint!r} is not an https:// or http:// URL", param_hint="--endpoint"
        )
    names = [name.strip() for name in (products or "").split(",") if name.strip()]
    if products is not None and not names:
        raise click.BadParameter("it names no product", param_hint="--products")
    from geoseg.geo.tiles.download import download_aoi  # slow import, after the checks

    folder = download_aoi(
        aoi,
        data,
        tiles=tiles,
        products=names,
        endpoint=endpoint,
        keep_archive=keep_archive,
        overwrite=overwrite,
    )
    log.info("to train on it: geoseg train --aoi %s --data %s", aoi, data)
    echo(folder)
