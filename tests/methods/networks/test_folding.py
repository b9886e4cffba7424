"""Batch normalisation folded into the convolutions of the vgg: the same features."""

import pytest
import torch
from torch import Tensor, nn

from geoseg.methods.networks import TRUNKS, Trunk, build_trunk


def lived_in(network: Trunk) -> Trunk:
    """Give normalisations statistics and weights such as training leaves."""
    generator = torch.Generator().manual_seed(3)
    bounds = {"running_mean": (-1, 1), "running_var": (0.2, 3)}
    bounds |= {"weight": (0.3, 1.5), "bias": (-1, 1)}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, (low, high) in bounds.items():
                getattr(module, name).data.uniform_(low, high, generator=generator)
    return network


def trunk_of(name: str) -> Trunk:
    torch.manual_seed(0)
    return lived_in(build_trunk(name, 4, width=8)).eval()


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.no_grad()
def test_a_folded_vgg_has_no_normalisation_left_and_gives_the_same():
    trunk, x = trunk_of("vgg").double(), image(2, 4, 64, 96).double()
    expected = trunk(x)
    folded = trunk.for_prediction()
    assert norms(trunk) == 6 and norms(folded) == 0
    assert (folded(x) - expected).abs().max() < 1e-12 * expected.abs().max()
    assert folded(x).stride() == expected.stride()
    found = trunk.float().for_prediction()(x.float())
    assert 0 < (found - expected).abs().max() < 1e-5 * expected.abs().max()


@torch.no_grad()
def test_a_trunk_stays_as_it_is():
    trunk = trunk_of("vgg")
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    layers, x = list(trunk.modules()), image(1, 4, 64, 64)
    expected = trunk(x)
    trunk.for_prediction()(x)
    after = trunk.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert list(trunk.modules()) == layers
    assert torch.equal(trunk(x), expected)


def test_a_vgg_that_trains_predicts_as_it_is():
    trunk = trunk_of("vgg").train()
    assert trunk.for_prediction() is trunk
    trunk.eval().layers[1].train()
    assert trunk.for_prediction() is trunk


def test_folded_weights_do_not_learn_and_gradients_reach_the_image():
    trunk, x = trunk_of("vgg"), image(1, 4, 8, 8)
    gradients = []
    for network in (trunk, trunk.for_prediction()):
        leaf = x.clone().requires_grad_()
        network(leaf).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    assert not any(p.requires_grad for p in trunk.for_prediction().parameters())


@pytest.mark.parametrize("name", [name for name in TRUNKS if name != "vgg"])
def test_other_trunks_gain_nothing_and_predict_as_they_are(name):
    trunk = trunk_of(name)
    assert trunk.for_prediction() is trunk


def test_weights_are_rounded_once():
    trunk = trunk_of("vgg")
    convolution, norm = trunk.layers[:2]
    folded = trunk.for_prediction().layers[0]
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = convolution.weight.double() * factor[:, None, None, None]
    bias = norm.bias.double() - norm.running_mean.double() * factor
    # each number is one of the two floats beside the exact one
    for found, exact in ((folded.weight, weight), (folded.bias, bias)):
        assert found.dtype == torch.float32
        assert ((found.double() - exact).abs() <= 2**-24 * exact.abs() * 1.0001).all()
