"""The benchmark of footprints measures what it says."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from shapely import box

PATH = Path(__file__).parents[2] / "benchmarks" / "footprints.py"
SPEC = importlib.util.spec_from_file_location("benchmark_footprints", PATH)
assert SPEC is not None and SPEC.loader is not None
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def test_boundary_distance_of_a_square_in_a_square() -> None:
    inner, outer = box(0, 0, 20, 20), box(-1, -1, 21, 21)
    assert benchmark.boundary_distance(inner, outer) == pytest.approx(1, abs=0.02)
    assert benchmark.boundary_distance(inner, inner) == pytest.approx(0, abs=1e-9)


def test_noise_is_the_same_for_the_same_seed_and_of_about_a_pixel() -> None:
    truth = [box(10, 10, 50, 40)]
    clean = benchmark.degrade(truth, (60, 60), "none", 0)
    assert clean.sum() == 1200
    noisy = benchmark.degrade(truth, (60, 60), "jitter", 0)
    assert (noisy == benchmark.degrade(truth, (60, 60), "jitter", 0)).all()
    assert (noisy != benchmark.degrade(truth, (60, 60), "jitter", 1)).any()
    changed = (noisy != clean).sum()
    # About 0.8 pixels (the mean of |N(0, 1)|) along the 140 pixels of the boundary.
    assert 60 < changed < 180
    assert not noisy[np.r_[0:4, 56:60]].any()


def test_one_tile_of_the_sample_gives_a_row_for_every_variant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    benchmark.main(["--tiles", "1", "--noise", "none"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == list(benchmark.VARIANTS)
