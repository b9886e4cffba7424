"""Training of any method through Lightning, resumable bit for bit.

The rest of geoseg sees :func:`fit`, which trains here, and :func:`fit_on_devices`, which
trains in a process for each device. Those two import Lightning, which takes seconds, when
they are asked for; what a training is told and what comes out of it do not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoseg.patches import EpochLoader
from geoseg.run_files import (
    AREAS_NAME,
    CHECKPOINT_NAME,
    METRICS_NAME,
    TENSORBOARD_NAME,
    TRACE_NAME,
)
from geoseg.training.limits import (
    FitResult,
    Limits,
    Precision,
    check_accumulation,
)
from geoseg.training.schedules import Schedule, ScheduleName

if TYPE_CHECKING:
    from geoseg.training.engine import fit
    from geoseg.training.processes import fit_on_devices

__all__ = [
    "AREAS_NAME",
    "CHECKPOINT_NAME",
    "METRICS_NAME",
    "TENSORBOARD_NAME",
    "TRACE_NAME",
    "EpochLoader",
    "FitResult",
    "Limits",
    "Precision",
    "Schedule",
    "ScheduleName",
    "check_accumulation",
    "fit",
    "fit_on_devices",
]

_HOMES = {"fit": "engine", "fit_on_devices": "processes"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
