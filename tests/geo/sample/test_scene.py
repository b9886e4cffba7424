"""The town as a whole, and the light on it."""

import subprocess
import sys

import numpy as np
import pytest

from geoseg.core.errors import ParameterError
from geoseg.geo.sample.canvas import Canvas
from geoseg.geo.sample.geometry import Box, Frame
from geoseg.geo.sample.materials import BUILDING, MATERIALS, REFLECTANCE, VEGETATION
from geoseg.geo.sample.scene_plan import Crown, ScenePlan, Wing
from geoseg.geo.sample.sensor import cast_shadow
from geoseg.geo.sample.town import build_scene


def _canvas_with_house(material="roof_tan"):
    plan = ScenePlan()
    frame = Frame(3, 5)
    wings = (Wing(20, 20, 60, 44, "gable_u"),)
    rings = (frame.rectangle(20, 20, 60, 44),)
    plan.building(frame, rings, wings, material=material, eave=160, gain=1024)
    return plan, Canvas(Box(0, 0, 80, 80), 1)


def test_the_same_seed_gives_the_same_scene_and_another_another():
    first, again, other = (build_scene(96, 128, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.classes, again.classes)
    assert first.footprints == again.footprints
    assert not np.array_equal(first.image, other.image)


def test_values_are_11_bit_and_zero_only_where_unseen():
    scene = build_scene(200, 256)
    assert scene.image.dtype == np.uint16 and scene.image.shape == (8, 200, 256)
    assert scene.image.max() <= 2047
    assert np.array_equal((scene.image == 0).all(axis=0), scene.classes == 255)
    assert np.array_equal((scene.image == 0).any(axis=0), scene.classes == 255)


def test_a_scene_without_pixels_is_refused():
    with pytest.raises(ParameterError, match="expected positive sides"):
        build_scene(0, 10)


def test_a_pole_throws_its_shadow_away_from_the_sun():
    height = np.zeros((60, 60), dtype=np.int64)
    height[50, 40] = 18 * 26
    dark = cast_shadow(height)
    # towards the sun is 5 right and 12 down in 13, so the shadow goes up and left
    assert dark[50 - 12, 40 - 5] and dark[50 - 24 + 1 :, 40 - 10 + 1 :].any()
    assert not dark[51:].any() and not dark[:, 41:].any()
    assert not dark[: 50 - 25].any()


def test_flat_ground_has_no_shadow():
    assert not cast_shadow(np.full((9, 9), 300, dtype=np.int64)).any()


def test_the_roof_half_that_faces_the_sun_is_brighter():
    plan, canvas = _canvas_with_house()
    canvas.paint(plan)
    north, south = canvas.gain[24:28, 24:56], canvas.gain[37:41, 24:56]
    assert south.min() > north.max()


def test_a_ridge_is_higher_than_the_eaves():
    plan, canvas = _canvas_with_house()
    canvas.paint(plan)
    assert canvas.height[32, 40] > canvas.height[22, 40] >= 160


def test_a_tree_over_a_roof_leaves_the_label_a_building():
    plan, canvas = _canvas_with_house()
    plan.crowns.append(Crown(40, 20, 9, 600, "crown"))
    canvas.paint(plan)
    crown = canvas.material == list(MATERIALS).index("crown")
    assert crown[24, 40] and canvas.class_id[24, 40] == BUILDING
    assert crown[16, 40] and canvas.class_id[16, 40] == VEGETATION


@pytest.mark.parametrize(
    ("on_roof", "on_ground"),
    [
        ("roof_tan", "soil"),
        ("roof_shingle", "old_asphalt"),
        ("roof_dark", "new_asphalt"),
        ("roof_concrete", "concrete"),
    ],
)
def test_some_roofs_have_the_colour_of_the_ground_in_every_band(on_roof, on_ground):
    names = list(MATERIALS)
    roof, ground = (
        REFLECTANCE[names.index(on_roof)],
        REFLECTANCE[names.index(on_ground)],
    )
    # the gain of a roof varies by an eighth, so no band can tell the two apart
    assert (8 * np.abs(roof - ground) <= ground).all()


def test_the_generator_needs_no_gdal():
    code = (
        "import sys, geoseg.geo.sample.town as s; s.build_scene(32, 32); "
        "assert not {'rasterio', 'shapely'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_no_array_of_the_generator_is_floating_point():
    plan, canvas = _canvas_with_house()
    canvas.paint(plan)
    for array in (canvas.gain, canvas.height, canvas.material, REFLECTANCE):
        assert array.dtype.kind in "iu"
