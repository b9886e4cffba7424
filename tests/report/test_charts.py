"""Tests of geoseg.report.charts."""

import re

import pytest

from geoseg.core.palette import cluster_colours, css_colour
from geoseg.report.charts import area_chart, interval_bar, line_chart, ticks
from geoseg.report.contents import Areas, Curve


def test_ticks_are_round_and_within_the_range():
    assert ticks(-0.62, 0.03) == [-0.6, -0.4, -0.2, 0.0]
    assert ticks(3, 3) == [3]
    for low, high in ((0.0, 7.0), (0.011, 0.013), (10, 1e6)):
        found = ticks(low, high)
        assert 3 <= len(found) <= 8
        assert all(low <= value <= high for value in found)


def test_a_line_runs_from_left_to_right_and_up_where_values_rise():
    curve = Curve("score", list(range(20)), [n / 20 for n in range(20)])
    text = line_chart([curve], title="t", x_label="x")
    path = re.findall(r'd="M([^"]*)" class="line"', text)[0]
    points = [tuple(map(float, pair.split())) for pair in path.split("L")]
    xs, ys = zip(*points, strict=True)
    assert len(points) == 20
    assert list(xs) == sorted(xs) and list(ys) == sorted(ys, reverse=True)


def test_a_logarithmic_axis_puts_equal_ratios_at_equal_distances():
    curve = Curve("k", [3, 6, 12], [0.1, 0.2, 0.3])
    text = line_chart([curve], title="t", x_label="K", log_x=True)
    first, second, third = map(float, re.findall(r'cx="([\d.]+)"', text))
    assert second - first == pytest.approx(third - second, abs=0.02)


def test_points_at_one_place_stand_side_by_side():
    curves = [Curve(str(n), [24.0], [0.5], line=False) for n in range(3)]
    places = re.findall(r'cx="([\d.]+)"', line_chart(curves, title="t", x_label="K"))
    assert len(set(places)) == 3


def test_long_logs_are_thinned_and_gaps_do_not_break_a_line():
    values = [float("nan") if n == 500 else 0.5 for n in range(5000)]
    text = line_chart([Curve("x", list(range(5000)), values)], title="t", x_label="x")
    assert len(text) < 20_000
    assert "nan" not in text


def test_areas_are_stacked_in_the_colours_of_the_clusters():
    areas = Areas("over", [1.0, 2.0], [[0.25, 0.75], [0.5, 0.5]])
    text = area_chart(areas)
    colours = [css_colour(colour) for colour in cluster_colours(2)]
    assert re.findall(r'fill="(#\w+)"', text) == colours


def test_an_interval_that_is_not_known_is_not_drawn():
    assert 'class="line"' in interval_bar(0.5, 0.4, 0.6, "model")
    assert 'class="line"' not in interval_bar(0.5, float("nan"), 0.6, "model")


def test_a_constant_has_one_label_and_axes_have_names():
    curve = Curve("lr", [1, 2, 3], [1e-4] * 3)
    drawn = line_chart([curve], title="t", x_label="step", y_label="IoU")
    assert drawn.count(">1e−4<") == 1 and ">IoU<" in drawn
    assert drawn.count('class="grid"') == 1
