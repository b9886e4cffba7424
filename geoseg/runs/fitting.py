"""Train a method by the settings of a run: limits, schedule, devices.

Torch is imported only inside functions, so that settings can be checked without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import ParameterError
from geoseg.methods import build_method, method_class
from geoseg.runs.settings import RunSettings

if TYPE_CHECKING:
    from geoseg.geo.patches.dataset import PatchLoader
    from geoseg.methods.bases.method import Method
    from geoseg.training.limits import FitResult, Limits
    from geoseg.training.schedules import Schedule

#: Steps of a training without a given limit.
DEFAULT_STEPS = 600


def check_device(device: str, devices: int = 1) -> None:
    """Raise if devices do not exist.

    Raises:
        ParameterError: If there are no, or too few, devices of that name.
    """
    if device == "cpu":
        return
    if device != "cuda":
        raise ParameterError(f"the device is {device!r}, expected cpu or cuda")
    import torch

    if not torch.cuda.is_available():
        raise ParameterError(
            "there is no device 'cuda' here: choose --device cpu, or install the "
            "driver and a torch that was built for it"
        )
    count = torch.cuda.device_count()
    if devices > count:
        raise ParameterError(
            f"--devices is {devices}, but there are {count} CUDA devices here: choose "
            "at most that many"
        )


def outline_method(
    name: str, channels: int, parameters: Mapping[str, Any], *, patch_size: int
) -> "Method":
    """Build a method without weights, for patches of a size.

    Raises:
        ParameterError: If a parameter is wrong, or the patches do not fit the network.
    """
    import torch

    with torch.device("meta"):
        method = build_method(name, channels, parameters)
    if method.gradient and patch_size % method.divisor:
        raise ParameterError(
            f"patches have {patch_size} pixels a side, expected a multiple of "
            f"{method.divisor} for {name}: choose --patch-size accordingly"
        )
    return method


def check_schedule(settings: RunSettings, steps_per_epoch: int) -> None:
    """Raise if the schedule does not fit the number of steps.

    Args:
        settings: Of the run.
        steps_per_epoch: Optimiser steps in a pass over the patches.

    Raises:
        ParameterError: If all steps are warm-up.
    """
    if method_class(settings.method).gradient:
        schedule_of(settings).check(limits_of(settings).steps(steps_per_epoch))


def schedule_of(settings: RunSettings) -> "Schedule":
    """Return the schedule of the learning rate."""
    from geoseg.training.schedules import Schedule

    return Schedule(settings.lr_schedule, settings.warmup_steps)


def limits_of(settings: RunSettings) -> "Limits":
    """Return the limits of the training, by default :data:`DEFAULT_STEPS`."""
    from geoseg.training.limits import Limits

    limits = Limits(max_steps=settings.max_steps, max_epochs=settings.max_epochs)
    if settings.max_seconds is not None:
        limits = replace(limits, max_time=timedelta(seconds=settings.max_seconds))
    return Limits(max_steps=DEFAULT_STEPS) if limits == Limits() else limits


def train_method(
    settings: RunSettings,
    method: "Method",
    loader: "PatchLoader",
    loaders: "Callable[[int, int], PatchLoader]",
    *,
    run: Path,
    resume: bool,
    profile: bool = False,
) -> "FitResult":
    """Train a method by the settings, on one device or several.

    Args:
        settings: Of the run.
        method: Trained in place, and left on the CPU.
        loader: Of all patches, for one device.
        loaders: Returns the loader of a rank in a group of devices.
        run: The run's folder.
        resume: Continue from its checkpoint.
        profile: Measure some steps.

    Raises:
        GeosegError: As :func:`geoseg.training.fit` and ``fit_on_devices``.
    """
    from geoseg.training.engine import fit
    from geoseg.training.processes import fit_on_devices

    if settings.devices == 1:
        train = partial(fit, method, loader)
    else:
        train = partial(fit_on_devices, method, loaders, devices=settings.devices)
    result: FitResult = train(
        run=run,
        limits=limits_of(settings),
        seed=settings.seed,
        resume=resume,
        accelerator=settings.device,
        precision=settings.precision,
        accumulate=settings.accumulate,
        schedule=schedule_of(settings),
        checkpoint_steps=settings.checkpoint_steps,
        stop_on_collapse=settings.stop_on_collapse,
        tensorboard=settings.tensorboard,
        profile=profile,
    )
    method.cpu()
    return result
