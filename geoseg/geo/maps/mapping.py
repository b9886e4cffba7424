"""From images to one layer of footprints, with rasters on the way where wanted."""

import logging
from collections.abc import Container, Generator, Iterable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rasterio.crs import CRS

from geoseg.core.classes import footprint_ids
from geoseg.core.errors import ParameterError
from geoseg.core.outputs import all_or_none
from geoseg.core.patches import IGNORE
from geoseg.core.progress import bar
from geoseg.core.words import counted
from geoseg.geo.footprints.vectorize import Footprint, footprints
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.formats.formats import check_format
from geoseg.geo.formats.writer import try_writing, write_footprints
from geoseg.geo.maps.adjoining import require_one_crs, warn_of_adjoining
from geoseg.geo.maps.files import MapFiles, RasterOutputs, plan_files
from geoseg.geo.maps.images import describe_images
from geoseg.geo.maps.job import MapJob
from geoseg.geo.maps.mosaic import Mosaic, lay_out
from geoseg.geo.maps.options import AFTERWARDS, MapOptions
from geoseg.geo.maps.stac import MapContents, check_item, item_path, write_map_item
from geoseg.geo.maps.summary import MapSummary, Tally
from geoseg.geo.predict.identity import device_of, model_digest, run_identity
from geoseg.geo.predict.journal import Journal, journal
from geoseg.geo.predict.unfinished import made_outputs, parts_folder
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.inspection import warn_of_alpha, warn_of_unlike
from geoseg.geo.rasters.legend import Legend, class_legend
from geoseg.geo.rasters.strips import keep_classes
from geoseg.geo.styles.styles import layer_style, write_style
from geoseg.model.file import Model
from geoseg.model.inference import Inference

log = logging.getLogger(__name__)


def map_buildings(
    model: Model,
    images: Sequence[str],
    output: Path,
    *,
    classes: Path | None = None,
    probability: Path | None = None,
    clusters: Path | None = None,
    tags: RasterTags = RasterTags(),
    options: MapOptions = MapOptions(),
) -> MapSummary:
    """Map the buildings of some images into one vector file.

    A bar counts the rows on a terminal. What makes the map absurd is warned of. What is
    predicted is kept beside the output until the map is complete: when a run is stopped
    in whatever way, the same call goes on from there and gives the same map.

    Args:
        model: A matched model.
        images: Paths or URLs; all of one CRS, for a mosaic of one pixel grid.
        output: The footprints, in the format that its extension says.
        classes: Class raster to write; a folder if there are several images and no
            mosaic.
        probability: Probability raster, likewise.
        clusters: Cluster raster, likewise.
        tags: Provenance for rasters and footprints.
        options: How the map is made.

    Returns:
        How many footprints there are, and how much they cover.

    Raises:
        OutputExistsError: If an output exists, or what a run with other images or
            options has left of one, before anything is computed.
        MatchingError: If no cluster of the model has a class yet.
        RasterError: If an image cannot be read or has no CRS, the CRSs differ, or the
            images do not fit one mosaic.
        BandMismatchError: If an image lacks bands of the model.
        ParameterError: If the model has no such footprint class, clusters are wanted as
            a raster and there are more than 255, half precision of a CPU, or there is
            no such cluster of workers.
        BlockError: If workers fail at a block again and again.
    """
    check_format(output)
    model = model.with_inference(Inference(options.precision, options.symmetries))
    names = _footprint_names(model, options)
    _check_clusters(model, clusters)
    described = describe_images(model, images)
    mosaic = _mosaic(described, output, model, options)
    grids = described if mosaic is None else [mosaic.grid]
    legend = _footprint_legend(model, names) if options.style else None
    asked = RasterOutputs(classes, probability, clusters)
    files = plan_files(
        *(model, images, output, asked),
        legend=legend,
        overwrite=options.overwrite,
        one=len(grids) == 1,
        beside=[item_path(output)] if options.stac else [],
        own=made_outputs(output),
    )
    _try_writing(output, grids[0], options, tags)
    _warn_of_images(model, described, grids)
    tallies = [
        Tally(grid, names, None if mosaic is None else mosaic.name) for grid in grids
    ]
    identity = run_identity(model, described, _deciding(options, asked, mosaic))
    with (
        all_or_none(files.all, asked.paths),
        journal(output, identity, files.all, overwrite=options.overwrite) as parts,
    ):
        if mosaic is not None:
            mosaic.write()
        # closed before the outputs go away: what it writes lies aside among them
        with (
            _at_work(model, grids, parts, tags, options, asked) as job,
            closing(_map_all(job, options, grids, files.places, tallies)) as mapped,
        ):
            crs = grids[0].crs
            count = _write(output, mapped, crs, files, legend, options, tags)
        if options.stac:
            made = MapContents(
                *(output, count, described, grids, files.places),
                class_names=model.card.class_names,
                cluster_count=model.method.heads[model.card.head],
                tags=tags,
            )
            write_map_item(made, overwrite=options.overwrite)
    summary = MapSummary(count, tuple(tally.summary() for tally in tallies))
    _warn_of_doubts(summary, model, output)
    return summary


