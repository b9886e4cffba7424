"""Trunks: shapes, channels, receptive field, imports."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.methods.networks import build_trunk


@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize(
    ("name", "stride", "divisor"),
    [
        *(("vgg", 2, 2), ("fpn", 4, 32), ("unet", 1, 32)),
        *(("pyramid", 4, 32), ("res12", 4, 8)),
    ],
)
def test_a_trunk_keeps_its_promise_for_any_number_of_bands(
    name, bands, stride, divisor
):
    trunk = build_trunk(name, bands, width=8)
    assert (trunk.stride, trunk.divisor) == (stride, divisor)
    features = trunk(torch.rand(2, bands, 64, 96))
    assert features.shape == (2, trunk.out_channels, 64 // stride, 96 // stride)


def test_vgg_at_width_64_has_the_channels_and_dilations_of_the_blog():
    with torch.device("meta"):
        trunk = build_trunk("vgg", 4, width=64)
    convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 128, 256, 256, 512, 512]
    assert [c.dilation[0] for c in convolutions] == [1, 1, 2, 2, 2, 2]
    assert [c.padding for c in convolutions] == [c.dilation for c in convolutions]
    assert all(c.bias is None for c in convolutions)
    assert trunk(torch.empty(1, 4, 650, 650, device="meta")).shape == (
        1,
        512,
        325,
        325,
    )


def test_a_feature_of_vgg_sees_38_pixels():
    torch.manual_seed(0)
    trunk = build_trunk("vgg", 1, width=2).double().eval()
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.1)  # positive: nothing dies in a ReLU
    # Distinct values, so that the max-pooling picks one pixel of its four; which one
    # depends on the values, so take the union over several images.
    seen = torch.zeros(80, 80, dtype=torch.bool)
    for _ in range(20):
        image = torch.rand(1, 1, 80, 80, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(trunk(image)[0, :, 20, 20].sum(), image)
        seen |= gradient[0, 0] != 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    assert (rows.max() - rows.min() + 1).item() == 38
    assert (columns.max() - columns.min() + 1).item() == 38


@pytest.mark.parametrize("name", ["fpn", "unet"])
def test_one_patch_as_small_as_the_divisor_can_be_trained_on(name):
    trunk = build_trunk(name, 3, width=2).train()
    trunk(torch.rand(1, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in trunk.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["vgg", "fpn", "unet"])
def test_features_in_training_are_normalised_by_the_batch(name):
    trunk = build_trunk(name, 3, width=2).train()
    before = {k: v.clone() for k, v in trunk.state_dict().items() if "running_m" in k}
    trunk(torch.rand(2, 3, 64, 64))
    after = trunk.state_dict()
    assert before and all(not after[k].equal(v) for k, v in before.items())


@pytest.mark.parametrize("name", ["vgg", "fpn", "unet"])
def test_the_same_seed_gives_the_same_weights_and_features(name):
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        outputs.append(build_trunk(name, 3, width=4)(torch.rand(2, 3, 64, 64)))
    assert outputs[0].equal(outputs[1])


def test_weights_of_an_smp_trunk_survive_the_state_dictionary():
    one, other = build_trunk("fpn", 2, width=4), build_trunk("fpn", 2, width=4)
    other.load_state_dict(one.state_dict())
    image = torch.rand(1, 2, 32, 64)
    assert one.eval()(image).equal(other.eval()(image))


def test_an_unknown_trunk_is_answered_with_the_known_ones():
    with pytest.raises(ParameterError, match=r"'resnet', expected one of \['vgg'"):
        build_trunk("resnet", 3)


@pytest.mark.parametrize("name", ["vgg", "fpn", "unet"])
def test_a_trunk_without_width_is_refused(name):
    with pytest.raises(ParameterError, match="width is 0"):
        build_trunk(name, 3, width=0)


def test_an_image_of_other_bands_is_refused():
    with pytest.raises(ShapeError, match=r"\(1, 3, 8, 8\), expected \(N, 4, H, W\)"):
        build_trunk("vgg", 4, width=2)(torch.rand(1, 3, 8, 8))


def test_an_image_of_an_odd_size_is_answered_with_the_size_to_pad_to():
    with pytest.raises(ShapeError, match="multiples of 2: pad it to 10 × 8"):
        build_trunk("vgg", 1, width=2)(torch.rand(1, 1, 9, 8))


@pytest.mark.slow
def test_the_vgg_trunk_imports_neither_smp_nor_torchvision_nor_lightning():
    script = (
        "import sys, torch; from geoseg.methods.networks import build_trunk; "
        "from geoseg.methods.networks.heads import PixelHead, upsample; "
        "x = PixelHead(16, 3)(build_trunk('vgg', 4, width=2)(torch.rand(1, 4, 8, 8))); "
        "heavy = {'segmentation_models_pytorch', 'torchvision', 'lightning', 'timm'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_pyramid_adds_all_stages_from_top_to_bottom():
    torch.manual_seed(0)
    trunk = build_trunk("pyramid", 3, width=2).eval()
    image = torch.rand(1, 3, 64, 64)
    stages = trunk.encoder(image)[-4:]
    assert [stage.shape[1] for stage in stages] == [64, 128, 256, 512]
    total = torch.zeros(1, 16, 2, 2)
    for stage, lateral in zip(stages[::-1], list(trunk.lateral)[::-1], strict=True):
        size = stage.shape[2:]
        total = nn.functional.interpolate(total, size, mode="bilinear") + lateral(stage)
    torch.testing.assert_close(trunk(image), total)


@pytest.mark.parametrize("name", ["res12", "pyramid"])
def test_every_parameter_of_a_residual_trunk_is_trained(name):
    trunk = build_trunk(name, 3, width=2)
    trunk(torch.rand(2, 3, 64, 64)).square().sum().backward()
    unused = [k for k, p in trunk.named_parameters() if p.grad is None]
    assert not unused


def test_res12_sees_no_more_than_its_two_stages():
    torch.manual_seed(0)
    trunk = build_trunk("res12", 1, width=2).double().eval()
    image = torch.rand(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(trunk(image)[0, :, 32, 32].sum(), image)
    rows = (gradient[0, 0] != 0).any(1).nonzero()
    # 99 pixels, and those of one neighbour more through the bilinear enlargement
    assert 80 < (rows.max() - rows.min() + 1).item() <= 99 + 8
