"""The work of a map: images are predicted here or by workers, and become footprints."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import torch

from geoseg.core.progress import bar
from geoseg.geo.footprints.vectorize import Footprint, footprints
from geoseg.geo.maps.files import RasterOutputs
from geoseg.geo.maps.job import MapJob
from geoseg.geo.maps.plan import MapPlan
from geoseg.geo.maps.summary import Tally
from geoseg.geo.predict.identity import device_of, model_digest
from geoseg.geo.predict.journal import Journal
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.strips import keep_classes


@contextmanager
def at_work(plan: MapPlan, parts: Journal) -> Iterator[MapJob]:
    """Show how far the map is; let the workers of a cluster predict if so asked."""
    options, grids = plan.options, plan.grids
    how = {name: getattr(options, name) for name in ("window", "overlap", "batch_size")}
    job = MapJob(
        model=plan.model,
        tags=plan.tags,
        parts=parts,
        overwrite=options.overwrite,
        **how,
    )
    if options.workers is None and options.scheduler is None:
        rows = sum(grid.height for grid in grids)
        with bar("mapping", rows, unit="row") as advance:
            yield replace(job, advance=advance)
        return
    from geoseg.geo.predict import distributed  # optional

    prediction = distributed.Prediction(
        parts,
        model_digest(plan.model),
        clusters=plan.asked.clusters is not None,
        device=device_of(plan.model),
        threads=torch.get_num_threads(),
        inference=plan.model.inference,
        **how,
    )
    blocks = {
        block: grid for i, grid in enumerate(grids) for block in job.blocks(i, grid)
    }
    with (
        distributed.connected(
            options.workers, options.scheduler, threads=prediction.threads
        ) as client,
        distributed.predicting(client, prediction, plan.model, blocks) as ready,
    ):
        yield replace(job, ready=ready)


def map_images(
    job: MapJob, plan: MapPlan, tallies: Sequence[Tally]
) -> Generator[Footprint]:
    """Yield the footprints of all images; write the rasters on the way."""
    each = zip(plan.grids, plan.files.places, tallies, strict=True)
    for image, (grid, place, tally) in enumerate(each):
        yield from _map_image(job, plan, image, grid, place, tally)


def _map_image(
    job: MapJob,
    plan: MapPlan,
    image: int,
    grid: RasterDescription,
    place: RasterOutputs,
    tally: Tally,
) -> Generator[Footprint]:
    """Yield the footprints of one image; write its rasters."""
    options = plan.options
    with closing(job.predict(image, grid, place)) as strips:
        drawn = footprints(
            keep_classes(tally.strips(strips), tuple(plan.names)),
            grid,
            class_names=plan.model.card.class_names,
            min_area_m2=options.min_area_m2,
            min_hole_area_m2=options.min_hole_area_m2,
            tolerance_m=options.tolerance_m,
            regularize=options.regularize,
            split_touching=options.split_touching,
        )
        if not plan.model.method.has_probabilities:
            drawn = (replace(footprint, score=None) for footprint in drawn)
        yield from tally.footprints(drawn)