def _mosaic(
    images: Sequence[RasterDescription], output: Path, model: Model, options: MapOptions
) -> Mosaic | None:
    """Lay out the images as one, if they are to be; else check that they have one CRS."""
    if not options.mosaic:
        require_one_crs(images)
        return None
    return lay_out(images, parts_folder(output), nodata=model.card.nodata)


def _try_writing(
    output: Path, grid: RasterDescription, options: MapOptions, tags: RasterTags
) -> None:
    """Refuse an output that cannot be written for its CRS, before the predicting."""
    if options.stac:
        check_item(grid)
    try_writing(output, grid, tags=tags.items())


def _warn_of_images(
    model: Model,
    images: Sequence[RasterDescription],
    grids: Sequence[RasterDescription],
) -> None:
    """Warn of images that meet, have a doubtful alpha, or differ from the training's."""
    warn_of_adjoining(grids)
    warn_of_alpha(images)
    warn_of_unlike(images, model.card.normalization, nodata=model.card.nodata)


def _write(
    output: Path,
    mapped: Iterable[Footprint],
    crs: CRS | None,
    files: MapFiles,
    legend: Legend | None,
    options: MapOptions,
    tags: RasterTags,
) -> int:
    """Write the footprints as they come, then the styles; return how many there are."""
    count = write_footprints(
        output,
        mapped,
        crs=crs,
        overwrite=options.overwrite,
        style=None if legend is None else layer_style(output.stem, legend),
        tags=tags.items(),
    )
    for path, elements in files.styles.items():
        write_style(path, elements, overwrite=options.overwrite)
    return count


@contextmanager
def _at_work(
    model: Model,
    grids: Sequence[RasterDescription],
    parts: Journal,
    tags: RasterTags,
    options: MapOptions,
    asked: RasterOutputs,
) -> Iterator[MapJob]:
    """Show how far the map is; let the workers of a cluster predict if so asked."""
    how = {name: getattr(options, name) for name in ("window", "overlap", "batch_size")}
    job = MapJob(
        model=model, tags=tags, parts=parts, overwrite=options.overwrite, **how
    )
    if options.workers is None and options.scheduler is None:
        rows = sum(grid.height for grid in grids)
        with bar("mapping", rows, unit="row") as advance:
            yield replace(job, advance=advance)
        return
    from geoseg.geo.predict import distributed  # optional

    prediction = distributed.Prediction(
        parts,
        model_digest(model),
        clusters=asked.clusters is not None,
        device=device_of(model),
        threads=torch.get_num_threads(),
        inference=model.inference,
        **how,
    )
    blocks = {
        block: grid for i, grid in enumerate(grids) for block in job.blocks(i, grid)
    }
    with (
        distributed.connected(
            options.workers, options.scheduler, threads=prediction.threads
        ) as client,
        distributed.predicting(client, prediction, model, blocks) as ready,
    ):
        yield replace(job, ready=ready)


