"""What many tests share: tiles of a tiny town, a model that is known untrained."""

import os

# Tests and the processes that they start share few cores with one another; torch reads
# this when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import logging
import signal
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import settings

from geoseg.core.normalization import Normalization
from geoseg.methods import build_method, method_defaults
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.model.matching import Matching, match_clusters
from geoseg.runs import train as runs

sys.path.insert(0, str(Path(__file__).parent))  # for small_runs

# The same examples in every run, however long one takes on a loaded machine.
settings.register_profile("geoseg", derandomize=True, deadline=None)
settings.load_profile("geoseg")
# A shell in the background lets what it starts ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

DARK, BRIGHT = 0.1, 0.9


def pytest_collection_modifyitems(items):
    """Run files with slow tests first, so that no process ends long after the others."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def certain(*classes: int) -> Matching:
    """Match clusters to 0 or 1 as if each had been seen on that class alone."""
    table = torch.zeros((1, len(classes), 2), dtype=torch.long)
    for cluster, class_id in enumerate(classes):
        table[0, cluster, class_id] = 1000
    matching = match_clusters(table, shrinkage=0)
    assert matching.cluster_to_class == classes
    return matching


@pytest.fixture(scope="session")
def bright_model():
    """Return ``make(bands, matched=True, **card)``: bright pixels are buildings.

    Values from 0 to 1000 become 0 to 1; the centroids lie at 0.1 and 0.9.
    """

    def make(bands=("red", "green", "blue"), *, matched=True, **changes) -> Model:
        count = len(bands)
        parameters = {**method_defaults("color_kmeans"), "clusters": 2}
        method = build_method("color_kmeans", count, parameters)
        centroids = torch.tensor([[DARK], [BRIGHT]]).expand(2, count)
        method.get_buffer("centroids").copy_(centroids)
        card = ModelCard(
            method="color_kmeans",
            parameters=parameters,
            normalization=Normalization(
                bands, (0.0,) * count, (1000.0,) * count, (0.5,) * count
            ),
            head="main",
            matchings={"main": certain(0, 1)} if matched else {},
        )
        return Model(method.eval(), card).with_card(**changes)

    return make


class Tiles(NamedTuple):
    """Where the fixture ``town`` keeps its tiles."""

    images: str
    labels: str


#: Row, column, height, width of the one building of tile n, in pixels.
RECTANGLES = tuple((8 + 2 * n, 10 + n, 20, 24 - n) for n in range(6))
TILE = 64


def write_tile(path: Path, number: int) -> tuple[Affine, dict[str, Any]]:
    """Write a dark tile with a bright rectangle; return its affine and footprint."""
    x, y = 664000 + 100 * (number % 3), 4000000 - 100 * (number // 3)
    transform = Affine(0.5, 0, x, 0, -0.5, y)
    noise = np.random.default_rng(number).integers(0, 60, (3, TILE, TILE))
    pixels = (100 + noise).astype(np.uint16)
    row, col, height, width = RECTANGLES[number]
    pixels[:, row : row + height, col : col + width] += 750
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=3,
        height=TILE,
        width=TILE,
        dtype="uint16",
        crs="EPSG:32611",
        transform=transform,
    ) as dataset:
        dataset.write(pixels)
    corners = [(col, row), (col, row + height), (col + width, row + height)]
    corners += [(col + width, row), (col, row)]
    return transform, {
        "type": "Polygon",
        "coordinates": [[list(transform * corner) for corner in corners]],
    }


def write_town(folder: Path) -> Tiles:
    """Write six tiles and their labels."""
    images, labels = folder / "town", folder / "labels"
    images.mkdir()
    labels.mkdir()
    for number in range(len(RECTANGLES)):
        _, polygon = write_tile(images / f"tile{number}.tif", number)
        feature = {"type": "Feature", "properties": {}, "geometry": polygon}
        name = "urn:ogc:def:crs:EPSG::32611"
        collection = {
            "type": "FeatureCollection",
            "crs": {"type": "name", "properties": {"name": name}},
            "features": [feature],
        }
        (labels / f"tile{number}.geojson").write_text(json.dumps(collection))
    return Tiles(str(images), str(labels))


@pytest.fixture(scope="session")
def town(tmp_path_factory) -> Tiles:
    """Six tiles of 64 × 64 pixels (not to be changed): one bright building each."""
    return write_town(tmp_path_factory.mktemp("tiles"))


@pytest.fixture
def own_town(tmp_path) -> Tiles:
    """The same tiles, for tests that change them."""
    folder = tmp_path / "own"
    folder.mkdir()
    return write_town(folder)


@pytest.fixture(scope="module")
def colour_run(town, tmp_path_factory):
    """Return a finished run of colour k-means."""
    from small_runs import settings_of

    return runs.start(settings_of(town), tmp_path_factory.mktemp("colour") / "run")


@pytest.fixture(scope="module")
def iic_run(town, tmp_path_factory):
    """Return a finished run of ``iic``, three steps."""
    from small_runs import SMALL, settings_of

    return runs.start(settings_of(town, SMALL), tmp_path_factory.mktemp("iic") / "run")


@pytest.fixture
def no_pictures(monkeypatch):
    """Save the time that pictures take."""
    monkeypatch.setattr(
        "geoseg.runs.reporting.pictures.draw_panel", lambda *args, **kwargs: None
    )
    monkeypatch.setattr("geoseg.runs.train.curves_figure", lambda *args, **kwargs: None)
    monkeypatch.setattr(
        "geoseg.runs.reporting.gather.write_report_page", lambda *args, **kwargs: None
    )


@pytest.fixture(autouse=True)
def untouched_log():
    """Take back what the command line did to the logger, in other fixtures too."""
    _reset_log()
    yield
    _reset_log()


def _reset_log() -> None:
    logger = logging.getLogger("geoseg")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@dataclass
class Request:
    """What a server was asked, and how many bytes of body it gave."""

    method: str
    path: str
    range: str | None
    sent: int = 0


class S3Server:
    """moto's S3 server on loopback: counts what it sends, cuts and slows on demand.

    Attributes:
        requests: Those answered since the last ``fresh``.
        cuts: Each GET takes one away and ends after so many bytes of body.
        failures: So many next requests are answered with 503.
        pause_s: Waited after every 64 KiB sent.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *args: Any) -> None:
                pass

        self._app = create_backend_app("s3")
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def fresh(self, bucket: str) -> None:
        """Forget everything, then make one bucket that anyone may read."""
        import boto3
        from botocore.config import Config
        from moto.s3.models import s3_backends

        for regions in s3_backends.values():
            for backend in regions.values():
                backend.reset()
        self.requests: list[Request] = []
        self.cuts: deque[int] = deque()
        self.failures = 0
        self.pause_s = 0.0
        self.bucket = bucket
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(request_checksum_calculation="when_required"),
        )
        self.client.create_bucket(Bucket=bucket, ACL="public-read")

    def put(self, key: str, body: bytes | Path, *, public: bool = True) -> None:
        """Store an object."""
        content = body.read_bytes() if isinstance(body, Path) else body
        acl = "public-read" if public else "private"
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content, ACL=acl)

    def gets(self, ending: str) -> list[Request]:
        """Return the requests for bodies of objects whose key ends so."""
        return [
            asked
            for asked in self.requests
            if asked.method == "GET" and asked.path.endswith(ending)
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        asked = environ.get("HTTP_RANGE")
        if self.failures:
            self.failures -= 1
            start_response("503 Slow Down", [("Content-Length", "0")])
            return
        cut = self.cuts.popleft() if method == "GET" and self.cuts else None
        body = b"".join(self._app(environ, start_response))[:cut]
        request = Request(method, path, asked)
        self.requests.append(request)
        for start in range(0, len(body), 2**16):
            request.sent += len(body[start : start + 2**16])
            yield body[start : start + 2**16]
            time.sleep(self.pause_s)


@pytest.fixture(scope="session")
def s3_process():
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_process, monkeypatch) -> S3Server:
    """An S3 server on loopback with an empty public bucket ``spacenet-dataset``."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    s3_process.fresh("spacenet-dataset")
    monkeypatch.setenv("GEOSEG_S3_ENDPOINT", s3_process.url)
    return s3_process
