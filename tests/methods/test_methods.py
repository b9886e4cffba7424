import inspect
import re
from pathlib import Path

import pytest
import torch
from small_methods import labelled_batches as batches
from small_methods import small_method

from geoseg.core.errors import ParameterError
from geoseg.methods import (
    METHODS,
    check_parameters,
    method_class,
    method_defaults,
    method_help,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


def test_defaults_read_from_the_source_are_those_of_the_constructor(name):
    parameters = inspect.signature(method_class(name)).parameters.values()
    own = {it.name: it.default for it in parameters if it.kind is it.KEYWORD_ONLY}
    found = method_defaults(name)
    assert found == own and list(found) == list(own)
    assert [type(value) for value in found.values()] == list(map(type, own.values()))


def test_the_default_head_is_a_head_and_every_head_has_clusters(name):
    method = small_method(name)
    assert method.default_head in method.heads
    assert all(clusters > 1 for clusters in method.heads.values())


def test_odd_sizes_give_probabilities_that_sum_to_one(name):
    method = small_method(name)
    method.finish(batches)
    method.eval()
    image, valid = torch.rand((1, 4, 13, 9)), torch.ones((1, 13, 9)).bool()
    for head, clusters in method.heads.items():
        with torch.no_grad():
            found = method.predict(image, valid, head)
        assert found.shape == (1, clusters, 13, 9)
        torch.testing.assert_close(found.sum(dim=1), torch.ones((1, 13, 9)))


def test_heads_in_one_pass_have_the_bits_of_each_alone(name):
    several = {"over_clusters": 7} if "over_clusters" in method_defaults(name) else {}
    method = small_method(name, **several)
    method.finish(batches)
    method.eval()
    image, valid = torch.rand((2, 4, 13, 9)), torch.ones((2, 13, 9)).bool()
    heads = list(method.heads)[::-1]
    with torch.no_grad():
        found = method.predict_heads(image, valid, heads)
        assert list(found) == heads and len(heads) == 1 + bool(several)
        for head in heads:
            assert torch.equal(found[head], method.predict(image, valid, head))


def test_the_trunk_runs_once_for_all_heads(name):
    several = {"over_clusters": 7} if "over_clusters" in method_defaults(name) else {}
    method = small_method(name, **several).eval()
    if not method.has_features:
        return
    calls = []
    method.trunk.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        image, valid = torch.rand((1, 4, 16, 16)), torch.ones((1, 16, 16)).bool()
        method.predict_heads(image, valid, list(method.heads))
    assert calls == [1]


def test_state_dict_is_all_that_prediction_needs(name):
    first = small_method(name, seed=1)
    first.finish(batches)
    second = small_method(name, seed=2)
    second.load_state_dict(first.state_dict())
    image, valid = torch.rand((1, 4, 16, 16)), torch.ones((1, 16, 16)).bool()
    with torch.no_grad():
        expected = first.eval().predict(image, valid)
        assert torch.equal(second.eval().predict(image, valid), expected)


def test_equal_seeds_fit_equal_methods(name):
    states = []
    for _ in range(2):
        method = small_method(name, seed=1)
        method.finish(batches)
        states.append(method.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_features_are_finite_and_there_if_the_method_says_so(name):
    method = small_method(name).eval()
    image, valid = torch.rand((2, 4, 16, 16)), torch.ones((2, 16, 16)).bool()
    if not method.has_features:
        with pytest.raises(NotImplementedError, match="has no trunk"):
            method.features(image, valid)
        return
    with torch.no_grad():
        found = method.features(image, valid)
    assert found.shape[0] == 2 and 16 % found.shape[2] == 0
    assert found.isfinite().all()


def test_an_unknown_head_is_answered_with_the_known_ones(name):
    method = small_method(name)
    image, valid = torch.rand((1, 4, 16, 16)), torch.ones((1, 16, 16)).bool()
    with pytest.raises(ParameterError, match="there is no head 'roof', expected one"):
        method.predict(image, valid, "roof")


def test_every_method_has_a_page_and_a_row_in_both_tables_of_methods(name):
    """A page that two share is named by the row of each."""
    docs = ROOT / "docs" / "methods"
    page = f"{METHODS[name].module.rpartition('.')[2]}.md"
    pages = [docs / f"{name}.md", docs / page]
    assert any(path.is_file() for path in pages)
    for table, folder in (
        (ROOT / "README.md", r"docs/methods/"),
        (docs / "README.md", ""),
    ):
        row = rf"^(\| |- )\[`?{name}`?\]\({folder}({name}.md|{page})\)"
        assert re.search(row, table.read_text(), re.MULTILINE), table


def test_every_method_says_what_it_is():
    for entry in METHODS.values():
        assert entry.summary
    for key in METHODS:
        assert method_class(key).__doc__
        assert method_class(key).label_free_choice


@pytest.mark.parametrize("key", METHODS)
def test_every_parameter_says_what_it_is_and_which_words_it_takes(key):
    texts, defaults = method_help(key), method_defaults(key)
    assert list(texts) == list(defaults)
    choices = method_class(key).choices
    assert {k for k, v in defaults.items() if isinstance(v, str)} == set(choices)
    for name, text in texts.items():
        assert text and "\n" not in text and "``" not in text
        if name in choices:
            assert defaults[name] in choices[name]
            assert text.endswith(f"[{'|'.join(choices[name])}]")


def test_an_unknown_method_is_answered_with_the_known_ones():
    with pytest.raises(ParameterError, match="no method 'magic', expected one of iic"):
        method_class("magic")


def test_an_unknown_parameter_is_answered_with_the_known_ones():
    with pytest.raises(
        ParameterError, match="no parameter 'depth'; it has trunk='vgg'"
    ):
        check_parameters("iic", {"depth": 3})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ({"over_clusters": "36"}, {"over_clusters": 36}),
        ({"learning_rate": "1e-4"}, {"learning_rate": 1e-4}),
        ({"collapsed": "true"}, {"collapsed": True}),
        ({"trunk": "fpn"}, {"trunk": "fpn"}),
        ({"lam_over": 1}, {"lam_over": 1.0}),
    ],
)
def test_text_becomes_the_type_of_the_default(text, value):
    assert check_parameters("iic", text) == value


@pytest.mark.parametrize(
    "wrong",
    [{"over_clusters": "many"}, {"over_clusters": 2.5}, {"collapsed": "maybe"}],
)
def test_a_value_of_another_type_is_refused(wrong):
    with pytest.raises(ParameterError, match="expected (int|bool) such as"):
        check_parameters("iic", wrong)
