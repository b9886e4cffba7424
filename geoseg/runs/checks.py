"""Check settings before heavy modules are imported.

So a wrong setting is reported at once, not after the seconds that rasterio, Lightning
and the inspection of tiles take.
"""

import logging
from pathlib import Path

from geoseg.core.errors import ParameterError
from geoseg.geo.tiles.presence import need_tiles
from geoseg.methods import check_parameters, method_class
from geoseg.methods.codebooks import codebooks_of
from geoseg.methods.presets import need_method
from geoseg.runs.fitting import check_device, limits_of, outline_method, schedule_of
from geoseg.runs.folders import newest_model, refuse_filled
from geoseg.runs.settings import RunSettings

log = logging.getLogger(__name__)

#: Settings that apply only to methods with optimiser steps.
STEP_SETTINGS = (
    *("max_steps", "max_epochs", "max_seconds", "lr_schedule", "warmup_steps"),
    *("accumulate", "checkpoint_steps", "stop_on_collapse", "tensorboard"),
    *("device", "precision"),
)


def check_settings(settings: RunSettings, run: Path | None = None) -> None:
    """Raise if settings are wrong whatever the tiles are; checks without torch first.

    Args:
        settings: Of the run.
        run: The folder of the run, if given.

    Raises:
        ParameterError: If the method, a parameter or a class is unknown, devices are
            absent, the method does not support several devices or accumulation, the
            schedule does not fit the number of steps, a model to start from is missing
            or superfluous, or restarts cannot be compared.
        OutputExistsError: If the folder is not empty.
        DatasetError: If the images are absent, or the AOI is unknown.
        LabelError: If the labels are absent.
        ModelFileError: If the model to start from cannot be read.
        OutputError: If TensorBoard is requested and not installed.
        TrainingError: If the method needs a package that is not installed.
    """
    need_method(settings.method)
    check_parameters(settings.method, settings.parameters)
    codebooks_of(settings.codebooks, method=settings.method, naming=settings.naming)
    if run is not None:
        refuse_filled(run)
    need_tiles(settings.images, settings.labels, settings.aoi, settings.labelled_area)
    if settings.init is not None:
        newest_model(Path(settings.init))
    check_device(settings.device, settings.devices)
    _check_restarts(settings.method, settings.restarts)
    _check_steps(settings)
    _check_method(settings)


def warn_of_unused(settings: RunSettings, *, profile: bool = False) -> None:
    """Warn if settings of optimiser steps are given and the method makes none.

    Args:
        settings: Of the run; default values need no warning.
        profile: Whether ``--profile`` is given.
    """
    if method_class(settings.method).gradient:
        return
    chosen = {name: getattr(settings, name) for name in STEP_SETTINGS}
    words = RunSettings(**chosen).command().split()[2:] + ["--profile"] * profile
    if words:
        log.warning(
            "%s makes no optimiser steps: without effect is %s",
            settings.method,
            " ".join(words),
        )


def _check_restarts(method: str, restarts: int) -> None:
    """Raise if the matching tiles cannot choose among restarts of the method."""
    if restarts > 1 and method_class(method).uses_labels:
        raise ParameterError(
            f"--restarts {restarts} keeps the training that matches the labelled "
            f"tiles best, and {method} learns from them: leave it out"
        )


def _check_steps(settings: RunSettings) -> None:
    """Raise if the method does not support settings of optimiser steps."""
    from geoseg.training.limits import check_accumulation

    method = method_class(settings.method)
    method.check_installed()
    if not method.gradient:
        if settings.devices > 1:
            raise ParameterError(
                f"--devices {settings.devices} is for methods with optimiser steps, and "
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
    """Raise if parameters are unknown or do not fit the model to start from."""
    from geoseg.runs.starting import check_start, initial_card, parameters_of

    check_start(settings)
    # the names of bands do not matter here
    parameters = parameters_of(settings, ("red",) * 3, initial_card(settings.init))
    outline_method(settings.method, 3, parameters, patch_size=settings.patch_size)
