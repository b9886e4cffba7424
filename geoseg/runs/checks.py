"""What settings alone say is wrong: refused before anything heavy is imported.

A wrong word costs a moment so, and not the seconds in which rasterio and Lightning load
and tiles are looked at.
"""

import logging
from pathlib import Path

from geoseg.core.errors import ParameterError
from geoseg.geo.tiles.presence import need_tiles
from geoseg.methods import check_parameters, method_class
from geoseg.methods.presets import need_method
from geoseg.runs.fitting import check_device, limits_of, outline_method, schedule_of
from geoseg.runs.folders import newest_model, refuse_filled
from geoseg.runs.settings import RunSettings

log = logging.getLogger(__name__)

#: Settings of optimiser steps.
STEP_SETTINGS = (
    *("max_steps", "max_epochs", "max_seconds", "lr_schedule", "warmup_steps"),
    *("accumulate", "checkpoint_steps", "stop_on_collapse", "tensorboard"),
    *("device", "precision"),
)


def check_settings(settings: RunSettings, run: Path | None = None) -> None:
    """Refuse settings that no tiles can make right; what needs no torch comes first.

    Args:
        settings: Of the run.
        run: The folder that it is to fill, if one is chosen.

    Raises:
        ParameterError: If the method, a parameter or a class has no meaning, devices
            are absent, the method has no steps to share out or none that accumulates,
            the schedule does not fit the number of steps, a model to start from is
            missing or too much, or restarts cannot be compared.
        OutputExistsError: If the folder holds something.
        DatasetError: If the images are absent, or the area is unknown.
        LabelError: If the labels are.
        ModelFileError: If the model to start from cannot be read.
        OutputError: If TensorBoard is asked for and not installed.
        TrainingError: If the method needs a package that is not installed.
    """
    need_method(settings.method)
    check_parameters(settings.method, settings.parameters)
    if run is not None:
        refuse_filled(run)
    need_tiles(settings.images, settings.labels, settings.aoi, settings.labelled_area)
    if settings.init is not None:
        newest_model(Path(settings.init))
    check_device(settings.device, settings.devices)
    _check_restarts(settings)
    _check_steps(settings)
    _check_method(settings)


def warn_of_unused(settings: RunSettings, *, profile: bool = False) -> None:
    """Warn of settings of optimiser steps where the method makes none.

    Args:
        settings: Of the run; those that are as by default need no warning.
        profile: Whether steps are to be measured.
    """
    if method_class(settings.method).gradient:
        return
    chosen = {name: getattr(settings, name) for name in STEP_SETTINGS}
    words = RunSettings(**chosen).command().split()[2:] + ["--profile"] * profile
    if words:
        log.warning(
            "%s makes no optimiser steps: without effect is %s",
            *(settings.method, " ".join(words)),
        )


def _check_restarts(settings: RunSettings) -> None:
    """Refuse restarts of a method that the matching tiles cannot judge."""
    if settings.restarts > 1 and method_class(settings.method).uses_labels:
        raise ParameterError(
            f"--restarts {settings.restarts} keeps the training that matches the labelled "
            f"tiles best, and {settings.method} learns from them: leave it out"
        )


def _check_steps(settings: RunSettings) -> None:
    """Refuse ways to step that the method does not have."""
    from geoseg.training.limits import check_accumulation

    method = method_class(settings.method)
    method.check_installed()
    if not method.gradient:
        if settings.devices > 1:
            raise ParameterError(
                f"--devices {settings.devices} shares out optimiser steps, and "
                f"{settings.method} makes none: leave it out"
            )
        return
    check_accumulation(method, settings.accumulate)
    limits = limits_of(settings)
    if limits.max_steps is not None or limits.max_epochs is None:
        schedule_of(settings).check(limits.max_steps)
    if settings.tensorboard:
        from geoseg.training.tensorboard import import_summary_writer

        import_summary_writer()


def _check_method(settings: RunSettings) -> None:
    """Refuse parameters that have no meaning, and a start that does not fit them."""
    from geoseg.runs.starting import check_start, initial_card, parameters_of

    check_start(settings)
    # Any bands will do.
    parameters = parameters_of(settings, ("red",) * 3, initial_card(settings))
    outline_method(settings, 3, parameters)
