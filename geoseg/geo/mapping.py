"""From images to one layer of footprints, with rasters on the way where wanted."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from geoseg.classes import footprint_ids
from geoseg.errors import ParameterError, RasterError
from geoseg.geo import raster
from geoseg.geo.attribute_tables import SUFFIX
from geoseg.geo.class_rasters import RasterTags
from geoseg.geo.heads import ClusterView
from geoseg.geo.inspection import warn_of_unlike
from geoseg.geo.legend import Legend, class_legend, cluster_legend
from geoseg.geo.outputs import all_or_none, refuse_existing
from geoseg.geo.predictor import ClassModel, predict_raster
from geoseg.geo.remote import file_name
from geoseg.geo.strips import ClassStrip, keep_classes
from geoseg.geo.styles import layer_style, plan_styles, styled_outputs, write_style
from geoseg.geo.vectorize import Footprint, footprints
from geoseg.geo.writer import check_format, write_footprints
from geoseg.model import Model
from geoseg.patches import IGNORE

log = logging.getLogger(__name__)

_GEOTIFF = (".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How a map is made.

    Attributes:
        min_area_m2: Smaller footprints are left out.
        min_hole_area_m2: Smaller holes are filled; None for 10, or ``min_area_m2`` if
            that is smaller.
        tolerance_m: How far simplified outlines may lie off; None for 0.75 GSD.
        window: Side of a window in pixels.
        overlap: Least overlap of neighbouring windows in pixels.
        batch_size: Windows per call of the network.
        footprint_classes: Whose polygons are written; none: ``building`` if there is
            one, else all but background.
        overwrite: Replace outputs that exist.
        style: Make QGIS show the outputs in the colours of their classes.
    """

    min_area_m2: float = 10.0
    min_hole_area_m2: float | None = None
    tolerance_m: float | None = None
    window: int = 256
    overlap: int = 32
    batch_size: int = 8
    footprint_classes: tuple[str, ...] = ()
    overwrite: bool = False
    style: bool = True


@dataclass(frozen=True)
class _Outputs:
    """Where the rasters of one image go; None: not wanted."""

    classes: Path | None
    probability: Path | None
    clusters: Path | None


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
) -> int:
    """Map the buildings of some images into one vector file.

    Args:
        model: A matched model.
        images: Paths or URLs; all of one CRS.
        output: ``.geojson`` or ``.gpkg``.
        classes: Class raster to write; a folder if there are several images.
        probability: Probability raster, likewise.
        clusters: Cluster raster, likewise.
        tags: Provenance for the rasters.
        options: How the map is made.

    Returns:
        The number of footprints.

    Raises:
        OutputExistsError: If an output exists, before anything is computed.
        MatchingError: If no cluster of the model has a class yet.
        RasterError: If an image cannot be read or has no CRS, or the CRSs differ.
        BandMismatchError: If an image lacks bands of the model.
        ParameterError: If the model has no such footprint class, or clusters are wanted
            as a raster and there are more than 255.
    """
    check_format(output)
    model.require_matching()
    footprint_ids(model.card.class_names, options.footprint_classes)
    count = model.method.heads[model.card.head]
    if clusters is not None and count > IGNORE:
        raise ParameterError(
            f"{clusters} cannot hold {count} clusters, expected {IGNORE} at most in one "
            "band of bytes: leave out --raster-clusters"
        )
    grids = [raster.describe(image) for image in images]
    for grid in grids:
        raster.require_crs(grid)
        raster.band_numbers(grid, model.card.normalization.bands)
        _compare_gsd(grid, model)
    card = model.card
    warn_of_unlike(grids, card.normalization, nodata=card.nodata)
    _one_crs(grids)
    places = _places(images, classes, probability, clusters)
    styles = _styles(model, output, places, options)
    rasters = [p for o in places for p in vars(o).values() if p is not None]
    tables = [path.with_name(path.name + SUFFIX) for path in rasters]
    wanted = [output, *rasters, *tables, *styles]
    _refuse_clashes(wanted, images)
    for path in wanted:
        refuse_existing(path, options.overwrite)

    def everything() -> Generator[Footprint]:
        for grid, place in zip(grids, places, strict=True):
            yield from _map_one(model, grid, place, tags, options)

    legend = _footprint_legend(model, options)
    # closed before the outputs go away: what it writes lies aside among them
    with all_or_none(wanted), closing(everything()) as mapped:
        count = write_footprints(
            output,
            mapped,
            crs=grids[0].crs,
            overwrite=options.overwrite,
            style=layer_style(output.stem, legend) if options.style else None,
        )
        for path, elements in styles.items():
            write_style(path, elements, overwrite=options.overwrite)
    if not count and output.suffix.lower() == ".geojson":
        log.warning("%s is empty: QGIS takes it for a table, not a .gpkg", output.name)
    return count


