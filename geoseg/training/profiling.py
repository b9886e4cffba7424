"""Where the time of a step goes: ``geoseg train --profile``."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch.profilers import PyTorchProfiler
from torch.profiler import profile, schedule

log = logging.getLogger(__name__)

#: Steps before the first measured one: caches fill, and libraries choose algorithms.
WARM_STEPS = 4
TRACED_STEPS = 4
PROFILE_STEPS = WARM_STEPS + TRACED_STEPS
#: Rows of the table, those of most time.
_ROWS = 25


@contextmanager
def profiler(path: Path) -> Iterator[PyTorchProfiler]:
    """Measure some of a training's first steps, log a table and write a Chrome trace.

    The steps train as any other; those measured are slower. Where the training is too
    short to measure, a warning says how long it has to be.

    Args:
        path: Of the trace, ``….json.gz``.

    Yields:
        The profiler of Lightning's trainer.
    """
    # Kineto speaks on standard error, of GPUs that are not there too
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    path.unlink(missing_ok=True)
    measured = PyTorchProfiler(
        schedule=schedule(wait=0, warmup=WARM_STEPS, active=TRACED_STEPS, repeat=1),
        on_trace_ready=lambda trace: _report(trace, path),
        record_module_names=False,  # by hooks, which would stay
    )
    try:
        yield measured
    finally:
        measured.teardown(None)
    if not path.exists():
        log.warning(
            "the training ended before its steps were measured: give --max-steps %d "
            "or more",
            PROFILE_STEPS,
        )


def _report(trace: profile, path: Path) -> None:
    """Write a trace, and say what its steps spent most time on."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        aside = Path(folder) / path.name  # its name says to compress it
        trace.export_chrome_trace(str(aside))
        aside.replace(path)
    where = "device" if torch.cuda.is_available() else "cpu"
    table = trace.key_averages().table(
        sort_by=f"{where}_time_total", row_limit=_ROWS, max_name_column_width=60
    )
    log.info("where the time of some steps went:")
    for line in table.splitlines():  # a message is one line
        log.info("%s", line)
    log.info("trace: %s (see it in chrome://tracing or ui.perfetto.dev)", path)
