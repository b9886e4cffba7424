"""``geoseg predict``."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import geoseg
from geoseg.cli import options
from geoseg.core.addresses import need_image
from geoseg.core.outputs import check_one_file, check_raster_format, refuse_existing
from geoseg.core.words import counted
from geoseg.geo.formats.formats import check_format
from geoseg.geo.predict.unfinished import made_outputs
from geoseg.geo.tiles.layouts import images_in
from geoseg.runs.folders import newest_model

if TYPE_CHECKING:
    from geoseg.geo.maps.summary import MapSummary

log = logging.getLogger(__name__)


def _refuse_quantize(
    context: click.Context, parameter: click.Parameter, given: bool | None
) -> None:
    """Refuse ``--quantize``, which older versions had.

    Raises:
        click.UsageError: If it is given.
    """
    if given is not None:
        raise click.UsageError(
            "--quantize is gone: it used private operators of torch; leave it out"
        )


@click.command("predict")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Footprints: .geojson, .geojsonl, .ndjson (WGS 84), .gpkg, .fgb or .parquet (the "
    "images' CRS); see docs/formats.md.",
)
@options.model_opt
@click.option(
    "--head",
    metavar="NAME",
    help="Head of the network whose clusters are mapped (geoseg info MODEL lists them); "
    "default: that of the model.",
)
@click.option(
    "--mosaic",
    is_flag=True,
    help="Map the images as one raster: buildings across their borders are whole. They "
    "share a pixel grid; later images lie over earlier ones where they have valid pixels.",
)
@click.option(
    "--raster",
    type=click.Path(path_type=Path),
    help="Also write the classes as a GeoTIFF; a folder if there are several images "
    "and no --mosaic.",
)
@click.option(
    "--probability",
    type=click.Path(path_type=Path),
    help="Also write the probability in percent as a GeoTIFF; likewise.",
)
@click.option(
    "--raster-clusters",
    type=click.Path(path_type=Path),
    help="Also write the clusters as a GeoTIFF; likewise.",
)
@click.option(
    "--min-area",
    "min_area_m2",
    type=options.FiniteRange(0),
    default=10.0,
    show_default=True,
    help="Leave out footprints of fewer square metres.",
)
@click.option(
    "--min-hole-area",
    "min_hole_area_m2",
    type=options.FiniteRange(0),
    help="Fill holes of fewer square metres; default: 10, or --min-area if smaller.",
)
@click.option(
    "--tolerance",
    "tolerance_m",
    type=options.FiniteRange(0),
    help="Metres that simplified outlines may lie off; 0 keeps the pixels' outlines; "
    "default: 0.75 of a pixel.",
)
@click.option(
    "--regularize/--no-regularize",
    default=False,
    show_default=True,
    help="Draw right angles where the pixels support them (within four tolerances of a "
    "wall); round and odd shapes stay as they are, and shared walls shared.",
)
@click.option(
    "--split/--no-split",
    "split_touching",
    default=False,
    show_default=True,
    help="Cut buildings apart that touch: where the probability between them falls, and "
    "at necks at most half as wide as the narrower one of them over which it falls, or "
    "is the same everywhere; each part has a score and an area of its own.",
)
@click.option(
    "--smooth/--no-smooth",
    default=True,
    show_default=True,
    help="Smooth class probabilities along the edges of the image, if the clusters of "
    "the model are named by share.",
)
@click.option(
    "--threshold",
    metavar="P",
    type=options.FiniteRange(0, 1),
    help="Map pixels whose probability of building is greater: a higher one misses more "
    "buildings, a lower one draws more that are none; default: the one that was best on "
    "the matching tiles.",
)
@options.footprint_class_opt
@click.option(
    "--window", metavar="N", type=click.IntRange(32), default=256, show_default=True
)
@click.option(
    "--overlap", metavar="N", type=click.IntRange(0), default=32, show_default=True
)
@click.option(
    "--batch-size", metavar="N", type=click.IntRange(1), default=8, show_default=True
)
@click.option(
    "--style/--no-style",
    default=True,
    help="Make QGIS show the outputs in the colours of their classes; see docs/qgis.md.",
)
@click.option(
    "--stac",
    is_flag=True,
    help="Also describe the outputs in a STAC item, NAME.stac.json; see docs/formats.md.",
)
@click.option(
    "--symmetries/--no-symmetries",
    default=False,
    show_default=True,
    help="Average the network over the eight turns and mirrors of every window: takes "
    "eight times as long.",
)
@click.option(
    "--precision",
    type=click.Choice(["32-true", "bf16-mixed"]),
    default="32-true",
    show_default=True,
    help="bf16-mixed: layers compute in bfloat16, on a GPU alone.",
)
@click.option(
    "--quantize/--no-quantize",
    default=None,
    hidden=True,
    is_eager=True,
    expose_value=False,
    callback=_refuse_quantize,
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    help="Predict in N processes, each with --threads threads (default: 1); needs "
    "geoseg[distributed], see docs/scale.md.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Predict on a running Dask cluster, such as tcp://host:8786.",
)
@options.threads_opt
@options.device_opt
@options.overwrite_opt
def command(
    images: tuple[str, ...],
    *,
    output: Path,
    model: Path | None,
    head: str | None,
    raster: Path | None,
    probability: Path | None,
    raster_clusters: Path | None,
    threads: int | None,
    device: str,
    overwrite: bool,
    **given: Any,
) -> None:
    """Map the buildings of IMAGES.

    The result is one layer of building polygons with class, score (mean probability;
    null for a method without any, such as k-means), area, perimeter and orientation.
    When it is stopped, the same command goes on where it was.
    Images may be paths, folders of GeoTIFFs, s3://, https:// or /vsi… names. Everything
    that the training decided (bands, normalisation, nodata, clusters) is read from the
    model.

    \b
        geoseg predict tile.tif -o buildings.geojson
        geoseg predict tiles/*.tif -o city.gpkg --raster classes/
        geoseg predict tiles/*.tif -o city.gpkg --mosaic --raster classes.tif
    """
    rasters = [path for path in (raster, probability, raster_clusters) if path]
    _check_outputs(output, rasters, overwrite=overwrite)
    for name in images:
        need_image(name)
    file = newest_model(model)
    found = [image for given_image in images for image in images_in(given_image)]
    for path in rasters:
        check_one_file(path, 1 if given["mosaic"] else len(found))
    if given["workers"] and given["scheduler"]:
        raise click.UsageError("give either --workers or --scheduler (not both)")
    elsewhere = given["workers"] or given["scheduler"]
    options.say_first(found[0] if len(found) == 1 else f"{len(found)} images")
    options.set_threads(1 if threads is None and elsewhere else threads)
    if model is None:
        log.info("model: %s", file)
    summary = geoseg.predict(
        found,
        output,
        model=file,
        head=head,
        device=options.found_device(device),
        classes=raster,
        probability=probability,
        clusters=raster_clusters,
        overwrite=overwrite,
        **given,
    )
    _say(summary, output)


def _check_outputs(output: Path, rasters: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse formats that geoseg does not write, and a file that exists.

    Raises:
        GeosegError: If one of them is such.
    """
    check_format(output)
    for path in rasters:
        check_raster_format(path)
    refuse_existing(output, overwrite or output in made_outputs(output))


def _say(summary: "MapSummary", output: Path) -> None:
    """Log what has been mapped, image by image if there are several."""
    if len(summary.images) > 1:
        for image in summary.images:
            log.debug("%s: %s", image.path, image)
    count = counted(summary.footprints, "footprint")
    log.info("%s in %s: %s", count, output, summary.areas)
