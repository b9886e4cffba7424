"""Prediction of blocks by the workers of a local or running Dask cluster.

Descriptions of images are sent, not pixels: workers read the images and the model, and
write blocks into the folder of the map's parts, which all workers must share. A block is
written whole or not at all and does not depend on the worker. So a worker may die at any
moment, and a block may be computed twice.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from geoseg.core.errors import BlockError, ModelFileError, OutputError, ParameterError
from geoseg.core.progress import bar
from geoseg.core.words import counted
from geoseg.geo.predict.blocks import Block
from geoseg.geo.predict.head_views import ClassView
from geoseg.geo.predict.identity import model_digest
from geoseg.geo.predict.journal import Journal
from geoseg.geo.predict.predictor import predict_rows
from geoseg.geo.predict.stitching import lay_windows
from geoseg.geo.rasters.description import RasterDescription
from geoseg.model.file import Model, load_model, save_model
from geoseg.model.inference import Inference

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

#: Most retries of a failed block, on any worker.
RETRIES = 3
#: Timeout of the scheduler's answer in seconds.
_ANSWER_S = 20
#: Longest delay, in seconds, until a network file system shows a worker's file.
_SHOWN_S = 30
_MODEL = "model.safetensors"


@dataclass(frozen=True)
class Prediction:
    """Settings of a map for the workers.

    Attributes:
        parts: journal of the blocks.
        model: digest of the model, which is stored beside the blocks.
        clusters: whether to predict the clusters too.
        device: device of the network.
        threads: threads of the network.
        inference: precision and compilation of the network.
        window: side of a window, pixels.
        overlap: least overlap of neighbouring windows, pixels.
        batch_size: windows per call of the network.
    """

    parts: Journal
    model: str
    clusters: bool
    device: str
    threads: int
    inference: Inference
    window: int
    overlap: int
    batch_size: int


@dataclass(frozen=True)
class _Task:
    prediction: Prediction
    block: Block
    grid: RasterDescription


@contextmanager
def connected(
    workers: int | None, scheduler: str | None, *, threads: int
) -> Iterator["Client"]:
    """Start a cluster of local processes, or connect to a running one.

    Args:
        workers: number of processes to start; they end with the ``with`` block.
        scheduler: address of a running scheduler; None: start processes.
        threads: threads of each started process.

    Raises:
        ParameterError: If Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ParameterError(
            "--workers and --scheduler need Dask, which is not installed: "
            "pip install 'geoseg[distributed]'"
        ) from error
    if scheduler is None:
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                env={**limits, "OMP_WAIT_POLICY": "PASSIVE"},
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=_ANSWER_S)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {scheduler} ({error}), expected an address "
            "such as tcp://host:8786: check it and the network"
        ) from error
    with client:
        if not client.scheduler_info(n_workers=1)["workers"]:
            log.warning("the scheduler at %s has no worker yet: waiting", scheduler)
        yield client


@contextmanager
def predicting(
    client: "Client",
    prediction: Prediction,
    model: Model,
    blocks: Mapping[Block, RasterDescription],
) -> Iterator[Iterator[Block]]:
    """Submit all missing blocks to a cluster; a bar counts the finished ones.

    Args:
        client: client of the cluster.
        prediction: settings of the map.
        model: model of the map.
        blocks: blocks and their images, in the order in which they are needed.

    Yields:
        The blocks in their order, each as soon as it is finished. If one has failed, the
        iterator waits for all others and raises BlockError.
    """
    parts = prediction.parts
    save_model(parts.folder / _MODEL, model)
    missing = [block for block in blocks if not parts.has(block)]
    placed = replace(parts, folder=parts.folder.absolute())
    everywhere = replace(prediction, parts=placed)
    tasks = [
        _Task(everywhere, block, _from_anywhere(blocks[block])) for block in missing
    ]
    with bar("predicting", len(blocks), unit="block") as advance:
        advance(len(blocks) - len(missing))
        submitted = client.map(_predict_block, tasks, retries=RETRIES, pure=False)
        futures = dict(zip(missing, submitted, strict=True))
        for future in submitted:
            future.add_done_callback(lambda _: advance())
        try:
            yield _finished(blocks, futures, parts)
        finally:
            client.cancel(submitted)


