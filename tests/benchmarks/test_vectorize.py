"""The benchmark of footprints against GDAL has both find the same objects."""

import importlib.util
from pathlib import Path

import numpy as np

PATH = Path(__file__).parents[2] / "benchmarks" / "vectorize.py"
SPEC = importlib.util.spec_from_file_location("benchmark_vectorize", PATH)
assert SPEC is not None and SPEC.loader is not None
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def test_a_cell_holds_an_object_away_from_its_edge() -> None:
    drawn = benchmark.draw_cells(np.random.default_rng(0), 50, 0.5)
    cells = drawn.reshape(benchmark.CELL, 50, benchmark.CELL).transpose(1, 0, 2)
    assert cells.any(axis=(1, 2)).all()
    assert not cells[:, [0, -1]].any() and not cells[:, :, [0, -1]].any()


def test_both_find_every_object(tmp_path: Path) -> None:
    path = tmp_path / "classes.tif"
    benchmark.make_raster(path, 400, 0.0)
    assert benchmark.run_geoseg(path, None) == 100
    assert benchmark.run_gdal(path, None) == 100
    assert benchmark.run_geoseg(path, tmp_path / "a.fgb") == 100
    assert benchmark.run_gdal(path, tmp_path / "b.fgb") == 100
