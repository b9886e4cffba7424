"""The functions that ``import geoseg`` promises; the command line calls the same.

Nothing heavy is imported until a function is called.
"""

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from geoseg.core.errors import ParameterError
from geoseg.core.words import did_you_mean

if TYPE_CHECKING:
    import geopandas

    from geoseg.geo.maps.summary import MapSummary
    from geoseg.model.file import Model
    from geoseg.runs.result import RunResult
    from geoseg.runs.scoring import MapScores
    from geoseg.runs.settings import RunSettings

#: A path, or an address.
Place: TypeAlias = str | os.PathLike[str]


def train(
    images: Place | None = None,
    labels: Place | None = None,
    *,
    aoi: str | None = None,
    output: Place | None = None,
    profile: bool = False,
    **settings: Any,
) -> "RunResult":
    """Train a model on unlabelled tiles; match and score it if some have labels.

    Args:
        images: Folder of GeoTIFFs, one GeoTIFF or VRT, or an address.
        labels: Folder of vectors or masks, or one file for all tiles.
        aoi: Name of an area of interest, or its folder, instead of images and labels.
        output: Folder of the run; None for the next free number below ``runs``.
        profile: Measure where the time of a step goes.
        settings: Further fields of :class:`geoseg.runs.settings.RunSettings`, such as
            ``method="picie"``, ``max_steps=500``, ``parameters={"width": 16}``.

    Returns:
        The run's folder, the model, and the table of scores.

    Raises:
        GeosegError: If tiles, labels or settings are wrong; then no folder is left.

    Example:
        >>> import geoseg
        >>> geoseg.train(aoi="sample", max_step=9)
        Traceback (most recent call last):
            ...
        geoseg.core.errors.ParameterError: there is no setting 'max_step' (did you mean \
max_steps?)
    """
    chosen = _settings(images, labels, aoi, settings)
    from geoseg.runs.train import start

    return start(chosen, None if output is None else Path(output), profile=profile)


def match(
    model: "Model | Place",
    images: Place | None = None,
    labels: Place | None = None,
    *,
    aoi: str | None = None,
    **settings: Any,
) -> "Model":
    """Say which clusters of a model are buildings, by labelled tiles.

    Args:
        model: Trained model, its file, or its run folder.
        images: As for :func:`train`.
        labels: As for :func:`train`.
        aoi: As for :func:`train`.
        settings: Further fields of :class:`geoseg.runs.settings.RunSettings`, such as
            ``match_tiles=50``, ``objective="accuracy"``.

    Returns:
        A model of the same weights with the new matching; ``save(path)`` writes it.

    Raises:
        GeosegError: If no tile has labels, or the model has learned its classes.
    """
    chosen = _settings(images, labels, aoi, settings)
    from geoseg.runs.matching import match_again

    opened, _ = _open(model)
    return match_again(opened, chosen)


def predict(
    images: Place | Sequence[Place],
    output: Place,
    *,
    model: "Model | Place | None" = None,
    head: str | None = None,
    device: str = "cpu",
    classes: Place | None = None,
    probability: Place | None = None,
    clusters: Place | None = None,
    **options: Any,
) -> "MapSummary":
    """Map the buildings of images into one vector file.

    When the process is stopped, the same call goes on where it was.

    Args:
        images: Images, or folders of them: paths or addresses.
        output: Footprints: ``.geojson``, ``.gpkg``, ``.fgb``, ``.parquet``, ….
        model: Matched model, its file, or its run folder; None for the newest run.
        head: Head of the network that predicts; None for that of the model.
        device: Where the network computes, such as ``cuda``.
        classes: Class raster to write; a folder for several images.
        probability: Probability raster to write, in percent; likewise.
        clusters: Cluster raster to write; likewise.
        options: Fields of :class:`geoseg.geo.maps.options.MapOptions`, such as
            ``min_area_m2=20``, ``regularize=True``, ``overwrite=True``.

    Returns:
        How many footprints there are, and the area of each class.

    Raises:
        GeosegError: If an image, the model or an output is wrong; then no output is
            left.
    """
    from geoseg.geo.formats.class_rasters import RasterTags
    from geoseg.geo.maps.mapping import map_buildings
    from geoseg.geo.maps.options import MapOptions
    from geoseg.geo.tiles.layouts import images_in
    from geoseg.model.file import file_sha256

    _check_names(options, MapOptions, "option")
    given = [images] if isinstance(images, str | os.PathLike) else images
    matched, file = _open(model)
    if head is not None:
        matched = matched.with_head(head)
    if device != "cpu":
        matched = matched.to(device)
    return map_buildings(
        matched,
        [image for each in given for image in images_in(os.fspath(each))],
        Path(output),
        classes=None if classes is None else Path(classes),
        probability=None if probability is None else Path(probability),
        clusters=None if clusters is None else Path(clusters),
        tags=RasterTags(
            matched.card.method, None if file is None else file_sha256(file)
        ),
        options=MapOptions(**options),
    )


