"""Training on several devices: a process for each, led by the one that calls.

The leader sends the method and the arguments of :func:`geoseg.training.engine.fit` to
processes that it spawns, hands on their log, waits, and takes the trained weights from
the first. Whatever ends one of them ends all.
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
from geoseg.training.group import Group
from geoseg.training.limits import FitResult, Limits
from geoseg.training.spawned import end_with_leader

log = logging.getLogger(__name__)

#: How long to listen for the cause of a failure.
AFTERMATH_SECONDS = 3.0

#: Gives the loader of a rank in a group of some size; must be picklable.
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
    """Train a method in a process for each device, as one training.

    On CUDA each process has a GPU of its own; on the CPU, one thread. The gradients are
    averaged over the processes; a loss that couples the batch reduces its statistics
    over them by itself. Ctrl-C and SIGTERM end all after the same step.

    Scripts that call this need ``if __name__ == "__main__":``, as all that spawn.

    Args:
        method: Trained in place.
        loaders: Called in each process for its share of the patches.
        devices: Number of processes, at least 2.
        run: As :func:`fit`.
        accelerator: ``cpu`` or ``cuda``.
        **options: All others of :func:`fit`, picklable.

    Raises:
        GeosegError: As :func:`fit`, from whatever process.
        TrainingError: If a process dies, or fails with another error.
    """
    # Plain bytes: multiprocessing would let all processes share one set of weights.
    options |= {"run": run, "accelerator": accelerator}
    payload = pickle.dumps((method, loaders, options))
    context = multiprocessing.get_context("spawn")
    # torch would warn of methods that happen to use all heads in their first step
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    workers: list[tuple[BaseProcess, Connection]] = []
    process: BaseProcess
    with tempfile.TemporaryDirectory() as folder, StopSignals() as signals:
        groups = [Group(rank, devices, Path(folder)) for rank in range(devices)]
        # a file and not an event of multiprocessing, which a kill would leave behind
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
                # A process keeps nothing that a kill could break: files are renamed.
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
    """Hear all processes to their end; return what the first one made."""
    open_ = {connection: rank for rank, (_, connection) in enumerate(workers)}
    results: dict[int, tuple[FitResult, bytes]] = {}
    failures: dict[int, TrainingError] = {}
    # An unforeseen failure may only follow from the end of another process, which is
    # what to report: so listen a little longer.
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
        f"the process of device {rank} died ({how}), and all others with it: go on with "
        f"geoseg train --resume {run}"
    )


def _work(group: Group, connection: Connection, payload: bytes) -> None:
    """Train as one of the group; the body of a spawned process."""
    end_with_leader()
    for number in (signal.SIGINT, signal.SIGTERM):  # the leader's affair
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
        dist.barrier()  # none leaves while another may still need it
        dist.destroy_process_group()
    except GeosegError as error:
        send("error", error)
    except Exception as error:
        log.debug("%s", traceback.format_exc())
        said = " ".join(str(error).split())
        send(
            "failure",
            TrainingError(
                f"device {group.rank} failed with {type(error).__name__}: {said}; "
                "geoseg -v train says more"
            ),
        )


def _connect(group: Group, accelerator: str) -> None:
    """Join the group through a file, which needs no port and no name of the machine."""
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
    """Let the leader log what this process says; it knows how much is wanted."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg, record.args = record.getMessage(), None
            record.exc_info = None
            send("log", record)

    logger = logging.getLogger("geoseg")
    logger.handlers[:] = [Handler()]
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
