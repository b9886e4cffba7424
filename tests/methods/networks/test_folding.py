"""Batch normalisation folded into convolutions: the same features, fewer steps."""

import gc
import logging
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from geoseg.methods.networks import TRUNKS, build_trunk
from geoseg.methods.networks.folding import find_folds, fold_one, folded
from geoseg.methods.networks.trunk import Trunk


def lived_in(network: nn.Module) -> nn.Module:
    """Give normalisations statistics and weights such as training leaves."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            bounds = {"running_mean": (-1, 1), "running_var": (0.2, 3)}
            bounds |= {"weight": (0.3, 1.5), "bias": (-1, 1)}
            for name, (low, high) in bounds.items():
                values = getattr(module, name)
                if values is not None:
                    values.data.uniform_(low, high, generator=generator)
    return network


def trunk_of(name: str) -> Trunk:
    torch.manual_seed(0)
    return lived_in(build_trunk(name, 4, width=8)).eval()


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


class Steps(Trunk):
    """A trunk of layers, called in a way that a test makes up."""

    def __init__(self, call, **layers: nn.Module) -> None:
        super().__init__(2, out_channels=4, stride=1, divisor=1)
        self.call = call
        for name, layer in layers.items():
            setattr(self, name, layer)
        lived_in(self).eval()

    def features(self, image: Tensor) -> Tensor:
        return self.call(self, image)


def one_after_another(trunk: Trunk, image: Tensor) -> Tensor:
    return trunk.norm(trunk.convolution(image))


def pair(**options) -> dict[str, nn.Module]:
    return {
        "convolution": nn.Conv2d(2, 4, 3, padding=1),
        "norm": nn.BatchNorm2d(4, **options),
    }


@pytest.mark.parametrize("name", TRUNKS)
@torch.no_grad()
def test_a_folded_trunk_has_no_normalisation_left_and_gives_the_same(name):
    trunk, x = trunk_of(name).double(), image(2, 4, 64, 96).double()
    expected = trunk(x)
    assert norms(trunk) > 0 == norms(folded(trunk))
    found = folded(trunk)(x)
    assert (found - expected).abs().max() < 1e-12 * expected.abs().max()
    assert found.stride() == expected.stride()
    trunk.float()
    relative = (folded(trunk)(x.float()) - expected).abs().max() / expected.abs().max()
    assert 0 < relative < 1e-5


@pytest.mark.parametrize("name", TRUNKS)
@torch.no_grad()
def test_a_trunk_stays_as_it_is(name):
    trunk = trunk_of(name)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    layers = [(module, dict(vars(module))) for module in trunk.modules()]
    folded(trunk)(image(1, 4, 64, 64))
    after = trunk.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert [module for module, _ in layers] == list(trunk.modules())
    assert all(vars(module).keys() == was.keys() for module, was in layers)


@st.composite
def stacks(draw):
    """Convolutions of all kinds, each before a normalisation, some behind a ReLU."""
    layers, channels = [], 2
    for _ in range(draw(st.integers(1, 4))):
        groups = draw(st.sampled_from([1, 2]))
        inner = draw(st.sampled_from([2, 4, 6]))
        kind = draw(st.sampled_from([nn.Conv2d, nn.ConvTranspose2d]))
        options = {
            "kernel_size": draw(st.integers(1, 3)),
            "stride": draw(st.integers(1, 2)),
            "padding": draw(st.integers(0, 1)),
            "dilation": draw(st.integers(1, 2)),
            "groups": groups,
            "bias": draw(st.booleans()),
        }
        if kind is nn.Conv2d:
            options["padding"] = 3  # so that something is left
            options["padding_mode"] = draw(st.sampled_from(["zeros", "replicate"]))
        layers += [
            kind(channels, inner, **options),
            nn.BatchNorm2d(inner, affine=draw(st.booleans())),
        ]
        if draw(st.booleans()):
            layers.append(nn.ReLU(inplace=True))
        channels = inner
    return nn.Sequential(*layers)


@settings(max_examples=60, deadline=None)
@given(stack=stacks(), seed=st.integers(0, 99))
@torch.no_grad()
def test_any_stack_of_convolutions_and_normalisations_folds(stack, seed):
    torch.manual_seed(seed)
    trunk = Steps(lambda trunk, image: trunk.layers(image), layers=stack).double()
    x = torch.randn(2, 2, 12, 10).double()
    assert len(find_folds(trunk)) == norms(trunk)
    torch.testing.assert_close(folded(trunk)(x), trunk(x), rtol=1e-10, atol=1e-10)


def without_statistics() -> dict[str, nn.Module]:
    return pair(track_running_stats=False)


class Scaled(nn.BatchNorm2d):
    """Of another type, which may do anything."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def listened_at() -> dict[str, nn.Module]:
    layers = pair()
    layers["convolution"].register_forward_hook(lambda layer, args, out: out + 1)
    return layers


