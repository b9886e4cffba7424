"""The files of a map: the layer of footprints, its styles, and the STAC item."""

from collections.abc import Iterable

from geoseg.geo.footprints.vectorize import Footprint
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.maps.plan import MapPlan
from geoseg.geo.maps.stac import MapContents, write_map_item
from geoseg.geo.styles.styles import layer_style, write_style


def write_layer(plan: MapPlan, footprints: Iterable[Footprint]) -> int:
    """Write the footprints as they come, then the styles; return how many there are."""
    output, legend = plan.output, plan.legend
    count = write_footprints(
        output,
        footprints,
        crs=plan.grids[0].crs,
        overwrite=plan.options.overwrite,
        style=None if legend is None else layer_style(output.stem, legend),
        tags=plan.tags.items(),
    )
    for path, elements in plan.files.styles.items():
        write_style(path, elements, overwrite=plan.options.overwrite)
    return count


def write_item(plan: MapPlan, count: int) -> None:
    """Write the STAC item of a map whose files are complete, if it is asked for."""
    if not plan.options.stac:
        return
    model = plan.model
    contents = MapContents(
        *(plan.output, count, plan.images, plan.grids, plan.files.places),
        class_names=model.card.class_names,
        cluster_count=model.method.heads[model.card.head],
        tags=plan.tags,
    )
    write_map_item(contents, overwrite=plan.options.overwrite)
