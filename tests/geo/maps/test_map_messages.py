"""What a map says of itself, and warns of."""

import io
import logging
import re
import sys

import numpy as np
import pytest
from affine import Affine
from towns import dark_with

from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.model.matching import match_clusters

EAST = Affine(0.5, 0, 664100, 0, -0.5, 4000000)
EXACT = MapOptions(tolerance_m=0.0)


@pytest.mark.parametrize(("trained", "warned"), [(0.5, 0), (0.4, 0), (0.3, 1), (1, 1)])
def test_pixels_of_another_size_are_warned_of(
    write_tiff, bright_model, tmp_path, caplog, trained, warned
):
    image = write_tiff("a.tif", dark_with())
    model = bright_model(gsd_m=trained)
    with caplog.at_level(logging.WARNING, "geoseg"):
        map_buildings(model, [image], tmp_path / "b.gpkg")
    found = [r for r in caplog.records if "pixels of 0.50 m" in r.getMessage()]
    assert len(found) == warned


@pytest.mark.parametrize(("factor", "warnings"), [(1, 0), (9, 1)])
def test_values_unlike_the_trainings_are_warned_of(
    write_tiff, bright_model, tmp_path, caplog, factor, warnings
):
    ramp = np.linspace(10, 990, 64 * 64).reshape(1, 64, 64).repeat(3, axis=0)
    image = write_tiff("a.tif", (factor * ramp).astype(np.uint16))
    map_buildings(bright_model(), [image], tmp_path / "out.geojson", options=EXACT)
    found = [r.getMessage() for r in caplog.records if "lie outside" in r.getMessage()]
    assert len(found) == warnings
    assert all("a.tif: 90 % of the values of band red" in text for text in found)


def test_many_images_unlike_the_trainings_are_one_warning(
    write_tiff, bright_model, tmp_path, caplog
):
    bright = np.full((3, 64, 64), 9000, np.uint16)
    images = [write_tiff(f"{name}.tif", bright) for name in "abc"]
    map_buildings(bright_model(), images, tmp_path / "out.gpkg", options=EXACT)
    (found,) = [
        r.getMessage() for r in caplog.records if "lie outside" in r.getMessage()
    ]
    assert found.startswith("3 of 3 images, ") and "a.tif: 100 % of the" in found


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_map_says_how_much_of_the_valid_area_it_covers(
    write_tiff, bright_model, tmp_path, caplog
):
    pixels = dark_with((20, 30, 15, 24), (50, 5, 2, 2))
    pixels[:, :10] = 9999  # 700 pixels of 4200 without data
    images = [
        write_tiff("a.tif", pixels, nodata=9999),
        write_tiff("b.tif", dark_with((5, 5, 10, 10)), transform=EAST),
    ]
    summary = map_buildings(bright_model(), images, tmp_path / "b.gpkg", options=EXACT)
    first, second = summary.images
    # a quarter of a square metre per pixel; the 4 pixels of 1 m² make no footprint
    assert first.valid_m2 == pytest.approx(3500 / 4, rel=2e-3)
    (building,) = first.classes
    assert building.footprints == first.footprints == 1
    assert building.area_m2 == pytest.approx((15 * 24 + 4) / 4, rel=2e-3)
    assert building.largest_m2 == pytest.approx(15 * 24 / 4, rel=2e-3)
    share = 100 * (15 * 24 + 4 + 100) / (3500 + 4200)
    expected = f"building covers {share:.1f} % of the valid area; "
    assert summary.areas == expected + "the largest footprint has 90 m²"
    assert str(second).startswith("1 footprint: building covers 2.4 % of the valid")
    assert summary.footprints == 2
    assert not warnings_of(caplog)


@pytest.mark.parametrize(
    ("rectangle", "message"),
    [
        ((0, 0, 0, 0), "no building was found: if that is wrong, try geoseg match"),
        (
            (5, 5, 3, 3),
            "all .* smaller than the minimum area: .* a lower --min-area, or",
        ),
        ((0, 0, 60, 60), "85.7 % of the valid area is building: if that is wrong, try"),
        ((0, 0, 60, 40), "a single footprint covers most of the valid area: if that"),
    ],
)
def test_an_absurd_map_is_warned_of_in_one_line(
    write_tiff, bright_model, tmp_path, caplog, rectangle, message
):
    image = write_tiff("a.tif", dark_with(rectangle))
    map_buildings(bright_model(), [image], tmp_path / "b.gpkg", options=EXACT)
    (warning,) = warnings_of(caplog)
    assert re.match(message, warning)


def test_a_head_that_means_no_building_is_said_with_one_that_does(
    write_tiff, bright_model, tmp_path, caplog
):
    building = match_clusters(np.array([[[9, 0], [0, 9]]]), shrinkage=0)
    nothing = match_clusters(np.array([[[9, 1], [9, 1]]]), shrinkage=0)
    model = bright_model(matchings={"main": nothing, "over": building})
    image = write_tiff("a.tif", dark_with((5, 5, 10, 10)))
    map_buildings(model, [image], tmp_path / "b.gpkg", options=EXACT)
    assert warnings_of(caplog) == [
        "no building was found: no cluster of head main means it, try another head "
        "(--head over), or geoseg match with labels near this place"
    ]


@pytest.mark.parametrize(
    ("count", "said"), [(1, "has"), (3, "and 2 other images have")]
)
def test_images_without_data_are_named_in_one_line(
    write_tiff, bright_model, tmp_path, caplog, count, said
):
    empty = np.zeros((3, 60, 70), np.uint16)
    images = [write_tiff(f"{n}.tif", empty, nodata=0) for n in range(count)]
    summary = map_buildings(bright_model(), images, tmp_path / "b.gpkg")
    assert summary.areas == "no pixel is valid"
    *adjoining, warning = warnings_of(caplog)
    assert len(adjoining) == (count > 1)  # the images lie on one place
    assert f"0.tif {said} no valid pixel: nothing was mapped there" in warning


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("level", "seen"), [("INFO", True), ("ERROR", False)])
def test_a_terminal_sees_a_bar_over_the_rows_of_all_images(
    write_tiff, bright_model, tmp_path, monkeypatch, level, seen
):
    images = [
        write_tiff("a.tif", dark_with((5, 5, 10, 10))),
        write_tiff("b.tif", dark_with((5, 5, 10, 10)), transform=EAST),
    ]
    logging.getLogger("geoseg").setLevel(level)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    map_buildings(
        bright_model(), images, tmp_path / "b.gpkg", clusters=tmp_path / "clusters"
    )
    *_, last = terminal.getvalue().split("\r")
    # two images of 60 rows, whose classes and clusters come of one pass
    assert (
        bool(last) == seen and ("mapping: 100%" in last and "120/120" in last) == seen
    )


def test_gaps_of_zeros_are_warned_of(write_tiff, bright_model, tmp_path, caplog):
    pixels = np.full((3, 64, 64), 200, np.uint8)
    pixels[:, :, :16] = 0
    image = write_tiff("gaps.tif", pixels)
    map_buildings(bright_model(), [image], tmp_path / "out.gpkg", options=EXACT)
    (found,) = [text for text in warnings_of(caplog) if "exactly 0" in text]
    assert "gaps.tif: 25 % of the pixels are exactly 0 in all bands and are" in found
    assert found.endswith("gdal_edit -a_nodata 0), or train with --nodata 0")