def _footprint_legend(model: Model, options: MapOptions) -> Legend:
    """Return the names and colours of the classes that have footprints."""
    names = model.card.class_names
    wanted = footprint_ids(names, options.footprint_classes)
    return tuple(entry for entry in class_legend(names) if entry.value in wanted)


def _styles(
    model: Model, output: Path, places: Sequence[_Outputs], options: MapOptions
) -> dict[Path, list[Element]]:
    """Plan the styles beside the outputs."""
    if not options.style:
        return {}
    outputs = styled_outputs(_footprint_legend(model, options), footprints=output)
    classes = class_legend(model.card.class_names)
    clusters = cluster_legend(model.method.heads[model.card.head])
    for place in places:
        outputs += styled_outputs(
            classes, classes=place.classes, probability=place.probability
        )
        outputs += styled_outputs(clusters, classes=place.clusters)
    return plan_styles(outputs)


def _map_one(
    model: Model,
    grid: raster.RasterDescription,
    place: _Outputs,
    tags: RasterTags,
    options: MapOptions,
) -> Iterator[Footprint]:
    hole = options.min_hole_area_m2
    names = model.card.class_names
    wanted = footprint_ids(names, options.footprint_classes)
    with closing(
        predict_raster(
            model,
            grid.path,
            classes=place.classes,
            probability=place.probability,
            overwrite=options.overwrite,
            tags=tags,
            window=options.window,
            overlap=options.overlap,
            batch_size=options.batch_size,
        )
    ) as strips:
        yield from footprints(
            keep_classes(_warn_if_blank(strips, grid.path), wanted),
            grid,
            class_names=names,
            min_area_m2=options.min_area_m2,
            min_hole_area_m2=min(10.0, options.min_area_m2) if hole is None else hole,
            tolerance_m=options.tolerance_m,
        )
    if place.clusters is not None:
        view: ClassModel = ClusterView(model, model.card.head)
        for _ in predict_raster(
            view,
            grid.path,
            classes=place.clusters,
            legend=cluster_legend(len(view.card.class_names)),
            overwrite=options.overwrite,
            tags=tags,
            window=options.window,
            overlap=options.overlap,
            batch_size=options.batch_size,
        ):
            pass


def _warn_if_blank(strips: Iterator[ClassStrip], path: str) -> Iterator[ClassStrip]:
    """Pass strips on; say so if none of them had a valid pixel."""
    blank = True
    for strip in strips:
        blank = blank and bool((strip.classes == IGNORE).all())
        yield strip
    if blank:
        log.warning("%s has no valid pixel: nothing was mapped there", path)


def _places(
    images: Sequence[str],
    classes: Path | None,
    probability: Path | None,
    clusters: Path | None,
) -> list[_Outputs]:
    """Name the rasters of every image; below a folder if there are several images."""
    for path in (classes, probability, clusters):
        if path is not None and path.suffix.lower() not in ("", *_GEOTIFF):
            raise ParameterError(
                f"{path.name} ends in {path.suffix!r}, expected one of "
                f"{', '.join(_GEOTIFF)}; rename the output"
            )
    if len(images) == 1:
        return [_Outputs(classes, probability, clusters)]
    for path in (classes, probability, clusters):
        if path is not None and path.suffix:
            raise ParameterError(
                f"{path} is one file for {len(images)} images: name a folder for the "
                "rasters"
            )
    names = [file_name(image).stem + ".tif" for image in images]
    double = {name for name in names if names.count(name) > 1}
    if double and (classes or probability or clusters):
        raise ParameterError(
            f"several images are called {min(double)}: predict them one by one, or "
            "without rasters"
        )
    return [
        _Outputs(*(p / name if p else None for p in (classes, probability, clusters)))
        for name in names
    ]


def _refuse_clashes(paths: Sequence[Path], images: Sequence[str]) -> None:
    """Refuse an image given twice, and an output that would replace another or one."""
    taken: set[Path] = set()
    for image in images:
        if Path(image).resolve() in taken:
            raise ParameterError(
                f"{image} is given twice, expected every image once: its buildings "
                "would be mapped twice"
            )
        taken.add(Path(image).resolve())
    for path in paths:
        if path.resolve() in taken:
            raise ParameterError(
                f"{path} is an image or another output too: give every output a name "
                "of its own"
            )
        taken.add(path.resolve())


def _one_crs(grids: Sequence[raster.RasterDescription]) -> None:
    for grid in grids[1:]:
        if grid.crs != grids[0].crs:
            raise RasterError(
                f"{grid.path} is in {grid.crs}, {grids[0].path} in {grids[0].crs}: "
                "predict images of different CRSs into different outputs"
            )


def _compare_gsd(grid: raster.RasterDescription, model: Model) -> None:
    """Warn of an image much finer or coarser than what the model has seen."""
    trained = model.card.gsd_m
    if trained and grid.gsd_m and not 2 / 3 < grid.gsd_m / trained < 3 / 2:
        log.warning(
            "%s has pixels of %.2f m, the model was trained at %.2f m: expect a poor map",
            *(grid.path, grid.gsd_m, trained),
        )
