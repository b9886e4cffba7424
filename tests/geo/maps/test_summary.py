import pytest

from geoseg.geo.maps.summary import (
    ClassSummary,
    ImageSummary,
    MapSummary,
    describe_areas,
)


def image(path, *classes, valid_m2=1000.0):
    return ImageSummary(path, valid_m2, classes)


def mapped(*images):
    return MapSummary(sum(it.footprints for it in images), images)


def test_several_classes_have_a_share_and_a_count_each():
    classes = [
        ClassSummary("building", 12, 231.0, 35.4),
        ClassSummary("road", 1, 0.2, 12.0),
        ClassSummary("tree", 0, 0.0, 0.0),
    ]
    assert describe_areas(classes, 1000.0) == (
        "of the valid area building 23.1 % (12 footprints, the largest 35 m²), "
        "road <0.1 % (1 footprint, the largest 12 m²), tree 0.0 % (0 footprints)"
    )


def test_classes_add_up_over_images():
    summary = mapped(
        image("a", ClassSummary("building", 2, 100.0, 80.0)),
        image("b", ClassSummary("building", 1, 50.0, 50.0), valid_m2=500.0),
    )
    assert summary.classes == (ClassSummary("building", 3, 150.0, 80.0),)
    assert summary.areas == (
        "building covers 10.0 % of the valid area; the largest footprint has 80 m²"
    )


WHOLE = ClassSummary("building", 1, 700.0, 700.0)
HOUSES = ClassSummary("building", 9, 300.0, 60.0)
WATER = ClassSummary("water", 1, 950.0, 950.0)


@pytest.mark.parametrize(
    ("images", "doubt"),
    [
        ([image("a", HOUSES)], None),
        ([image("a", WHOLE), image("b", HOUSES)], None),
        (
            [image("a", WHOLE), image("b", WHOLE), image("c", HOUSES)],
            "a single footprint covers most of the valid area in 2 of 3 images",
        ),
        # water can cover everything, buildings cannot
        ([image("a", ClassSummary("house", 1, 20.0, 20.0), WATER)], None),
        (
            [image("a", ClassSummary("houses", 9, 820.0, 200.0), WATER)],
            "82.0 % of the valid area is houses",
        ),
        ([image("a", HOUSES, valid_m2=0.0)], None),
    ],
)
def test_only_an_absurd_map_is_doubted(images, doubt):
    assert mapped(*images).doubt == doubt
