"""Names of a map's files, checked for clashes before any is written."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from geoseg.core.addresses import file_name
from geoseg.core.errors import ParameterError
from geoseg.core.outputs import (
    check_one_file,
    check_raster_format,
    refuse_existing,
    with_sidecars,
)
from geoseg.geo.formats.attribute_tables import SUFFIX
from geoseg.geo.rasters.legend import Legend, class_legend, cluster_legend
from geoseg.geo.styles.styles import plan_styles, styled_outputs
from geoseg.model.file import Model


@dataclass(frozen=True)
class RasterOutputs:
    """Paths of one image's rasters; None: not written."""

    classes: Path | None
    probability: Path | None
    clusters: Path | None

    @property
    def paths(self) -> list[Path]:
        """Paths that are not None."""
        return [path for path in vars(self).values() if path is not None]


@dataclass(frozen=True)
class MapFiles:
    """All files of a map.

    Attributes:
        places: Rasters of each image.
        styles: Style files beside the outputs, with their elements.
        all: Every file, the footprints first.
    """

    places: Sequence[RasterOutputs]
    styles: Mapping[Path, list[Element]]
    all: Sequence[Path]


def plan_files(
    model: Model,
    images: Sequence[str],
    output: Path,
    asked: RasterOutputs,
    *,
    legend: Legend | None,
    overwrite: bool,
    one: bool,
    beside: Sequence[Path] = (),
    own: Container[Path] = (),
) -> MapFiles:
    """Return all files of a map; raise if one exists or two clash.

    Args:
        model: Names the classes and clusters of the rasters.
        images: Paths or URLs.
        output: File of the footprints.
        asked: Paths of the rasters; folders if the images are mapped one by one.
        legend: Legend of the footprints; None: no styles.
        overwrite: Replace existing files.
        one: Whether the images are mapped as one, or there is only one.
        beside: Other files that will be written.
        own: Files that an interrupted run of this map has finished; they may exist.

    Raises:
        OutputExistsError: If a file exists and ``overwrite`` is False.
        ParameterError: If an image is given twice, or two files have the same name.
    """
    places = _places(images[:1] if one else images, asked)
    styles = {} if legend is None else _styles(model, output, places, legend)
    rasters = [path for place in places for path in place.paths]
    tables = [path.with_name(path.name + SUFFIX) for path in rasters]
    files = [output, *rasters, *tables, *styles, *beside]
    _refuse_clashes(files, images)
    for path in dict.fromkeys(part for file in files for part in with_sidecars(file)):
        refuse_existing(path, overwrite or path in own)
    return MapFiles(places, styles, files)


def _styles(
    model: Model, output: Path, places: Sequence[RasterOutputs], legend: Legend
) -> dict[Path, list[Element]]:
    """Return the style files beside the outputs."""
    outputs = styled_outputs(legend, footprints=output)
    classes = class_legend(model.card.class_names)
    clusters = cluster_legend(model.method.heads[model.card.head])
    for place in places:
        outputs += styled_outputs(
            classes, classes=place.classes, probability=place.probability
        )
        outputs += styled_outputs(clusters, classes=place.clusters)
    return plan_styles(outputs)


def _places(images: Sequence[str], asked: RasterOutputs) -> list[RasterOutputs]:
    """Return the rasters of every image, in a folder if there are several images."""
    for path in asked.paths:
        check_raster_format(path)
        check_one_file(path, len(images))
    if len(images) == 1:
        return [asked]
    names = [file_name(image).stem + ".tif" for image in images]
    double = {name for name in names if names.count(name) > 1}
    if double and asked.paths:
        raise ParameterError(
            f"several images are called {min(double)}, expected different names: predict "
            "them one by one, or without rasters"
        )
    wanted = vars(asked).values()
    return [RasterOutputs(*(p / name if p else None for p in wanted)) for name in names]


def _refuse_clashes(paths: Sequence[Path], images: Sequence[str]) -> None:
    """Raise if an image is given twice, or an output would replace another or an image."""
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
                f"{path} is an image or another output too: give every output its own "
                "name"
            )
        taken.add(path.resolve())