def evaluate(
    prediction: Place,
    images: Place | None = None,
    labels: Place | None = None,
    *,
    aoi: str | None = None,
    model: "Model | Place | None" = None,
    output: Place | None = None,
    report: Place | None = None,
    footprint_classes: Sequence[str] = (),
    command: str = "",
    overwrite: bool = False,
    **settings: Any,
) -> "MapScores":
    """Score a map against reference labels, tile by tile.

    Args:
        prediction: Vector file of footprints, class raster, or folder of class rasters.
        images: As for :func:`train`.
        labels: As for :func:`train`.
        aoi: As for :func:`train`.
        model: Model that made the map, its file, or its run folder: tiles that it has
            seen are left out, and controls stand beside the map.
        output: Folder for ``scores.json`` and, with a model, ``panel.png``.
        report: HTML page to write.
        footprint_classes: Names of the classes whose footprints count.
        command: What makes the same scores again, for the records.
        overwrite: Replace outputs that exist.
        settings: Further fields of :class:`geoseg.runs.settings.RunSettings`, such as
            ``classes="background,building"``.

    Returns:
        The scores of the map and of its controls, and a table of them in Markdown.

    Raises:
        GeosegError: If the map, labels or settings are wrong.
    """
    chosen = _settings(images, labels, aoi, settings)
    from geoseg.geo.evaluation.judged_maps import warn_of_other_model
    from geoseg.runs.scoring import score_map

    opened, file = (None, None) if model is None else _open(model)
    if file is not None:
        warn_of_other_model(Path(prediction), file)
    return score_map(
        Path(prediction),
        chosen,
        opened,
        None if output is None else Path(output),
        footprint_classes=footprint_classes,
        report=None if report is None else Path(report),
        run=None if file is None else file.parent,
        command=command,
        overwrite=overwrite,
    )


def open_model(path: Place | None = None, *, head: str | None = None) -> "Model":
    """Read a model file.

    Args:
        path: Model file, or run folder; None for the newest run below ``runs``.
        head: Head of the network that predicts; None for that of the model.

    Raises:
        ModelFileError: If there is none, or it is damaged.
        ParameterError: If it has no such head.
    """
    model, _ = _open(path)
    return model if head is None else model.with_head(head)


def footprints(
    classes: Place,
    probability: Place | None = None,
    *,
    class_names: Sequence[str] = ("background", "building"),
    footprint_classes: Sequence[str] = (),
    min_area_m2: float = 10.0,
    min_hole_area_m2: float | None = None,
    tolerance_m: float | None = None,
    regularize: bool = False,
    split_touching: bool = False,
) -> "geopandas.GeoDataFrame":
    """Read building footprints from a class raster, whoever made it.

    Args:
        classes: Raster of class ids: 0 background, 1 building, 255 no data.
        probability: Raster of the same grid in percent, for the scores.
        class_names: Names of the class ids, background first.
        footprint_classes: Names of the classes that become footprints; none:
            ``building`` if there is one, else all but the background.
        min_area_m2: Smaller footprints are left out.
        min_hole_area_m2: Smaller holes are filled; None for 10, or ``min_area_m2`` if
            that is smaller.
        tolerance_m: Largest deviation of simplified outlines; None for 0.75 pixels.
        regularize: Draw right angles where the pixels support them.
        split_touching: Cut buildings apart that touch.

    Returns:
        A row for each footprint, in the raster's CRS: ``id``, ``class``, ``score``,
        ``area_m2``, ``perimeter_m``, ``orientation``, ``geometry``.

    Raises:
        RasterError: If a raster cannot be read or has no CRS, or the grids differ.
        ParameterError: If an option has no meaning.
    """
    from geoseg.geo.maps.classified import footprint_frame

    return footprint_frame(
        os.fspath(classes),
        None if probability is None else os.fspath(probability),
        class_names=class_names,
        footprint_classes=footprint_classes,
        min_area_m2=min_area_m2,
        min_hole_area_m2=min_hole_area_m2,
        tolerance_m=tolerance_m,
        regularize=regularize,
        split_touching=split_touching,
    )


def _settings(
    images: Place | None, labels: Place | None, aoi: str | None, others: dict[str, Any]
) -> "RunSettings":
    """Make settings of arguments, with paths as the text that is stored."""
    from geoseg.runs.settings import RunSettings

    _check_names(others, RunSettings, "setting")
    return RunSettings(
        images=None if images is None else os.fspath(images),
        labels=None if labels is None else os.fspath(labels),
        aoi=aoi,
        **others,
    )


def _check_names(given: dict[str, Any], kind: type, what: str) -> None:
    """Raise if a keyword argument is no field of a dataclass."""
    known = [field.name for field in fields(kind)]
    for name in given:
        if name not in known:
            raise ParameterError(
                f"there is no {what} {name!r}{did_you_mean(name, known)}"
            )


def _open(given: "Model | Place | None") -> "tuple[Model, Path | None]":
    """Return a model and its file; a model that is in memory has none."""
    if given is not None and not isinstance(given, str | os.PathLike):
        return given, None
    from geoseg.model.file import load_model
    from geoseg.runs.folders import newest_model

    file = newest_model(None if given is None else Path(given))
    return load_model(file), file
