"""Maps predicted by processes of a Dask cluster, some of which die."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from pixel_models import map_everything, network_model, random_image, write_image

from geoseg.core.errors import BlockError, ParameterError
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.predict.distributed import connected
from geoseg.geo.predict.unfinished import parts_folder

pytestmark = [
    pytest.mark.slow,
    # sockets and event loops of Dask's own that wait for the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BANDS = ("red", "green", "blue", "nir")
#: 81 windows a row, a block each: 97 blocks.
SMALL = {"window": 32, "overlap": 24, "min_area_m2": 0.0, "batch_size": 2}


@pytest.fixture
def images(tmp_path):
    pixels = np.kron(random_image(40, 33), np.ones((20, 20), np.uint16))
    pixels[:, 200:300] = 0
    return [write_image(tmp_path / "image.tif", pixels)]


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(model, images, folder, **changes):
    return map_everything(model, images, folder, MapOptions(**SMALL | changes))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def after(folder: Path, count: int, act: Callable[[], None]) -> threading.Thread:
    """Start a thread that acts as soon as there are some blocks."""
    parts, deadline = parts_folder(folder / "b.geojson"), time.monotonic() + 200

    def wait() -> None:
        while len(list(parts.glob("*.block"))) < count and time.monotonic() < deadline:
            time.sleep(0.002)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_two_processes_one_of_them_killed_make_the_same_map(
    tmp_path, images, bright_model, one_thread
):
    model = bright_model(BANDS)
    make(model, images, tmp_path / "whole")
    folder, killed = tmp_path / "parts", []

    def kill() -> None:
        workers = [
            process
            for process in psutil.Process().children(recursive=True)
            if "spawn_main" in " ".join(process.cmdline())
        ]
        os.kill(workers[0].pid, signal.SIGKILL)
        killed.append(workers[0].pid)

    killer = after(folder, 5, kill)
    make(model, images, folder, workers=2)
    killer.join()
    assert killed
    assert contents(folder) == contents(tmp_path / "whole")


def test_blocks_that_fail_on_a_running_cluster_are_named_and_the_others_kept(
    tmp_path, images, bright_model, one_thread
):
    model, folder = bright_model(BANDS), tmp_path / "parts"
    make(model, images, tmp_path / "whole")
    with connected(1, None, threads=1) as client:
        address = client.scheduler.address
        whole = Path(images[0]).read_bytes()
        about = os.stat(images[0])

        def write(content: bytes) -> None:
            Path(images[0]).write_bytes(content)
            os.utime(images[0], ns=(about.st_atime_ns, about.st_mtime_ns))

        breaker = after(folder, 5, lambda: write(whole[: len(whole) * 8 // 10]))
        with pytest.raises(BlockError, match=r"blocks .*, 96 of .* failed 4 times: .*"):
            make(model, images, folder, scheduler=address)
        breaker.join()
        kept = len(list(parts_folder(folder / "b.geojson").glob("*.block")))
        assert 5 <= kept < 97
        write(whole)
        make(model, images, folder, scheduler=address)
    assert contents(folder) == contents(tmp_path / "whole")


def test_workers_in_another_folder_find_files_of_relative_names(
    tmp_path, images, bright_model, one_thread, monkeypatch
):
    model, few = bright_model(BANDS), {"window": 128, "overlap": 16}
    with connected(1, None, threads=1) as client:
        monkeypatch.chdir(tmp_path)
        address = client.scheduler.address
        make(model, ["image.tif"], Path("parts"), scheduler=address, **few)
    make(model, images, tmp_path / "whole", **few)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("geoseg.geo.predict.distributed._ANSWER_S", 1)
    with (
        pytest.raises(ParameterError, match="no Dask scheduler answers at tcp://127"),
        connected(None, "tcp://127.0.0.1:9", threads=1),
    ):
        pass


def test_processes_make_the_same_bits_of_a_network(tmp_path, images, one_thread):
    model = network_model()
    large = {"window": 128, "overlap": 32}
    make(model, images, tmp_path / "whole", **large)
    make(model, images, tmp_path / "parts", workers=2, **large)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
