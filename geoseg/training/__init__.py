"""Training of any method through Lightning, resumable bit for bit.

The rest of geoseg sees :func:`fit`, which trains here, and :func:`fit_on_devices`, which
trains in a process for each device.
"""

from geoseg.run_files import AREAS_NAME, CHECKPOINT_NAME, METRICS_NAME
from geoseg.training.engine import (
    TENSORBOARD_NAME,
    TRACE_NAME,
    Precision,
    check_accumulation,
    fit,
)
from geoseg.training.limits import EpochLoader, FitResult, Limits
from geoseg.training.processes import fit_on_devices
from geoseg.training.schedules import Schedule, ScheduleName

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
