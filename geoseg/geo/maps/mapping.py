"""From images to one layer of footprints, with rasters on the way where wanted."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from geoseg.core.outputs import all_or_none
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.maps.doubts import warn_of_doubts
from geoseg.geo.maps.files import RasterOutputs
from geoseg.geo.maps.layer import write_item, write_layer
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.maps.plan import plan_map
from geoseg.geo.maps.summary import MapSummary
from geoseg.geo.maps.work import at_work, map_images
from geoseg.geo.predict.journal import journal
from geoseg.model.file import Model


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

    Predictions are kept beside the output until the map is complete: after a stop, the
    same call goes on from there and gives the same map. An absurd map is warned of.

    Args:
        model: A matched model.
        images: Paths or URLs; all of one CRS, for a mosaic of one pixel grid.
        output: The footprints, in the format that its extension says.
        classes: Class raster to write; a folder for several images without a mosaic.
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
        ParameterError: If the model has no such footprint class, more than 255 clusters
            for a raster, or the options need another device or cluster of workers.
        BlockError: If workers fail at a block again and again.
    """
    asked = RasterOutputs(classes, probability, clusters)
    plan = plan_map(model, images, output, asked, tags=tags, options=options)
    tallies = plan.tallies()
    files = plan.files.all
    with (
        all_or_none(files, asked.paths),
        journal(output, plan.identity, files, overwrite=options.overwrite) as parts,
    ):
        if plan.mosaic is not None:
            plan.mosaic.write()
        # closed before the outputs go away: what it writes lies aside among them
        with (
            at_work(plan, parts) as work,
            closing(map_images(work, plan, tallies)) as footprints,
        ):
            count = write_layer(plan, footprints)
        write_item(plan, count)
    summary = MapSummary(count, tuple(tally.data for tally in tallies))
    warn_of_doubts(summary, plan.model, output)
    return summary
