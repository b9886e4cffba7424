"""Colours: one per meaning, far enough apart for everybody."""

import itertools

import numpy as np
import pytest

from geoseg.core.errors import ParameterError
from geoseg.core.palette import MOST_CLASSES, class_colours, cluster_colours, hex_colour


def luminance(colour):
    """Relative luminance by WCAG 2.1."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_a_class_keeps_its_colour_whatever_their_number():
    assert class_colours(MOST_CLASSES)[:3] == class_colours(3)
    assert class_colours(MOST_CLASSES)[:12] == class_colours(12)


def test_as_many_classes_as_a_byte_holds_have_colours_of_their_own():
    colours = class_colours(MOST_CLASSES)
    assert len(set(colours)) == MOST_CLASSES == 255
    assert all(0 <= part <= 255 for colour in colours for part in colour)


def test_building_stands_out_from_the_background_in_lightness_too():
    background, building = map(luminance, class_colours(2))
    assert (background + 0.05) / (building + 0.05) > 3  # WCAG's for graphics


# Vienot, Brettel and Mollon, 1999: a model of dichromats' sight that is not the one
# which the colours were chosen by. Linear RGB.
DICHROMATS = {
    "protanopia": [[0.1124, 0.8876, 0], [0.1124, 0.8876, 0], [0.0040, -0.0040, 1]],
    "deuteranopia": [[0.2928, 0.7072, 0], [0.2928, 0.7072, 0], [-0.0223, 0.0223, 1]],
}


@pytest.mark.parametrize("sight", DICHROMATS)
def test_the_colours_of_sixteen_classes_differ_for_the_colour_blind(sight):
    share = np.array(class_colours(16)) / 255
    seen = np.clip(share**2.2 @ np.array(DICHROMATS[sight]).T, 0, 1) ** (1 / 2.2)
    least = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert least > 0.08  # 20 of 255


@pytest.mark.parametrize("count", [0, 256])
def test_a_number_of_classes_that_no_byte_holds_is_refused(count):
    with pytest.raises(ParameterError, match=f"{count} classes, expected 1 to 255"):
        class_colours(count)


def test_colours_are_written_for_styles():
    assert hex_colour((0, 158, 255)) == "#009eff"


def test_a_cluster_keeps_its_colour_whatever_their_number():
    assert np.array_equal(cluster_colours(24)[:3], cluster_colours(3))


def test_cluster_colours_are_far_apart():
    colours = cluster_colours(24)
    assert colours.min() >= 0 and colours.max() <= 1
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert distances[~np.eye(24, dtype=bool)].min() > 0.05