def _finished(
    blocks: Mapping[Block, RasterDescription],
    futures: Mapping[Block, "Future[None]"],
    parts: Journal,
) -> Iterator[Block]:
    """Yield the blocks in their order, and wait for those that workers compute."""
    for block in blocks:
        if block in futures:
            if futures[block].exception() is not None:
                raise _failures(futures, blocks)
            _wait_for_file(parts, block)
        yield block


def predict_block(
    prediction: Prediction, block: Block, grid: RasterDescription
) -> None:
    """Predict a block and write it, unless it exists.

    Args:
        prediction: settings of the map.
        block: block of an image.
        grid: the image.

    Raises:
        OutputError: If the folder of the blocks is absent or cannot be written.
        ModelFileError: If the folder holds another model.
        RasterError: If the image cannot be read.
    """
    torch.set_num_threads(prediction.threads)
    parts = prediction.parts
    if not parts.folder.is_dir():
        raise OutputError(
            f"worker {socket.gethostname()} does not see {parts.folder}: put the output "
            "where all workers can write, on a shared file system"
        )
    if parts.has(block) and parts.read(block) is not None:
        return
    model = _load(parts.folder / _MODEL, prediction.model, prediction.device)
    model = model.with_inference(prediction.inference)
    tiling = lay_windows(
        grid.height, grid.width, window=prediction.window, overlap=prediction.overlap
    )
    rows = predict_rows(
        ClassView([model], [model.card.head]) if prediction.clusters else model,
        grid,
        tiling,
        batch_size=prediction.batch_size,
        rows=block.rows,
    )
    parts.write(block, list(rows))


def _predict_block(task: _Task) -> None:
    predict_block(task.prediction, task.block, task.grid)


@lru_cache(maxsize=1)
def _load(path: Path, digest: str, device: str) -> Model:
    """Load a model, once per process and digest.

    Raises:
        ModelFileError: If the file holds another model.
    """
    model = load_model(path)
    if model_digest(model) != digest:
        raise ModelFileError(
            f"{path} is not the model of this map, expected {digest[:16]}…: give "
            "--overwrite to start anew"
        )
    return model if device == "cpu" else model.to(device)


def _from_anywhere(grid: RasterDescription) -> RasterDescription:
    """Return a description with the absolute path of a local image."""
    path = grid.path
    return replace(grid, path=os.path.abspath(path)) if os.path.exists(path) else grid


def _wait_for_file(parts: Journal, block: Block) -> None:
    deadline = time.monotonic() + _SHOWN_S
    while not parts.has(block):
        if time.monotonic() > deadline:
            raise BlockError(
                f"workers have written block {block.number}, but {parts.folder} does "
                "not hold it: put the output on a file system that all workers share"
            )
        time.sleep(0.1)


def _failures(
    futures: Mapping[Block, "Future[None]"], blocks: Mapping[Block, RasterDescription]
) -> BlockError:
    """Wait for all blocks, which a later run can use; return the failed ones' error."""
    failed: dict[str, list[int]] = {}
    reasons: dict[str, Any] = {}
    for block, future in futures.items():
        error = future.exception()
        if error is not None:
            path = blocks[block].path
            failed.setdefault(path, []).append(block.number)
            reasons.setdefault(path, error)
    messages = [
        f"{'blocks' if len(numbers) > 1 else 'block'} "
        f"{', '.join(map(str, numbers))} of {path} failed "
        f"{counted(RETRIES + 1, 'time')}: {reasons[path]}"
        for path, numbers in failed.items()
    ]
    return BlockError("; ".join(messages))
