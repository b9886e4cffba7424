"""Classes of labels and what values mean."""

import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.classes import TWO_CLASSES, LabelClasses, footprint_ids, value_key
from geoseg.core.errors import ParameterError


def test_names_alone_stand_for_their_numbers_and_for_themselves():
    classes = LabelClasses.parse("background, building,Road")
    assert classes.names == ("background", "building", "Road")
    found = [classes.id_of(value) for value in (0, 1, 2.0, "2", "road", " ROAD ", 3)]
    assert found == [0, 1, 2, 2, 2, 2, None]
    assert classes.numbers == ((0, 0), (1, 1), (2, 2))


def test_many_values_become_few_classes():
    text = "background=*,building=17,building=house,building=#d63c3c,road=6"
    classes = LabelClasses.parse(text)
    assert classes.names == ("background", "building", "road")
    found = [classes.id_of(v) for v in (17, "House", "#D63C3C", 6, "lake", None)]
    assert found == [1, 1, 1, 2, 0, 0]
    assert (0xD63C3C, 1) in classes.numbers and classes.colours


def test_all_but_zero_is_building_where_no_classes_are_named():
    assert [TWO_CLASSES.id_of(value) for value in (0, 1, 7, "yes")] == [0, 1, 1, 1]
    assert TWO_CLASSES.any_building
    assert not LabelClasses.parse("background,building").any_building


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("building", "1 classes in 'building', expected 2 to 255"),
        (",".join(map(str, range(256))), "256 classes"),
        ("background,,road", "empty name or value"),
        ("background,building=", "empty name or value"),
        ("a,b,a", "'a' is named twice"),
        ("a=1,b=1.0", "value '1' means both 'a' and 'b'"),
        ("a,b=2,c", "value '2' means both 'b' and 'c'"),
        ("road,background", "background is class 1 .* expected it first"),
        ("building=1,road=2", r"write background=\*,building=1,road=2"),
        ("Buildings,road", "Buildings comes first .* write background,Buildings,road"),
        ("roof=*,road=2", "write background=0,roof"),
    ],
)
def test_classes_that_cannot_be_understood_are_wrong_usage(text, words):
    with pytest.raises(ParameterError, match=words):
        LabelClasses.parse(text)


@given(st.lists(st.text(string.ascii_lowercase, min_size=2), min_size=2, unique=True))
def test_every_name_and_number_means_its_place_in_the_list(names):
    names = [name for name in names if name not in ("nan", "inf", "infinity")]
    names = ["background", *(name for name in names if name != "background")]
    if len(names) < 2:
        return
    classes = LabelClasses.parse(",".join(names))
    for class_id, name in enumerate(names):
        assert classes.id_of(name) == classes.id_of(class_id) == class_id


def test_classes_travel_to_loader_processes():
    classes = LabelClasses.parse("background=*,building=2")
    assert classes.id_of(2) == 1
    assert pickle.loads(pickle.dumps(classes)) == classes


def test_one_class_stands_alone_against_all_others():
    classes = LabelClasses.parse("background=*,building=17,road=6,road=7")
    road = classes.binary(2)
    assert road.names == ("background", "road")
    assert [road.id_of(value) for value in (0, 17, 6, 7)] == [0, 0, 1, 1]
    rest = LabelClasses.parse("a=1,b=*").binary(1)
    assert [rest.id_of(value) for value in (1, 9)] == [0, 1]


def test_footprints_are_of_building_or_else_of_all_but_the_first():
    assert footprint_ids(("sand", "road", "building")) == (2,)
    assert footprint_ids(("sand", "road", "tree")) == (1, 2)
    assert footprint_ids(("sand", "road", "tree"), ["tree"]) == (2,)
    for name in ("lake", "sand"):
        with pytest.raises(ParameterError, match=f"of class '{name}', expected one of"):
            footprint_ids(("sand", "road", "tree"), [name])


def test_values_of_any_kind_have_one_spelling():
    assert [value_key(v) for v in (True, 1.5, float("nan"), "1e2", "inf")] == [
        *("true", "1.5", "null", "100", "inf")
    ]
