"""Where the time of a step goes: ``geoseg train --profile``."""

import logging
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.profilers import Profiler
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from geoseg.core.words import counted
from geoseg.training.adapter import Adapter
from geoseg.training.callbacks import StepCallback

log = logging.getLogger(__name__)

#: Steps before the first measured one: caches fill, and libraries choose algorithms.
WARM_STEPS = 3
TIMED_STEPS = 8
TRACED_STEPS = 2
#: One more step counts operations.
PROFILE_STEPS = WARM_STEPS + TIMED_STEPS + 1 + TRACED_STEPS

#: The names that Lightning gives to what is timed, by their last part.
_ACTIONS = {
    "train_dataloader_next": "loading",
    "training_step": "forward",
    "backward": "backward",
    "run_training_batch": "batch",
}


class Stopwatch(Profiler):
    """Adds up the time of Lightning's actions while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.on = False
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._since: dict[str, float] = {}

    def start(self, action_name: str) -> None:
        if self.on and _part(action_name) in _ACTIONS:
            synchronize()
            self._since[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        since = self._since.pop(action_name, None)
        if since is not None:
            synchronize()
            self.seconds[_ACTIONS[_part(action_name)]] += time.perf_counter() - since


def _part(action_name: str) -> str:
    return action_name.rpartition(".")[2]


@dataclass(frozen=True)
class StepCosts:
    """What a step costs on one device.

    Attributes:
        patches: In a step.
        seconds: Of a whole step.
        parts: Name → seconds of ``loading``, ``views``, ``forward``, ``backward`` and
            ``optimiser``; the rest of the step is between them.
        operations: Floating-point operations of convolutions and matrix products.
        rate: Operations per second that a large matrix product reaches here.
        memory: Peak in bytes, of the GPU or of the process.
    """

    patches: int
    seconds: float
    parts: dict[str, float]
    operations: float
    rate: float
    memory: int

    def table(self) -> str:
        """Say it in lines, the last one with the bottleneck."""
        parts = {**self.parts, "rest": self.seconds - sum(self.parts.values())}
        lines = [
            f"a step of {counted(self.patches, 'patch')} takes {1e3 * self.seconds:.1f} ms:"
        ]
        lines += [
            f"  {name:<10}{1e3 * seconds:9.1f} ms{seconds / self.seconds:7.0%}"
            for name, seconds in parts.items()
        ]
        achieved = self.operations / self.seconds
        lines.append(
            f"  {self.patches / self.seconds:.1f} patches/s; "
            f"{self.operations / 1e9:.2f} GFLOP a step, {achieved / 1e9:.1f} GFLOP/s: "
            f"{achieved / self.rate:.0%} of the {self.rate / 1e9:.0f} GFLOP/s of a matrix "
            f"product here; memory peak {self.memory / 2**30:.2f} GiB"
        )
        return "\n".join([*lines, f"  bottleneck: {self.bottleneck()}"])

    def bottleneck(self) -> str:
        """Name what a faster step would have to shorten first."""
        name = max(self.parts, key=lambda part: self.parts[part])
        if name == "loading":
            return "loading; the network waits: give (more) --loader-workers"
        reached = self.operations / self.rate / self.seconds
        if name in ("forward", "backward") and reached > 0.5:
            return (
                f"{name}; the network keeps the device busy: a smaller width is faster"
            )
        return (
            f"{name}; the device computes below its rate: memory traffic, the loss and "
            f"small layers take the time, {TRACE_HINT}"
        )


TRACE_HINT = "see the trace in chrome://tracing or ui.perfetto.dev"


class StepProfile(StepCallback):
    """Measures some steps after a warm-up, logs a table and writes a Chrome trace.

    The steps train as any other; those measured are slower.

    Args:
        state: Of the training.
        path: Of the trace, ``….json.gz``.
        precision: Lightning's name; the matrix product is measured in it.

    Attributes:
        stopwatch: To be the trainer's profiler.
    """

    def __init__(self, state: Adapter, path: Path, precision: str) -> None:
        super().__init__(state)
        self.stopwatch = Stopwatch()
        self.path = path
        self.dtype = torch.bfloat16 if "bf16" in precision else torch.float32
        self.steps = 0
        self.since = 0.0
        self.seconds = 0.0
        self.counter = FlopCounterMode(display=False)
        self.tracer = profile()
        self.open: list[Any] = []
        # Kineto speaks on standard error, of GPUs that are not there too
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")

    def on_step(self, trainer: L.Trainer) -> None:
        self.steps += 1
        if self.steps == WARM_STEPS:
            synchronize()
            self.stopwatch.on, self.since = True, time.perf_counter()
        elif self.steps == WARM_STEPS + TIMED_STEPS:
            synchronize()
            self.stopwatch.on = False
            self.seconds = (time.perf_counter() - self.since) / TIMED_STEPS
            self._enter(self.counter)
        elif self.steps == WARM_STEPS + TIMED_STEPS + 1:
            self._leave()
            self._enter(self.tracer)
        elif self.steps == PROFILE_STEPS:
            self._leave()
            self._report(trainer)

    def on_train_end(self, trainer: L.Trainer, *args: Any) -> None:
        self._leave()
        if self.steps < PROFILE_STEPS:
            log.warning(
                "the training ended after %s, a profile takes %d: give --max-steps "
                "%d or more",
                *(counted(self.steps, "step"), PROFILE_STEPS, PROFILE_STEPS),
            )

    def on_exception(self, trainer: L.Trainer, *args: Any) -> None:
        self._leave()

    def _enter(self, context: Any) -> None:
        context.__enter__()
        self.open.append(context)

    def _leave(self) -> None:
        while self.open:
            self.open.pop().__exit__(None, None, None)

    def _report(self, trainer: L.Trainer) -> None:
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            # its name says to compress it
            aside = Path(folder) / self.path.name
            self.tracer.export_chrome_trace(str(aside))
            aside.replace(self.path)
        device = trainer.strategy.root_device
        costs = StepCosts(
            self.state.patches,
            self.seconds,
            self._parts(device),
            self.counter.get_total_flops(),
            matrix_rate(device, self.dtype),
            memory_peak(device),
        )
        log.info("%s", costs.table())
        log.info("trace: %s", self.path)

    def _parts(self, device: torch.device) -> dict[str, float]:
        times = {k: v / TIMED_STEPS for k, v in self.stopwatch.seconds.items()}
        traced = {
            event.key: (
                event.device_time_total
                if device.type == "cuda"
                else event.cpu_time_total
            )
            for event in self.tracer.key_averages()
        }
        # the trace slows all down, but it knows which share of the forward they have
        views = times["forward"] * traced.get("views", 0) / traced["forward"]
        return {
            "loading": times["loading"],
            "views": views,
            "forward": times["forward"] - views,
            "backward": times["backward"],
            "optimiser": times["batch"] - times["forward"] - times["backward"],
        }


def synchronize() -> None:
    """Wait for the GPU, where there is one at work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the operations per second of a large matrix product, the best of five."""
    side = 8192 if device.type == "cuda" else 1024
    left, right = torch.ones((2, side, side), device=device, dtype=dtype)
    best = float("inf")
    for _ in range(6):
        since = time.perf_counter()
        left @ right
        synchronize()
        best = min(best, time.perf_counter() - since)
    return 2 * side**3 / best


def memory_peak(device: torch.device) -> int:
    """Return the most bytes held at a time: on the GPU, or by the process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
