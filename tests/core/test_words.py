from geoseg.core.words import counted, did_you_mean


def test_one_is_singular_and_none_is_plural():
    assert [counted(n, "tile") for n in (0, 1, 2)] == ["0 tiles", "1 tile", "2 tiles"]
    assert [counted(2, noun) for noun in ("class", "patch")] == [
        "2 classes",
        "2 patches",
    ]


def test_the_nearest_name_is_suggested_whatever_its_case():
    assert did_you_mean("Width", ["width", "trunk"]) == " (did you mean width?)"
    assert did_you_mean("with", ["width", "half_width"]) == " (did you mean width?)"
    assert did_you_mean("zzz", ["width"]) == ""


def test_a_name_that_shares_but_some_letters_is_no_suggestion():
    assert did_you_mean("depth", ["width"]) == ""


def test_a_short_name_with_one_wrong_letter_is_told_from_others():
    for wrong in ("icc", "iid", "ici"):
        assert did_you_mean(wrong, ["iic", "mdc"]) == " (did you mean iic?)"
    assert did_you_mean("iox", ["iic", "mdc"]) == ""