class Smp(Trunk):
    """A network of segmentation_models_pytorch as it comes, without its head."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(4, out_channels=16, stride=1, divisor=32)
        self.encoder, self.decoder = model.encoder, model.decoder
        lived_in(self).eval()

    def features(self, image: Tensor) -> Tensor:
        return self.decoder(self.encoder(image))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoder", "encoder", "count"),
    [
        ("Unet", "resnet18", 30),
        ("DeepLabV3Plus", "resnet18", 29),
        ("Unet", "mobilenet_v2", 62),
        # the 10 of the decoder: those of the encoder hold an activation too
        ("Unet", "tu-efficientnet_lite0", 10),
        # as many normalise before they convolve, one is at the end
        ("FPN", "densenet121", 59),
        # in the encoder nothing is normalised over a batch
        ("Unet", "tu-convnext_atto", 10),
        # its way depends on the size
        ("Unet", "mit_b0", 0),
    ],
)
@torch.no_grad()
def test_networks_of_smp_fold_as_far_as_they_can(decoder, encoder, count):
    import segmentation_models_pytorch as smp

    build = getattr(smp, decoder)
    trunk = Smp(build(encoder, encoder_weights=None, in_channels=4))
    x = image(1, 4, 64, 64)
    expected = trunk(x)
    found = folded(trunk)
    assert norms(trunk) - norms(found) == count
    assert (found(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


UNFOLDABLE = {
    "its own statistics": (one_after_another, without_statistics),
    "another type": (one_after_another, lambda: pair() | {"norm": Scaled(4)}),
    "a hook": (one_after_another, listened_at),
    "normalised before": (
        lambda trunk, image: trunk.convolution(trunk.norm(image).relu()),
        lambda: pair() | {"norm": nn.BatchNorm2d(2)},
    ),
    "something between": (
        lambda trunk, image: trunk.norm(trunk.convolution(image).relu()),
        pair,
    ),
    "changed in place": (
        lambda trunk, image: (out := trunk.convolution(image), trunk.norm(out.relu_()))[
            1
        ],
        pair,
    ),
    "taken twice": (
        lambda trunk, image: (out := trunk.convolution(image)) + trunk.norm(out),
        pair,
    ),
    "changed after": (
        lambda trunk, image: (
            out := trunk.convolution(image),
            normal := trunk.norm(out),
            out.add_(1),
            normal + out,
        )[3],
        pair,
    ),
    "convolution called twice": (
        lambda trunk, image: trunk.norm(trunk.convolution(image))
        + trunk.convolution(image + 1),
        pair,
    ),
    "normalisation called twice": (
        lambda trunk, image: trunk.norm(trunk.convolution(image))
        + trunk.norm(trunk.other(image)),
        lambda: pair() | {"other": nn.Conv2d(2, 4, 1, padding=0)},
    ),
}


@pytest.mark.parametrize("what", UNFOLDABLE)
@torch.no_grad()
def test_what_does_not_directly_and_alone_follow_a_convolution_stays(what):
    call, layers = UNFOLDABLE[what]
    trunk = Steps(call, **layers())
    assert find_folds(trunk) == []
    assert folded(trunk) is trunk


@torch.no_grad()
def test_a_normalisation_that_trains_stays_though_all_else_predicts():
    trunk = Steps(one_after_another, **pair())
    trunk.norm.train()
    assert folded(trunk) is trunk
    trunk.norm.eval()
    assert folded(trunk) is not trunk


UNTRACEABLE = {
    "by values": lambda trunk, image: (
        one_after_another(trunk, image) if image.sum() > 0 else image
    ),
    "by size": lambda trunk, image: (
        one_after_another(trunk, image) if image.shape[2] > 5 else image
    ),
    "takes weights": lambda trunk, image: one_after_another(trunk, image)
    * trunk.convolution.weight.sum(),
}


@pytest.mark.parametrize("what", UNTRACEABLE)
@torch.no_grad()
def test_a_trunk_that_cannot_be_followed_predicts_as_it_is_and_says_so(what, caplog):
    caplog.set_level(logging.DEBUG, "geoseg")
    trunk = Steps(UNTRACEABLE[what], **pair())
    assert folded(trunk) is trunk
    assert (
        "Steps cannot be followed, so no batch normalisation is folded" in caplog.text
    )
    caplog.clear()
    assert folded(trunk) is trunk
    assert not caplog.text  # it is not tried again


@torch.no_grad()
def test_a_copy_is_kept_until_the_trunk_changes():
    trunk, x = Steps(one_after_another, **pair()), image(1, 2, 6, 6)
    first = folded(trunk)
    assert folded(trunk) is first

    def follows() -> None:
        torch.testing.assert_close(folded(trunk)(x), trunk(x), rtol=1e-5, atol=1e-5)

    trunk.convolution.weight.add_(1)
    follows()
    trunk.load_state_dict(
        {name: value + 1 for name, value in trunk.state_dict().items()}, assign=True
    )
    follows()
    trunk.train()(image(4, 2, 6, 6) * 5)  # moves the running statistics
    follows()  # training
    trunk.eval()
    follows()
    x = x.double()
    trunk.double()
    follows()
    trunk.norm = nn.BatchNorm2d(4).double().eval()
    follows()


def test_threads_fold_while_others_predict():
    trunks = [trunk_of("pyramid") for _ in range(8)]
    x = image(1, 4, 32, 32)

    @torch.no_grad()
    def predict(trunk: Trunk) -> Tensor:
        return [folded(trunk)(x) for _ in range(3)][-1]

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(predict, trunks)
    assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first, trunks[0](x))


def test_a_trunk_that_goes_takes_its_copy_along():
    trunk = trunk_of("vgg")
    copy = weakref.ref(folded(trunk))
    assert copy() is not None
    del trunk
    gc.collect()
    assert copy() is None


def test_a_trunk_that_somebody_listens_at_predicts_as_it_is(caplog):
    caplog.set_level(logging.DEBUG, "geoseg")
    trunk, heard = Steps(one_after_another, **pair()), []
    assert folded(trunk) is not trunk
    handle = trunk.norm.register_forward_hook(lambda layer, args, out: heard.append(1))
    folded(trunk)(image(1, 2, 6, 6))
    assert heard
    assert "Steps has hooks, so no batch normalisation is folded" in caplog.text
    handle.remove()
    assert folded(trunk) is not trunk


def test_a_trunk_that_met_inference_mode_serves_outside_of_it():
    with torch.inference_mode():
        trunk = Steps(one_after_another, **pair())
        expected = trunk(image(1, 2, 6, 6))
        folded(trunk)
    x = image(1, 2, 6, 6).requires_grad_()
    found = folded(trunk)(x)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=1e-5)
    found.sum().backward()


@torch.no_grad()
def test_a_tied_weight_is_folded_for_one_layer_alone():
    layers = pair() | {"other": nn.Conv2d(2, 4, 3, padding=1)}
    layers["other"].weight = layers["convolution"].weight
    trunk = Steps(
        lambda trunk, image: one_after_another(trunk, image) * trunk.other(image),
        **layers,
    )
    x = image(1, 2, 6, 6)
    assert len(find_folds(trunk)) == 1
    torch.testing.assert_close(folded(trunk)(x), trunk(x), rtol=1e-5, atol=1e-5)


def test_gradients_still_reach_the_image():
    trunk = Steps(one_after_another, **pair())
    found, expected = (
        torch.autograd.grad(network(x).square().sum(), x)[0]
        for network in (folded(trunk), trunk)
        for x in [image(1, 2, 6, 6).requires_grad_()]
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_weights_are_rounded_once():
    convolution, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    numbers = {"weight": 0.1, "bias": 0.7}
    for name, number in numbers.items():
        nn.init.constant_(getattr(convolution, name), number)
    norm.running_var.fill_(0.3)
    norm.running_mean.fill_(0.6)
    nn.init.constant_(norm.weight, 0.9)
    nn.init.constant_(norm.bias, -0.2)
    weight, bias, variance, mean, gamma, beta = (
        float(torch.tensor(number)) for number in (0.1, 0.7, 0.3, 0.6, 0.9, -0.2)
    )
    found = fold_one(convolution, norm)
    factor = gamma / variance**0.5
    assert found.weight.item() == torch.tensor(weight * factor).item()
    assert found.bias.item() == torch.tensor((bias - mean) * factor + beta).item()
    assert not found.weight.requires_grad
