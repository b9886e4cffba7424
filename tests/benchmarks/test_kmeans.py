"""The k-means benchmark at a small size: same starts lead to the same inertia."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

import geoseg

ROOT = Path(geoseg.__file__).parents[1]
pytest.importorskip("faiss", reason="pip install -e .[benchmarks]")
pytest.importorskip("sklearn", reason="pip install -e .[benchmarks]")


@pytest.fixture(scope="module")
def benchmark():
    threads = torch.get_num_threads()
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("kmeans")
    sys.path.remove(str(ROOT / "benchmarks"))
    torch.set_num_threads(threads)


def test_geoseg_and_faiss_come_to_the_same_inertia_from_the_same_start(benchmark):
    vectors = benchmark.unit_mixture(4000, 16, components=12)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4000))
    start = vectors[:6]
    runs = [
        benchmark.timed(cluster, vectors, start, 12)
        for cluster in (benchmark.ours, benchmark.with_faiss)
    ]
    assert runs[0].inertia == pytest.approx(runs[1].inertia, rel=1e-3)
    assert runs[0].inertia < benchmark.total_inertia(vectors, start)


def test_the_table_has_a_row_for_each_library_and_number_of_clusters(benchmark, capsys):
    sizes = ["--vectors", "3000", "--dimensions", "8", "--clusters", "3", "5"]
    benchmark.main([*sizes, "--iterations", "2", "4", "--threads", "1"])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    found = [(row[1].strip(), row[2].strip()) for row in rows[4:]]
    libraries = ["geoseg", "faiss", "scikit-learn"]
    assert found == [(k, name) for k in ("3", "5") for name in libraries]
