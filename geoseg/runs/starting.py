"""Parameters and card of a new run, and the model that it starts from."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import geoseg
from geoseg.core.errors import ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.words import counted
from geoseg.methods import (
    TRUNK_PARAMETERS,
    check_parameters,
    method_class,
    method_defaults,
)
from geoseg.model.card import ModelCard, load_card
from geoseg.model.file import Model, file_sha256, load_model
from geoseg.runs.fitting import outline_method
from geoseg.runs.folders import newest_model
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import fingerprint, ids_by_role, training_tiles

if TYPE_CHECKING:
    from geoseg.geo.tiles.roles import Split

log = logging.getLogger(__name__)


def check_start(settings: RunSettings) -> None:
    """Raise if the method needs a model to start from and has none, or the reverse.

    Raises:
        ParameterError: If ``init`` does not fit the method, or bands are given too.
    """
    start = method_class(settings.method).start
    if settings.init is None:
        if start == "must":
            raise ParameterError(
                f"{settings.method} starts from a trained model: name its run with "
                "--init RUN"
            )
        return
    if start == "never":
        method = method_class(settings.method)
        other = ", or take finetune" if method.uses_labels and method.gradient else ""
        raise ParameterError(
            f"{settings.method} does not start from a model: leave --init out{other}"
        )
    for option, given in (
        ("--bands", settings.bands is not None),
        ("--whiten", settings.whiten != "none"),
    ):
        if given:
            raise ParameterError(
                f"--init uses the bands of its model, but {option} was given too: "
                "leave it out"
            )


def initial_path(init: str | None) -> Path | None:
    """Return the path of the model that a run starts from, or None.

    Raises:
        ModelFileError: If the file is absent.
    """
    return None if init is None else newest_model(Path(init))


def initial_card(init: str | None) -> ModelCard | None:
    """Return the card of the model that a run starts from, or None.

    Raises:
        ModelFileError: If it cannot be read.
    """
    path = initial_path(init)
    return None if path is None else load_card(path)


def warn_of_seen(source: str, init: ModelCard, split: "Split") -> None:
    """Warn in one line if the model to start from has seen test tiles.

    If it has seen their images, the scores are transductive; if it has seen their
    labels, the scores are worthless.
    """
    # slow import, not needed to check settings
    from geoseg.runs.tiles.seen import seen_tiles

    former = "tile_keys" not in init.provenance
    if former and init.provenance.get("source") != source:
        return  # then equal ids may belong to different tiles
    seen = seen_tiles(init, split.test)
    learned = init.provenance.get("learns_from_labels", False)
    labels = seen.labels if learned else set()
    if seen.images:
        what = "the labels of" if labels else "without their labels"
        count = len(labels or seen.images)
        tiles = f"{count} of {counted(len(split.test), 'test tile')}"
        log.warning(
            "the model to start from was trained on %s: the scores flatter; take the "
            "same --split-seed (or --seed), --match-tiles and --test-tiles as its run",
            f"{what} {tiles}" if labels else f"{tiles}, {what}",
        )


def initial_model(init: str | None) -> Model | None:
    """Return the model that a run starts from, or None.

    Raises:
        ModelFileError: If it cannot be read.
    """
    path = initial_path(init)
    return None if path is None else load_model(path)


def initial_provenance(init: str | None) -> dict[str, Any]:
    """Return the provenance of a model that started from another, for its card."""
    path = initial_path(init)
    if path is None:
        return {}
    card = load_card(path)
    source = {"sha256": file_sha256(path), "method": card.method, "seed": card.seed}
    return {"init": {**source, "steps": card.provenance.get("steps")}}


def parameters_of(
    settings: RunSettings, bands: Sequence[str], init: ModelCard | None = None
) -> dict[str, Any]:
    """Return all parameters of a run's method.

    Given parameters come first, then those of the trunk to start from, then those
    derived from bands and classes, then the defaults.

    Raises:
        ParameterError: If a given parameter is unknown or invalid, or differs from that
            of the trunk to start from.
    """
    name = settings.method
    defaults = method_defaults(name)
    given = check_parameters(name, settings.parameters)
    classes = settings.label_classes.names
    derived = method_class(name).parameters_of_data(bands, classes)
    inherited = {} if init is None else _trunk_parameters(init, defaults)
    for key, value in inherited.items():
        if key in given and given[key] != value:
            raise ParameterError(
                f"{key} is {given[key]!r}, but the model to start from has {value!r}: "
                f"leave -p {key} out, or start from another model"
            )
    return {**defaults, **derived, **inherited, **given}


def _trunk_parameters(card: ModelCard, known: dict[str, Any]) -> dict[str, Any]:
    """Return the card's parameters that define its trunk."""
    return {
        key: card.parameters[key]
        for key in TRUNK_PARAMETERS
        if key in card.parameters and key in known
    }


def new_card(
    settings: RunSettings,
    split: "Split",
    normalization: Normalization,
    facts: Mapping[str, Any],
) -> ModelCard:
    """Return the card of the model that a run will train.

    Args:
        settings: Of the run.
        split: The roles of its tiles.
        normalization: Of their values.
        facts: Facts of the roles, from :func:`geoseg.runs.tiles.run_roles.role_facts`.
    """
    from geoseg.geo.rasters import raster  # slow import, not needed to check settings
    from geoseg.geo.rasters.bands import band_scaling, check_scaling

    tiles = training_tiles(split)
    init = initial_card(settings.init)
    parameters = parameters_of(settings, normalization.bands, init)
    method = outline_method(
        settings.method,
        normalization.channels,
        parameters,
        patch_size=settings.patch_size,
    )
    image = raster.describe(tiles[0].image)
    if init is not None:
        check_scaling(image, normalization.bands, init.provenance.get("image_scaling"))
    return ModelCard(
        method=settings.method,
        parameters=parameters,
        normalization=normalization,
        nodata=settings.nodata,
        gsd_m=image.gsd_m,
        patch_size=settings.patch_size,
        head=method.default_head,
        seed=settings.seed,
        provenance={
            "source": settings.source,
            "labels": settings.label_options,
            "tiles": ids_by_role(split),
            **facts,
            "image_bands": image.count,
            "image_scaling": band_scaling(image, normalization.bands),
            "learns_from_labels": method.uses_labels,
            "transductive": settings.transductive,
            **({} if settings.preset is None else {"preset": settings.preset}),
            **initial_provenance(settings.init),
            "fingerprint": fingerprint(tiles),
            "versions": {"geoseg": geoseg.__version__, "torch": torch.__version__},
        },
    )
