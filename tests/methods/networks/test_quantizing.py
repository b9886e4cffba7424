"""Trunks that compute in 8-bit integers: nearly the same, by the model alone."""

import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.geo.sample.town import build_scene
from geoseg.methods import build_method
from geoseg.methods.bases.method import Method, StepContext
from geoseg.methods.networks import build_trunk
from geoseg.methods.networks.folding import folded
from geoseg.methods.networks.quantizing import (
    MOST_STEPS,
    IntegerConvolution,
    StepPooling,
    adds_exactly,
    quantized,
)
from geoseg.methods.networks.trunk import Trunk
from geoseg.model.inference import Inference

exact = pytest.mark.skipif(not adds_exactly(), reason="a processor without VNNI")


def lived_in(network: nn.Module) -> nn.Module:
    """Give normalisations what training leaves: statistics of images, uneven factors."""
    generator = torch.Generator().manual_seed(3)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None
            if norm.affine:
                norm.weight.data.uniform_(0.2, 1.5, generator=generator)
                norm.bias.data.uniform_(-0.5, 0.5, generator=generator)
    network.train()(image(8, 4, 64, 64))
    return network.eval().requires_grad_(False)


def image(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    torch.manual_seed(0)
    return lived_in(build_trunk("vgg", 4, width=4))


def town(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return bands in [0, 1], where they are valid, and the four classes of a scene."""
    scene = build_scene(128, 128, seed=seed)
    bands = torch.from_numpy(scene.image[[4, 2, 1, 6]].astype(np.float32)) / 800
    mask = torch.from_numpy(scene.classes).long()
    return bands.clamp(0, 1)[None], mask[None] != IGNORE, mask[None]


def learned() -> Method:
    """Return a network that tells the streets and trees of a town apart."""
    torch.manual_seed(0)
    parameters = {"width": 4, "classes": 4, "learning_rate": 0.02}
    method = build_method("supervised", 4, parameters)
    optimizer = method.configure_optimizer()
    bands, valid, mask = (torch.cat(it) for it in zip(*map(town, range(4))))
    batch = PatchBatch(bands, valid, mask, torch.arange(4))
    for step in range(30):
        optimizer.zero_grad()
        method.training_step(batch, StepContext(step, step, 0)).loss.backward()
        optimizer.step()
    return method.eval().requires_grad_(False)


@exact
@torch.no_grad()
def test_a_trained_network_gives_the_same_classes_in_another_town():
    with torch.enable_grad():
        method = learned()
    bands, valid, mask = town(9)
    straight = method.for_prediction().predict(bands, valid)
    integers = method.for_prediction(quantize=True).predict(bands, valid)
    found, known = straight.argmax(1), mask[valid]
    commonest = known.bincount().max() / len(known)
    assert (found[valid] == known).float().mean() > commonest + 0.1  # it did learn
    assert (found == integers.argmax(1)).float().mean().item() >= 0.99
    assert 0 < (straight - integers).abs().mean().item() < 0.01
    assert straight.dtype == integers.dtype


@exact
@torch.no_grad()
def test_features_are_near_those_of_the_folded_trunk(trunk):
    x = image(2, 4, 64, 96, seed=2)
    expected, found = folded(trunk)(x), quantized(trunk)(x)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape and found.stride() == expected.stride()
    noise = (found - expected).square().mean() / expected.square().mean()
    assert 0 < noise.sqrt().item() < 0.1
    assert (found - expected).mean().abs() < 0.005 * expected.mean()


@exact
@torch.no_grad()
def test_no_image_changes_the_features_of_another(trunk):
    x = image(3, 4, 32, 32)
    others = torch.stack([x[0], 100 * x[1], torch.zeros_like(x[2])])
    assert torch.equal(quantized(trunk)(x)[0], quantized(trunk)(others)[0])


@exact
def test_nothing_is_drawn(trunk):
    before = torch.get_rng_state()
    adds_exactly.cache_clear()
    quantized(trunk)(image(1, 4, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


@exact
@torch.no_grad()
def test_a_trunk_stays_as_it_is_and_its_copy_follows_it(trunk):
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    first = quantized(trunk)
    assert quantized(trunk) is first
    after = trunk.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    torch.manual_seed(4)
    other = lived_in(build_trunk("vgg", 4, width=4))
    gone = weakref.ref(quantized(other))
    other.load_state_dict(before)
    x = image(1, 4, 32, 32)
    assert torch.equal(quantized(other)(x), first(x))
    gc.collect()
    assert gone() is None


@exact
@pytest.mark.parametrize("out", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    "how",
    [
        {"padding": 1},
        {"padding": (2, 1), "dilation": (2, 1), "stride": 2},
        {"padding": 1, "groups": 3, "bias": False},
    ],
)
@torch.no_grad()
def test_a_convolution_adds_whole_numbers_up(how, out):
    generator = torch.Generator().manual_seed(2)
    layer = nn.Conv2d(6, 9, 3, **how)
    # whole weights that reach 127, so that none is rounded
    layer.weight.copy_(
        torch.randint(-127, 128, layer.weight.shape, generator=generator)
    )
    layer.weight[:, 0, 0, 0] = 127
    factor = torch.linspace(1e-4, 1e-2, 9)
    steps = torch.randint(0, 256, (2, 6, 11, 8), generator=generator)
    expected = layer.double()(steps.double())
    expected = (expected * factor.double()[:, None, None]).clamp_min(0)
    layer.float().weight *= factor[:, None, None, None]
    if layer.bias is not None:
        layer.bias *= factor
    integers = IntegerConvolution(layer, torch.full((6,), 99.0), out)
    channels_last = steps.byte().contiguous(memory_format=torch.channels_last)
    found = integers(channels_last).double()
    if out is torch.uint8:
        clipped = expected.clamp_max(MOST_STEPS)
        assert (clipped == MOST_STEPS).any() and (clipped == 0).any()
        assert (found - clipped).abs().max() <= 0.5 + 1e-3
    else:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@exact
@torch.no_grad()
def test_what_rounding_weights_adds_on_average_is_taken_off():
    layer = nn.Conv2d(3, 2, 1, bias=False)
    weights = torch.tensor([[127.0, 3.4, 5.4], [127.0, -3.4, 8.3]])
    layer.weight.copy_(weights[..., None, None])
    mean = torch.tensor([100.0, 90.0, 80.0])
    steps = mean.byte()[None, :, None, None].repeat(1, 1, 4, 4)
    steps = steps.contiguous(memory_format=torch.channels_last)
    found = IntegerConvolution(layer, mean, torch.float32)(steps)
    expected = layer(steps.float())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.01)


@exact
@pytest.mark.parametrize(
    "how",
    [{}, {"stride": 1, "padding": 1}, {"kernel_size": (3, 2), "ceil_mode": True}],
)
def test_steps_are_pooled_as_numbers_are(how):
    pooling = nn.MaxPool2d(**{"kernel_size": 2} | how)
    generator = torch.Generator().manual_seed(0)
    steps = torch.randint(0, 256, (2, 3, 9, 8), generator=generator).byte()
    steps = steps.contiguous(memory_format=torch.channels_last)
    assert torch.equal(StepPooling(pooling)(steps).float(), pooling(steps.float()))


class Steps(Trunk):
    """A trunk of layers, called in a way that a test makes up."""

    def __init__(self, call, layers: dict[str, nn.Module]) -> None:
        super().__init__(4, out_channels=4, stride=1, divisor=1)
        self.call = call
        for name, layer in layers.items():
            setattr(self, name, layer)
        lived_in(self)

    def features(self, image: Tensor) -> Tensor:
        return self.call(self, image)


def layers(**changes: nn.Module) -> dict[str, nn.Module]:
    return {
        "a": nn.Conv2d(4, 6, 3, padding=1),
        "an": nn.BatchNorm2d(6),
        "ar": nn.ReLU(),
        "b": nn.Conv2d(6, 4, 3, padding=1),
        "bn": nn.BatchNorm2d(4),
        "br": nn.ReLU(inplace=True),
    } | changes


def in_turn(trunk: Trunk, x: Tensor) -> Tensor:
    for name in ("a", "an", "ar", "b", "bn", "br"):
        x = trunk.get_submodule(name)(x)
    return x


@exact
@torch.no_grad()
def test_any_chain_of_blocks_is_quantised():
    grouped = nn.Conv2d(6, 4, 3, padding=1, groups=2, stride=2)
    plain = nn.BatchNorm2d(6, affine=False)
    trunk = Steps(in_turn, layers(b=grouped, an=plain) | {"pool": nn.MaxPool2d(2)})
    trunk.call = lambda trunk, x: trunk.pool(in_turn(trunk, x))
    x = image(1, 4, 32, 32)
    expected = trunk(x)
    assert (quantized(trunk)(x) - expected).abs().max() < 0.03 * expected.max()


@exact
@torch.no_grad()
def test_a_channel_that_is_always_0_does_no_harm():
    trunk = Steps(in_turn, layers())
    trunk.an.weight[:2], trunk.an.bias[:2] = 0.0, -3.0
    x = image(1, 4, 32, 32)
    expected = trunk(x)
    assert (quantized(trunk)(x) - expected).abs().max() < 0.05 * expected.max()


OTHERS = {
    "another activation": (in_turn, {"ar": nn.ReLU6()}),
    "no statistics": (in_turn, {"an": nn.BatchNorm2d(6, track_running_stats=False)}),
    "no normalisation": (in_turn, {"an": nn.Identity()}),
    "other padding": (
        in_turn,
        {"a": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")},
    ),
    "a branch": (lambda trunk, x: in_turn(trunk, x) + trunk.br(x), {}),
    "a sum": (lambda trunk, x: in_turn(trunk, x) + 1, {}),
    "a function": (lambda trunk, x: F.leaky_relu(in_turn(trunk, x)), {}),
    "by values": (lambda trunk, x: in_turn(trunk, x) if x.sum() > 0 else x, {}),
    "one block": (lambda trunk, x: trunk.ar(trunk.an(trunk.a(x))), {}),
    "pooled first": (
        lambda trunk, x: in_turn(trunk, trunk.pool(x)),
        {"pool": nn.MaxPool2d(2)},
    ),
}


@exact
@pytest.mark.parametrize("what", OTHERS)
def test_other_layers_are_refused(what):
    call, changes = OTHERS[what]
    trunk = Steps(call, layers(**changes))
    with pytest.raises(ParameterError, match="trunk .Steps. is no chain.*expected vgg"):
        quantized(trunk)


@exact
def test_trunks_with_hooks_or_in_training_are_refused(trunk):
    trunk = lived_in(build_trunk("vgg", 4, width=2))
    quantized(trunk)
    handle = trunk.layers[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ParameterError, match="no chain"):
        quantized(trunk)
    handle.remove()
    quantized(trunk)
    trunk.train()
    with pytest.raises(ParameterError, match="no chain"):
        quantized(trunk)


@exact
@pytest.mark.parametrize("name", ["fpn", "unet", "pyramid", "res12"])
def test_trunks_with_branches_are_refused(name):
    with pytest.raises(ParameterError, match="expected vgg: leave out --quantize"):
        quantized(build_trunk(name, 4, width=4).eval())


def test_a_gpu_is_refused():
    with pytest.raises(
        ParameterError, match="--quantize is asked of cuda.*--device cpu"
    ):
        Inference(quantize=True).check(torch.device("cuda"))


@pytest.mark.slow
def test_a_processor_whose_sums_saturate_is_refused():
    code = (
        "import torch\n"
        "from geoseg.methods.networks import build_trunk\n"
        "from geoseg.methods.networks.quantizing import quantized\n"
        "quantized(build_trunk('vgg', 3, width=2).eval())\n"
    )
    # oneDNN then takes the kernels of a processor without VNNI
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "does not add up products of 8 bits exactly, expected an x86 proc" in last
