"""What a map will be, known and checked before a pixel is predicted."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.core.classes import footprint_ids
from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.formats.formats import check_format
from geoseg.geo.formats.writer import try_writing
from geoseg.geo.maps.files import MapFiles, RasterOutputs, plan_files
from geoseg.geo.maps.images import describe_images, require_one_crs, warn_of_adjoining
from geoseg.geo.maps.mosaic import Mosaic, lay_out
from geoseg.geo.maps.options import AFTERWARDS, MapOptions
from geoseg.geo.maps.stac import check_item, item_path
from geoseg.geo.maps.summary import Tally
from geoseg.geo.predict.identity import run_identity
from geoseg.geo.predict.unfinished import made_outputs, parts_folder
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.inspection import warn_of_alpha, warn_of_unlike
from geoseg.geo.rasters.legend import Legend, class_legend
from geoseg.model.file import Model
from geoseg.model.inference import Inference


@dataclass(frozen=True, kw_only=True)
class MapPlan:
    """A map that can be made.

    Attributes:
        model: Matched, with the inference of the options.
        images: The images that are mapped.
        mosaic: The images as one raster, if they are mapped so.
        grids: Grid of the mosaic, or of each image.
        names: Names of the classes that become footprints, by class id.
        legend: Names and colours of those classes; None without styles.
        output: Vector file of the footprints.
        asked: Rasters that the user asked for.
        files: All files that will be written.
        tags: Provenance for rasters and footprints.
        options: How the map is made.
    """

    model: Model
    images: Sequence[RasterDescription]
    mosaic: Mosaic | None
    grids: Sequence[RasterDescription]
    names: dict[int, str]
    legend: Legend | None
    output: Path
    asked: RasterOutputs
    files: MapFiles
    tags: RasterTags
    options: MapOptions

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the predicted blocks: a stopped map goes on if it is the same."""
        options = vars(self.options).items()
        decides = {name: value for name, value in options if name not in AFTERWARDS}
        decides["mosaic"] = None if self.mosaic is None else self.mosaic.order
        decides["clusters"] = self.asked.clusters is not None
        return run_identity(self.model, self.images, decides)

    def tallies(self) -> list[Tally]:
        """Return an empty tally for each grid."""
        name = None if self.mosaic is None else self.mosaic.name
        return [Tally(grid, self.names, name) for grid in self.grids]


def plan_map(
    model: Model,
    images: Sequence[str],
    output: Path,
    asked: RasterOutputs,
    *,
    tags: RasterTags,
    options: MapOptions,
) -> MapPlan:
    """Describe the images, lay them out, name the files; refuse what cannot be mapped.

    Raises:
        GeosegError: As :func:`geoseg.geo.maps.mapping.map_buildings`.
    """
    check_format(output)
    model = model.with_inference(Inference(options.precision, options.symmetries))
    names = _footprint_names(model, options.footprint_classes)
    _check_threshold(model, options.threshold)
    _check_clusters(model, asked.clusters)
    described = describe_images(model, images)
    mosaic = None
    if options.mosaic:
        mosaic = lay_out(described, parts_folder(output), nodata=model.card.nodata)
    else:
        require_one_crs(described)
    grids = described if mosaic is None else [mosaic.grid]
    legend = _footprint_legend(model, names) if options.style else None
    files = plan_files(
        *(model, images, output, asked),
        legend=legend,
        overwrite=options.overwrite,
        one=len(grids) == 1,
        beside=[item_path(output)] if options.stac else [],
        own=made_outputs(output),
    )
    if options.stac:
        check_item(grids[0])
    try_writing(output, grids[0], tags=tags.items())
    warn_of_adjoining(grids)
    warn_of_alpha(described)
    warn_of_unlike(described, model.card.normalization, nodata=model.card.nodata)
    return MapPlan(
        model=model,
        images=described,
        mosaic=mosaic,
        grids=grids,
        names=names,
        legend=legend,
        output=output,
        asked=asked,
        files=files,
        tags=tags,
        options=options,
    )


def _footprint_names(model: Model, chosen: Sequence[str]) -> dict[int, str]:
    """Return the classes that become footprints: names by id."""
    model.require_matching()
    names = model.card.class_names
    wanted = footprint_ids(names, chosen)
    return {class_id: names[class_id] for class_id in wanted}


def _check_threshold(model: Model, threshold: float | None) -> None:
    """Refuse a threshold where none decides."""
    if threshold is None:
        return
    if not 0 <= threshold <= 1:
        raise ParameterError(f"the threshold is {threshold}, expected 0 to 1")
    decision = model.rule().decision
    if decision is None or decision.threshold is None:
        raise ParameterError(
            "a threshold is for two classes and clusters named by share, which this "
            "model has not: run geoseg match, or leave out --threshold"
        )


def _check_clusters(model: Model, clusters: Path | None) -> None:
    """Refuse a cluster raster of more clusters than a byte holds."""
    count = model.method.heads[model.card.head]
    if clusters is not None and count > IGNORE:
        raise ParameterError(
            f"{clusters} cannot hold {count} clusters, expected {IGNORE} at most in one "
            "band of bytes: leave out --raster-clusters"
        )


def _footprint_legend(model: Model, names: Container[int]) -> Legend:
    """Return the names and colours of the classes that have footprints."""
    classes = class_legend(model.card.class_names)
    return tuple(entry for entry in classes if entry.value in names)