def _deciding(
    options: MapOptions, asked: RasterOutputs, mosaic: Mosaic | None
) -> dict[str, Any]:
    """Return what decides the blocks: not what is made of them afterwards."""
    decides = {k: v for k, v in vars(options).items() if k not in AFTERWARDS}
    together = {"mosaic": None if mosaic is None else mosaic.order}
    return decides | together | {"clusters": asked.clusters is not None}


def _footprint_names(model: Model, options: MapOptions) -> dict[int, str]:
    """Return the classes that become footprints: names by id."""
    model.require_matching()
    names = model.card.class_names
    wanted = footprint_ids(names, options.footprint_classes)
    return {class_id: names[class_id] for class_id in wanted}


def _check_clusters(model: Model, clusters: Path | None) -> None:
    """Refuse a cluster raster of more clusters than a byte holds."""
    count = model.method.heads[model.card.head]
    if clusters is not None and count > IGNORE:
        raise ParameterError(
            f"{clusters} cannot hold {count} clusters, expected {IGNORE} at most in one "
            "band of bytes: leave out --raster-clusters"
        )


def _warn_of_doubts(summary: MapSummary, model: Model, output: Path) -> None:
    """Warn of what has no data, of an absurd map, and of what QGIS makes of nothing."""
    if summary.blank:
        first, *others = summary.blank
        log.warning(
            "%s no valid pixel: nothing was mapped there",
            (
                f"{first} and {counted(len(others), 'other image')} have"
                if others
                else f"{first} has"
            ),
        )
    if summary.doubt is not None:
        log.warning("%s: %s", summary.doubt, _advice(summary, model))
    if not summary.footprints and not check_format(output).describes_itself:
        log.warning("%s is empty: no layer in QGIS, unlike a .gpkg", output.name)


def _footprint_legend(model: Model, names: Container[int]) -> Legend:
    """Return the names and colours of the classes that have footprints."""
    classes = class_legend(model.card.class_names)
    return tuple(entry for entry in classes if entry.value in names)


def _advice(summary: MapSummary, model: Model) -> str:
    """Say what to try where a map is absurd."""
    own = model.card.head
    names = {it.name for it in summary.classes}
    heads = [it for it in model.card.matchings if _means(model, it, names)]
    others = [f"--head {head}" for head in heads if head != own]
    small = not summary.footprints and any(it.area_m2 for it in summary.classes)
    ways = [
        *(["a lower --min-area"] if small else []),
        *([f"another head ({' or '.join(others)})"] if others else []),
        "geoseg match with labels near this place",
    ]
    nothing = own in model.card.matchings and own not in heads
    why = f"no cluster of head {own} means it" if nothing else "if that is wrong"
    return f"{why}, try {', or '.join(ways)}"


def _means(model: Model, head: str, names: Set[str]) -> bool:
    """Return whether a cluster of a head means one of some classes."""
    classes = model.card.matchings[head].cluster_to_class
    return any(model.card.class_names[class_id] in names for class_id in classes)


def _map_all(
    job: MapJob,
    options: MapOptions,
    grids: Sequence[RasterDescription],
    places: Sequence[RasterOutputs],
    tallies: Sequence[Tally],
) -> Generator[Footprint]:
    """Yield the footprints of all images; write the rasters on the way."""
    for image, of in enumerate(zip(grids, places, tallies, strict=True)):
        yield from _map_one(job, options, image, *of)


def _map_one(
    job: MapJob,
    options: MapOptions,
    image: int,
    grid: RasterDescription,
    place: RasterOutputs,
    tally: Tally,
) -> Generator[Footprint]:
    """Yield the footprints of one image; write its rasters."""
    hole = options.min_hole_area_m2
    names = job.model.card.class_names
    with closing(job.predict(image, grid, place)) as strips:
        found = footprints(
            keep_classes(
                tally.strips(strips), footprint_ids(names, options.footprint_classes)
            ),
            grid,
            class_names=names,
            min_area_m2=options.min_area_m2,
            min_hole_area_m2=min(10.0, options.min_area_m2) if hole is None else hole,
            tolerance_m=options.tolerance_m,
            regularize=options.regularize,
            split_touching=options.split_touching,
        )
        if not job.model.method.has_probabilities:
            found = (replace(footprint, score=None) for footprint in found)
        yield from tally.footprints(found)
