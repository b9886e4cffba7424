"""The comparison with other tools: those at hand run, those that are not are named."""

import importlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from shapely import MultiPolygon, Polygon, box

import geoseg

BENCHMARKS = Path(geoseg.__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def peers():
    """The script as a module, beside the one whose masks it takes."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("peers")
    sys.path.remove(str(BENCHMARKS))


def absent(name: str) -> ModuleSpec | None:
    return None


def test_peers_that_are_not_installed_are_named(peers, capsys, monkeypatch) -> None:
    monkeypatch.setattr(peers, "find_spec", absent)
    peers.main(["--tiles", "1", "--noise", "none"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "geoai is not installed: pip install geoai-py"
    assert lines[1].startswith("buildingregulariser is not installed")
    assert [line.split("|")[2].strip() for line in lines[4:]] == [
        "geoseg, pixels",
        "geoseg, simplified",
        "geoseg, regular",
        "geoseg, split",
        "geoseg, regular, split",
    ]


def test_peers_get_metres_that_lie_where_the_pixels_do(peers) -> None:
    options = peers.options_of("masks").parse_args(["--tiles", "1", "--noise", "none"])
    ((_, (case,)),) = peers.read_cases(options)
    affine = peers.metric_affine(case)
    corner = np.array([(0.0, 0.0)])
    found = peers.through(np.array([box(0, 0, 1, 1)], dtype=object), affine)[0]
    exact = peers.ground(case.grid)(corner)[0]
    assert found.distance(box(*exact, *exact).centroid) < 0.01
    assert found.area == pytest.approx(peers.gsd(affine) ** 2)


def test_broken_and_overlapping_polygons_are_counted(peers) -> None:
    from footprints import Case, judge

    options = peers.options_of("masks").parse_args(["--tiles", "1", "--noise", "none"])
    ((_, (case,)),) = peers.read_cases(options)
    truth = [box(0, 0, 20, 20), box(40, 0, 60, 20)]
    bow = Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])
    two = MultiPolygon([box(40, 0, 60, 20), box(70, 0, 72, 2)])
    drawn = [bow, two, box(41, 1, 61, 21), box(60, 30, 80, 50), box(80, 30, 90, 50)]
    found = judge(Case(case.grid, case.strip, truth), lambda _: drawn)
    assert (found.polygons, found.invalid, found.overlaps) == (5, 2, 1)
    # The bow tie's larger part is a quarter of its square: no match.
    assert found.counts == (1, 4, 1)


def test_tools_are_compared_on_what_all_of_them_found(peers) -> None:
    from footprints import Case, judge

    options = peers.options_of("masks").parse_args(["--tiles", "1", "--noise", "none"])
    ((_, (case,)),) = peers.read_cases(options)
    truth = [box(0, 0, 20, 20), box(40, 0, 60, 20), box(40, 40, 60, 60)]
    case = Case(case.grid, case.strip, truth)
    close = [box(40, 0, 60, 19), box(0, 0, 20, 20)]
    rough = [box(40, 40, 60, 60), box(40, 0, 60, 16), box(0, 0, 20, 20)]
    found = {"close": [judge(case, lambda _: close)]}
    found["rough"] = [judge(case, lambda _: rough)]
    ious = peers.shared_ious(found)
    assert ious["close"] == pytest.approx([1, 0.95])
    assert ious["rough"] == pytest.approx([1, 0.8])
    columns = peers.paired_columns(ious["close"], ious["rough"])
    assert columns == " 2 | 0.9000 | -0.0750 [-0.1500, +0.0000] | 0 : 1 |"
    assert peers.paired_columns(ious["rough"], ious["close"]).endswith("| 1 : 0 |")
