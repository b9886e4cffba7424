import io
import logging
import sys

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from small_methods import labelled_batches, small_method

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import IGNORE
from geoseg.methods import build_method, method_class

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"forest": {"trees": 3, "leaves": 8, "scales": 2, "pixels": 1000}}


def test_a_forest_learns_what_one_pixel_does_not_tell():
    # class 1 is texture: the values of single pixels are alike in both halves
    generator = torch.Generator().manual_seed(0)
    batch = next(labelled_batches(1, side=64))
    image = torch.rand((2, 1, 64, 64), generator=generator).round()
    image[..., :32] = (
        torch.rand((2, 1, 8, 4), generator=generator)
        .round()
        .repeat_interleave(8, 2)
        .repeat_interleave(8, 3)
    )
    mask = torch.zeros((2, 64, 64), dtype=torch.long)
    mask[..., :32] = 1
    batch = type(batch)(image, batch.valid, mask, batch.index)
    method = build_method("forest", 1, {"trees": 8})
    method.finish(lambda: [batch])
    found = method.predict(image, batch.valid).argmax(dim=1)
    assert (found == mask).float().mean() > 0.95


def test_classes_that_no_pixel_has_get_nothing():
    method = small_method("forest", classes=4)
    method.finish(labelled_batches)
    found = method.predict(torch.rand(1, 4, 9, 9), torch.ones(1, 9, 9).bool())
    assert found[:, 2:].abs().max() == 0
    assert found[:, :2].std() > 0


def test_balanced_classes_find_the_rare_one_more_often():
    image, valid = torch.rand(1, 4, 32, 32), torch.ones(1, 32, 32).bool()
    shares = []
    for balance in ("none", "inverse"):
        method = small_method("forest", balance=balance)
        method.finish(labelled_batches)
        shares.append(
            float((method.predict(image, valid).argmax(1) == 1).float().mean())
        )
    assert shares[0] < shares[1]


def test_a_balance_that_there_is_not_is_refused():
    with pytest.raises(ParameterError, match="balance is 'balanced', expected one of"):
        small_method("forest", balance="balanced")


@pytest.mark.parametrize(
    ("balance", "weight"), [("none", None), ("inverse", "balanced")]
)
def test_a_forest_grown_by_and_by_is_the_one_grown_at_once(balance, weight):
    random = np.random.default_rng(0)
    rows = random.random((500, 6)).astype(np.float32)
    classes = (rows[:, 0] + rows[:, 1] * random.random(500) > 1.2).astype(np.int64)
    method = build_method("forest", 3, {"trees": 7, "balance": balance, "seed": 5})
    whole = RandomForestClassifier(
        7, max_leaf_nodes=128, max_depth=12, class_weight=weight, random_state=5
    ).fit(rows, classes)
    found = method._grown(rows, classes)
    for own, tree in zip(found.estimators_, whole.estimators_, strict=True):
        for name in ("feature", "threshold", "children_left", "value"):
            assert np.array_equal(getattr(own.tree_, name), getattr(tree.tree_, name))


def test_who_waits_at_a_terminal_sees_the_trees_grow(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    logging.getLogger("geoseg").setLevel(logging.INFO)
    small_method("forest").finish(labelled_batches)
    *_, last = terminal.getvalue().split("\r")
    assert last.startswith("growing trees: 100%") and "3/3" in last


def test_a_forest_needs_labels_of_its_classes():
    batch = next(labelled_batches())
    batch.mask[0, 0, 0] = 2
    with pytest.raises(ParameterError, match="class 2, expected ids below classes=2"):
        small_method("forest").finish(lambda: [batch])
    batch.mask[:] = IGNORE
    with pytest.raises(TrainingError, match="no pixel .* has a label"):
        small_method("forest").finish(lambda: [batch])


def test_without_scikit_learn_the_extra_is_named_and_prediction_works(monkeypatch):
    method = small_method("forest")
    method.finish(labelled_batches)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(TrainingError, match=r'pip install "geoseg\[forest\]"'):
        method_class("forest").check_installed()
    method.predict(torch.rand(1, 4, 9, 9), torch.ones(1, 9, 9).bool())


@pytest.mark.parametrize("parameter", ["depth", "scales", "pixels"])
def test_nonsense_is_refused(parameter):
    with pytest.raises(ParameterError, match=f"{parameter} is 0, expected at least 1"):
        build_method("forest", 3, {parameter: 0})


def test_pixels_without_data_go_down_no_tree_and_change_no_other():
    method = small_method("forest")
    method.finish(labelled_batches)
    image, valid = torch.rand(3, 4, 16, 16), torch.ones(3, 16, 16).bool()
    valid[1], valid[2, :4] = False, False
    found = method.predict(image, valid).permute(0, 2, 3, 1)
    assert (found[~valid] == 0.5).all()
    for number in (0, 2):
        alone = method.predict(image[number, None], valid[number, None])
        torch.testing.assert_close(alone[0].permute(1, 2, 0), found[number])
