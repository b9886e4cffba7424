"""Train on several devices, in one process per device.

The calling process leads: it spawns the others, sends them the method and the arguments
of :func:`geoseg.training.engine.fit`, passes on their log, waits, and takes the trained
weights from the first. If one process ends, all end.
"""

import io
import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from geoseg.core.errors import GeosegError, TrainingError
from geoseg.core.patches import EpochLoader
from geoseg.methods.bases.method import Method
from geoseg.training.callbacks import StopSignals
from geoseg.training.engine import finish, fit
from geoseg.training.group import ProcessGroup
from geoseg.training.limits import FitResult, Limits
from geoseg.training.spawned import end_with_leader

log = logging.getLogger(__name__)

#: Seconds to wait for further errors after a failure.
AFTERMATH_SECONDS = 3.0

#: Returns the loader of a rank in a group of a size; must be picklable.
Loaders = Callable[[int, int], EpochLoader]


def fit_on_devices(
    method: Method,
    loaders: Loaders,
    *,
    devices: int,
    run: Path,
    accelerator: str = "cpu",
    **options: Any,
) -> FitResult:
    """Train a method on several devices together, in one process per device.

    On CUDA each process has a GPU of its own; on the CPU, one thread. Gradients are
    averaged over the processes; a loss over the whole batch sums its statistics over
    them itself. Ctrl-C and SIGTERM end all after the same step. Scripts that call this
    need ``if __name__ == "__main__":``, because it spawns.

    Args:
        method: Trained in place.
        loaders: Called in each process; returns the loader of its share of patches.
        devices: Number of processes, at least 2.
        run: As :func:`fit`.
        accelerator: ``cpu`` or ``cuda``.
        **options: All other arguments of :func:`fit`, picklable.

    Raises:
        GeosegError: As :func:`fit`, from any process.
        TrainingError: If a process dies, or fails with another error.
    """
    # Plain bytes, because multiprocessing would share one set of weights.
    options |= {"run": run, "accelerator": accelerator}
    payload = pickle.dumps((method, loaders, options))
    context = multiprocessing.get_context("spawn")
    # torch would warn about methods that use all heads in their first step
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    workers: list[tuple[BaseProcess, Connection]] = []
    process: BaseProcess
    with tempfile.TemporaryDirectory() as folder, StopSignals() as signals:
        groups = [ProcessGroup(rank, devices, Path(folder)) for rank in range(devices)]
        # a file, because a kill would leave an event of multiprocessing behind
        signals.then = groups[0].stop.touch
        try:
            for group in groups:
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(group, theirs, payload))
                process.start()
                theirs.close()
                workers.append((process, ours))
            result, weights = _lead(workers, run)
        finally:
            for process, connection in workers:
                # A kill cannot damage files: they are written aside and renamed.
                process.kill()
                process.join()
                connection.close()
    state = torch.load(io.BytesIO(weights), weights_only=True, map_location="cpu")
    method.load_state_dict(state)
    limits: Limits = options["limits"]
    seconds = limits.seconds - result.seconds
    finish(method, loaders(0, 1), result.steps, seconds=seconds)
    return replace(result, signal=signals.received)


def _lead(
    workers: list[tuple[BaseProcess, Connection]], run: Path
) -> tuple[FitResult, bytes]:
    """Receive messages until all processes end; return the first one's result."""
    open_ = {connection: rank for rank, (_, connection) in enumerate(workers)}
    results: dict[int, tuple[FitResult, bytes]] = {}
    failures: dict[int, TrainingError] = {}
    # An unexpected failure may follow from the end of another process, whose error is
    # the one to report: so wait a little longer.
    while ready := wait(list(open_), AFTERMATH_SECONDS if failures else None):
        for connection in ready:
            assert isinstance(connection, Connection)
            rank = open_[connection]
            try:
                kind, content = pickle.loads(connection.recv_bytes())
            except (EOFError, ConnectionError):
                if rank not in results and rank not in failures:
                    raise _death(workers[rank][0], rank, run) from None
                del open_[connection]
                continue
            if kind == "error":
                raise content
            if kind == "log":
                log.handle(content)
            else:
                (results if kind == "result" else failures)[rank] = content
        if not open_:
            break
    for failure in failures.values():
        raise failure
    return results[0]


def _death(process: BaseProcess, rank: int, run: Path) -> TrainingError:
    process.join(10)
    code = process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return TrainingError(
        f"the process of device {rank} died ({how}), and all others were ended: resume "
        f"with geoseg train --resume {run}"
    )


def _work(group: ProcessGroup, connection: Connection, payload: bytes) -> None:
    """Train as one process of the group; the target of a spawned process."""
    end_with_leader()
    for number in (signal.SIGINT, signal.SIGTERM):  # the leader handles them
        signal.signal(number, signal.SIG_IGN)

    def send(kind: str, content: Any) -> None:
        connection.send_bytes(pickle.dumps((kind, content)))

    _log_through(send)
    try:
        method, loaders, options = pickle.loads(payload)
        _connect(group, options["accelerator"])
        result = fit(method, loaders(group.rank, group.size), group=group, **options)
        weights = io.BytesIO()
        if group.rank == 0:
            torch.save(method.state_dict(), weights)
        send("result", (result, weights.getvalue()))
        dist.barrier()  # no process leaves while another may still need it
        dist.destroy_process_group()
    except GeosegError as error:
        send("error", error)
    except Exception as error:
        log.debug("%s", traceback.format_exc())
        message = " ".join(str(error).split())
        send(
            "failure",
            TrainingError(
                f"device {group.rank} failed with {type(error).__name__}: {message}; "
                "geoseg -v train says more"
            ),
        )


def _connect(group: ProcessGroup, accelerator: str) -> None:
    """Connect to the group through a file, which needs no port or host name."""
    torch.set_num_threads(1)
    cuda = accelerator == "cuda"
    if cuda:
        torch.cuda.set_device(group.rank)
    dist.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=group.meeting,
        rank=group.rank,
        world_size=group.size,
    )


def _log_through(send: Callable[[str, Any], None]) -> None:
    """Send this process's log records to the leader, which applies the log level."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg, record.args = record.getMessage(), None
            record.exc_info = None
            send("log", record)

    logger = logging.getLogger("geoseg")
    logger.handlers[:] = [Handler()]
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
