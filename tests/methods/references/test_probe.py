import math

import pytest
import torch
import torch.nn.functional as F

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.methods import build_method
from geoseg.methods.references.probe import fit_logistic

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"probe": {"width": 2}}
KINDS = [{"kind": "linear"}, {"kind": "knn", "bank": 256}]


def batch_of(seed: int = 0) -> PatchBatch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand((4, 3, 16, 16), generator=generator)
    image[:, :, :, 8:] += 0.5
    mask = torch.zeros((4, 16, 16), dtype=torch.long)
    mask[..., 8:] = 1
    mask[:, 0] = IGNORE
    return PatchBatch(image, torch.ones((4, 16, 16)).bool(), mask, torch.arange(4))


def trained(**parameters):
    method = build_method("probe", 3, {"width": 2, **parameters}, seed=1)
    method.start_from(build_method("iic", 3, {"width": 2}, seed=2).eval())
    return method


@pytest.mark.parametrize("classes", [2, 3])
def test_at_the_optimum_of_the_regression_the_gradient_is_zero(classes):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((300, 5), generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes, (300,), generator=generator)
    weights, bias = fit_logistic(rows, labels, classes, penalty=0.01)
    # By hand: the residuals against the features, and the pull of the penalty.
    residual = (rows @ weights.t() + bias).softmax(1) - F.one_hot(labels, classes)
    gradient = residual.t() @ rows / 300 + 0.01 * weights
    assert float(gradient.abs().max()) < 1e-6
    assert float(residual.mean(0).abs().max()) < 1e-6


def test_without_features_that_tell_the_regression_says_how_frequent_classes_are():
    labels = (torch.arange(100) < 30).long()
    weights, bias = fit_logistic(torch.zeros(100, 2), labels, 2, penalty=1e-3)
    assert not weights.any()
    assert float(bias[1] - bias[0]) == pytest.approx(math.log(0.3 / 0.7), abs=1e-6)


def test_separable_classes_have_finite_weights_because_of_the_penalty():
    rows = torch.tensor([[-1.0], [1.0]])
    weights, _ = fit_logistic(rows, torch.tensor([0, 1]), 2, penalty=0.1)
    difference = float(weights[1] - weights[0])
    # Of the mean loss ln(1 + exp(-d)) and 0.05 (2 (d/2)^2): 1 / (1 + exp(d)) = d / 20.
    assert 1 / (1 + math.exp(difference)) == pytest.approx(difference / 20, rel=1e-5)


@pytest.mark.parametrize("parameters", KINDS)
def test_it_finds_what_the_features_tell(parameters):
    method = trained(**parameters)
    method.finish(lambda: [batch_of()])
    fresh = batch_of(seed=1)
    with torch.no_grad():
        found = method.predict(fresh.image, fresh.valid).argmax(dim=1)
    known = fresh.mask != IGNORE
    assert float((found == fresh.mask)[known].float().mean()) > 0.9


@pytest.mark.parametrize("parameters", KINDS)
def test_the_trunk_stays_as_the_model_left_it(parameters):
    method = trained(**parameters)
    before = {name: t.clone() for name, t in method.trunk.state_dict().items()}
    method.train()
    method.finish(lambda: [batch_of()])
    after = method.trunk.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("parameters", KINDS)
def test_labels_decide_and_pixels_without_any_do_not(parameters):
    one, same, other = (trained(**parameters) for _ in range(3))
    batch = batch_of()
    one.finish(lambda: [batch])
    image = batch.image.clone()
    unlabelled = PatchBatch(
        image, batch.valid, torch.full_like(batch.mask, IGNORE), batch.index
    )
    same.finish(lambda: [batch, unlabelled])
    turned = PatchBatch(image, batch.valid, batch.mask.flip(-1), batch.index)
    other.finish(lambda: [turned])
    first, second, third = (m.state_dict() for m in (one, same, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_the_linear_probe_is_the_regression_of_upsampled_features():
    method = trained()
    batch = batch_of()
    method.finish(lambda: [batch])
    with torch.no_grad():
        found = method.predict(batch.image, batch.valid)
        features = method.features(batch.image, batch.valid)
        full = F.interpolate(features, size=(16, 16), mode="bilinear")
        expected = method.head(full).softmax(dim=1)
    torch.testing.assert_close(found, expected)


def test_votes_are_those_of_the_nearest_by_an_explicit_loop():
    method = trained(kind="knn", bank=64, neighbours=5)
    batch = batch_of()
    method.finish(lambda: [batch])
    with torch.no_grad():
        features = method.features(batch.image, batch.valid)
        found = method._vote(features)
    n, row, col = 1, 3, 4
    query = F.normalize((features[n, :, row, col] - method.mean) / method.spread, dim=0)
    cosines = [float(query @ key) for key in method.keys]
    nearest = sorted(range(64), key=lambda k: -cosines[k])[:5]
    votes = torch.zeros(2)
    for k in nearest:
        votes[int(method.votes[k])] += math.exp(cosines[k] / 0.07)
    torch.testing.assert_close(found[n, :, row, col], votes / votes.sum())


def test_a_bank_larger_than_the_labels_has_no_votes_in_its_empty_places():
    method = trained(kind="knn", bank=4096, neighbours=4000)
    batch = batch_of()
    method.finish(lambda: [batch])
    known = int((batch.mask != IGNORE).sum())
    assert int((method.votes != IGNORE).sum()) == known < 4000
    with torch.no_grad():
        found = method.predict(batch.image, batch.valid)
    torch.testing.assert_close(found.sum(1), torch.ones((4, 16, 16)))


@pytest.mark.parametrize("parameters", KINDS)
def test_without_labels_there_is_nothing_to_learn_from(parameters):
    batch = batch_of()
    blank = PatchBatch(
        batch.image, batch.valid, torch.full_like(batch.mask, IGNORE), batch.index
    )
    with pytest.raises(TrainingError, match="no pixel of the training patches has a"):
        trained(**parameters).finish(lambda: [blank])


def test_a_model_without_a_trunk_cannot_be_probed():
    method = build_method("probe", 3, {"width": 2})
    with pytest.raises(ParameterError, match="ColorKMeans has no trunk"):
        method.start_from(build_method("color_kmeans", 3, {"clusters": 4}))


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "forest"}, {"penalty": -1.0}, {"temperature": 0.0}, {"bank": 3}],
)
def test_values_without_a_meaning_are_refused(wrong):
    with pytest.raises(ParameterError, match="expected"):
        build_method("probe", 3, {"width": 2, **wrong})
