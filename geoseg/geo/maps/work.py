"""The work of a map: images are predicted here or by workers, and become footprints."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import torch

from geoseg.core.progress import Advance, bar
from geoseg.geo.footprints.vectorize import Footprint, footprints
from geoseg.geo.maps.job import MapJob
from geoseg.geo.maps.plan import MapPlan
from geoseg.geo.maps.summary import Tally
from geoseg.geo.predict.blocks import Block
from geoseg.geo.predict.identity import device_of, model_digest
from geoseg.geo.predict.journal import Journal
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.strips import ClassStrip, keep_classes


class Work(NamedTuple):
    """A map that is being made.

    Attributes:
        job: Predicts the images.
        blocks: Blocks of each image; those that workers predict come when they are
            finished.
        advance: Advances the progress bar by a number of rows; None: workers' blocks
            are shown instead.
    """

    job: MapJob
    blocks: Sequence[Iterable[Block]]
    advance: Advance | None


@contextmanager
def at_work(plan: MapPlan, parts: Journal) -> Iterator[Work]:
    """Show how far the map is; let the workers of a cluster predict if so asked."""
    options, grids = plan.options, plan.grids
    how = {name: getattr(options, name) for name in ("window", "overlap", "batch_size")}
    job = MapJob(
        model=plan.model,
        tags=plan.tags,
        parts=parts,
        overwrite=options.overwrite,
        smooth=options.smooth,
        threshold=options.threshold,
        **how,
    )
    blocks = [job.blocks(image, grid) for image, grid in enumerate(grids)]
    if options.workers is None and options.scheduler is None:
        rows = sum(grid.height for grid in grids)
        with bar("mapping", rows, unit="row") as advance:
            yield Work(job, blocks, advance)
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
    grid_of = {
        block: grid for own, grid in zip(blocks, grids, strict=True) for block in own
    }
    with (
        distributed.connected(
            options.workers, options.scheduler, threads=prediction.threads
        ) as client,
        distributed.predicting(client, prediction, plan.model, grid_of) as finished,
    ):
        yield Work(job, [islice(finished, len(own)) for own in blocks], None)


def map_images(
    work: Work, plan: MapPlan, tallies: Sequence[Tally]
) -> Generator[Footprint]:
    """Yield the footprints of all images; write the rasters on the way."""
    each = zip(work.blocks, plan.grids, plan.files.places, tallies, strict=True)
    for blocks, grid, place, tally in each:
        with closing(work.job.predict(blocks, grid, place)) as strips:
            counted = _counted(strips, tally, work.advance)
            for footprint in _drawn(counted, plan, grid):
                tally.feed_footprint(footprint)
                yield footprint


def _counted(
    strips: Iterable[ClassStrip], tally: Tally, advance: Advance | None
) -> Iterator[ClassStrip]:
    """Yield the strips; count their pixels, and show their rows when they are drawn."""
    for strip in strips:
        tally.feed_strip(strip)
        yield strip
        if advance is not None:
            advance(len(strip.classes))


def _drawn(
    strips: Iterable[ClassStrip], plan: MapPlan, grid: RasterDescription
) -> Iterator[Footprint]:
    """Yield the footprints of an image, with scores if the method has probabilities."""
    options = plan.options
    for footprint in footprints(
        keep_classes(strips, tuple(plan.names)),
        grid,
        class_names=plan.model.card.class_names,
        min_area_m2=options.min_area_m2,
        min_hole_area_m2=options.min_hole_area_m2,
        tolerance_m=options.tolerance_m,
        regularize=options.regularize,
        split_touching=options.split_touching,
    ):
        if plan.model.has_scores:
            yield footprint
        else:
            yield replace(footprint, score=None)
