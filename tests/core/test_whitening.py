"""Whitening across bands."""

import numpy as np
import pytest
import torch

from geoseg.core.errors import ModelFileError, ParameterError, ShapeError
from geoseg.core.normalization import Normalization
from geoseg.core.patches import PatchBatch
from geoseg.core.whitening import EPSILON, Whitening, WhiteningLayer
from geoseg.methods import METHODS, build_method, method_defaults
from geoseg.model.file import load_model, save_model

COVARIANCE = np.array([[0.05, 0.04, 0.01], [0.04, 0.06, 0.0], [0.01, 0.0, 0.02]])
MEAN = np.array([0.5, 0.4, 0.3])
MIXED = Whitening.zca(MEAN, COVARIANCE)


def matrix(whitening):
    return np.array(whitening.matrix)


def test_the_whitened_covariance_is_the_identity():
    w = matrix(Whitening.zca(MEAN, COVARIANCE, epsilon=1e-12))
    np.testing.assert_allclose(w @ COVARIANCE @ w.T, np.eye(3), atol=1e-6)


def test_epsilon_leaves_each_eigenvalue_its_share():
    # W C Wᵀ has the eigenvalues λ / (λ + ε), whatever the eigenvectors
    w = matrix(MIXED)
    values = np.linalg.eigvalsh(COVARIANCE)
    found = np.linalg.eigvalsh(w @ COVARIANCE @ w.T)
    np.testing.assert_allclose(found, values / (values + EPSILON), atol=1e-7)


def test_zca_is_symmetric_and_positive():
    w = matrix(MIXED)
    np.testing.assert_array_equal(w, w.T)
    assert (np.linalg.eigvalsh(w) > 0).all()


def test_white_data_stay_as_they_are():
    w = matrix(Whitening.zca(np.zeros(4), np.eye(4), epsilon=1e-12))
    np.testing.assert_allclose(w, np.eye(4), atol=1e-9)


@pytest.mark.parametrize(
    "covariance",
    [
        [[0.05, 0.05], [0.05, 0.05]],  # two equal bands
        [[0.05, 0.0], [0.0, 0.0]],  # a constant band
        [[0.0, 0.0], [0.0, 0.0]],
        [[0.0, 1e-19], [1e-19, 0.0]],  # an eigenvalue below 0, by rounding
    ],
)
def test_a_singular_covariance_amplifies_by_one_over_root_epsilon_at_most(covariance):
    w = matrix(Whitening.zca(np.zeros(2), np.array(covariance)))
    assert np.linalg.norm(w, 2) == pytest.approx(EPSILON**-0.5, rel=1e-6)


def test_equal_bands_stay_equal():
    w = Whitening.zca(np.full(2, 0.5), np.full((2, 2), 0.05))
    image = torch.linspace(0, 1, 50).expand(1, 2, 1, 50)
    white = WhiteningLayer(w)(image)
    torch.testing.assert_close(white[:, 0], white[:, 1], atol=1e-4, rtol=0)
    assert white.abs().max() < 2


def test_the_layer_whitens_pixels():
    random = np.random.default_rng(0)
    pixels = random.multivariate_normal(MEAN, COVARIANCE, 4000)
    # drawn samples have this very mean and covariance
    fit = Whitening.zca(pixels.mean(0), np.cov(pixels.T, bias=True), epsilon=1e-12)
    image = torch.tensor(pixels.T, dtype=torch.float32).reshape(1, 3, 40, 100)
    white = WhiteningLayer(fit)(image).reshape(3, -1).double().numpy()
    np.testing.assert_allclose(white.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(white, bias=True), np.eye(3), atol=1e-4)


def test_half_precision_around_it_does_not_reach_the_layer():
    image = torch.rand(1, 3, 8, 8)
    layer = WhiteningLayer(MIXED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(image)
    assert torch.equal(found, layer(image))


def test_json_round_trip_is_exact_and_old_cards_have_no_whitening():
    one = Normalization(("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, (0.5,) * 3, MIXED)
    values = one.to_json()
    assert Normalization.from_json(values) == one
    del values["whitening"]
    assert Normalization.from_json(values).whitening is None


@pytest.mark.parametrize(
    "damage",
    [
        {"method": "pca"},
        {"mean": [0.0]},
        {"mean": [0.0, 0.0, float("nan")]},
        {"matrix": [[1.0, 2.0], [3.0]]},
        {"matrix": 7},
    ],
)
def test_a_damaged_whitening_is_a_model_file_error(damage):
    one = Normalization(("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, (0.5,) * 3, MIXED)
    values = one.to_json()
    values["whitening"] |= damage
    with pytest.raises(ModelFileError, match="normalization on the model card is dam"):
        Normalization.from_json(values)


def test_whitening_of_other_bands_is_refused():
    with pytest.raises(ParameterError, match="whitens 3 of 1 bands"):
        Normalization(("a",), (0.0,), (1.0,), (0.5,), MIXED)
    with pytest.raises(ShapeError, match="has 2 channels, expected 3"):
        WhiteningLayer(MIXED)(torch.zeros(1, 2, 4, 4))


#: Methods that take the bands as they are, whitened or not.
PLAIN = ("majority", "threshold")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in PLAIN])
def test_every_method_sees_whitened_bands(name):
    parameters = {k: 4 for k in method_defaults(name) if k in ("width", "clusters")}
    plain = build_method(name, 3, parameters, seed=1)
    image, valid = torch.rand(2, 3, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool)
    if not plain.has_features:
        mask = (image[:, 0] > 0.5).long()
        plain.finish(lambda: [PatchBatch(image, valid, mask, torch.arange(2))])
    white = build_method(name, 3, parameters, seed=1)
    white.load_state_dict(plain.state_dict())
    white.whiten(MIXED)
    plain.eval(), white.eval()
    seen_by, seen_plainly = (
        m.features if m.has_features else m.predict for m in (white, plain)
    )
    with torch.no_grad():
        found = seen_by(image, valid)
        assert torch.equal(found, seen_plainly(WhiteningLayer(MIXED)(image), valid))
        assert not torch.equal(found, seen_plainly(image, valid))


def test_the_model_file_brings_the_whitening_back(bright_model, tmp_path):
    model = bright_model()
    stretch = model.card.normalization
    changed = Normalization(
        stretch.bands, stretch.low, stretch.high, stretch.fill, MIXED
    )
    model = model.with_card(normalization=changed)
    model.method.whiten(MIXED)
    save_model(tmp_path / "model.safetensors", model)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.card == model.card
    image, valid = torch.rand(1, 3, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool)
    found = loaded.class_probabilities(image, valid)
    assert torch.equal(found, model.class_probabilities(image, valid))
    model.method.whiten(None)
    assert not torch.equal(found, model.class_probabilities(image, valid))
