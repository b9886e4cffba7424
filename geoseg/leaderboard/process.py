"""Carry out each run in its own process, with its own memory and threads."""

import logging
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from geoseg.core.aside import open_in_place
from geoseg.core.errors import GeosegError, TrainingError
from geoseg.core.words import PlainFormatter
from geoseg.leaderboard.trial import Order, carry_out
from geoseg.training.spawned import end_with_leader

#: Seconds for a stopped run to end its step and save its state.
GRACE_SECONDS = 120


def run_apart(order: Order, log_path: Path) -> None:
    """Carry out a run in a process of its own, which ends with this one.

    Scripts that call this need ``if __name__ == "__main__":``, because it spawns.

    Args:
        order: The run.
        log_path: File to which its log is appended.

    Raises:
        TrainingError: If it fails, with its message.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(order, log_path, theirs))
    process.start()
    theirs.close()
    try:
        try:
            message: str = ours.recv()
        except EOFError:
            process.join()
            raise TrainingError(_death(process.exitcode, log_path)) from None
        process.join()
        if message:
            raise TrainingError(message)
    finally:
        # SIGTERM: the training saves its state after the current step.
        process.terminate()
        process.join(GRACE_SECONDS)
        process.kill()
        process.join()
        ours.close()


def _death(code: int | None, log_path: Path) -> str:
    how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    return f"its process died ({how}); see its log {log_path}"


def _work(order: Order, log_path: Path, connection: Connection) -> None:
    """Carry out the run; the target of a spawned process."""
    end_with_leader()
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C goes only to the leader, which passes it on
    with open_in_place(log_path, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    logger = logging.getLogger("geoseg")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        carry_out(order)
    except GeosegError as error:
        logger.error("%s", error)
        connection.send(str(error))
    except Exception as error:
        logger.exception("%s", error)
        message = " ".join(str(error).split())
        connection.send(f"{type(error).__name__}: {message}; see {log_path}")
    else:
        connection.send("")
