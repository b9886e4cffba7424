"""The 1×1 convolution commutes with bilinear upsampling."""

import pytest
import torch

from geoseg.core.errors import ParameterError
from geoseg.methods.networks.heads import PixelHead, SubHeads, softmax, upsample


@pytest.mark.parametrize("size", [(14, 10), (28, 20), (9, 13)])
def test_the_head_commutes_with_upsampling_bias_included(size):
    torch.manual_seed(0)
    head = PixelHead(6, 4).double()
    torch.nn.init.normal_(head.convolution.bias)
    features = torch.randn(2, 6, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(
        upsample(head(features), size),
        head(upsample(features, size)),
        rtol=1e-12,
        atol=1e-12,
    )


def test_doubling_a_ramp_puts_pixel_centres_at_a_half():
    ramp = torch.tensor([0.0, 1.0, 2.0]).view(1, 1, 1, 3)
    doubled = upsample(ramp, (1, 6)).flatten().tolist()
    assert doubled == pytest.approx([0.0, 0.25, 0.75, 1.25, 1.75, 2.0])


def test_logits_of_the_right_size_are_left_alone():
    logits = torch.rand(1, 2, 4, 4)
    assert upsample(logits, (4, 4)) is logits


def test_a_head_starts_with_no_preference():
    head = PixelHead(6, 4)
    assert head(torch.zeros(1, 6, 2, 2)).abs().max() == 0


def test_a_head_without_bias_has_none():
    assert PixelHead(6, 4, bias=False).convolution.bias is None


def test_a_head_of_one_cluster_is_refused():
    with pytest.raises(ParameterError, match="clusters is 1"):
        PixelHead(6, 1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_softmax_is_the_same_whatever_lies_last_in_memory(layout):
    logits = torch.randn(2, 5, 3, 4).contiguous(memory_format=layout)
    torch.testing.assert_close(softmax(logits), logits.softmax(dim=1))


def test_sub_heads_are_separate_pixel_heads_of_one_convolution():
    torch.manual_seed(0)
    heads = SubHeads(6, 4, 3).double()
    features = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    together = heads.convolution(features).split(4, dim=1)
    for number, expected in enumerate(together):
        torch.testing.assert_close(heads(features, number), expected)


def test_a_single_sub_head_is_a_pixel_head():
    torch.manual_seed(0)
    one = PixelHead(6, 4)
    torch.manual_seed(0)
    other = SubHeads(6, 4)
    assert list(one.state_dict()) == list(other.state_dict())
    features = torch.randn(2, 6, 5, 5)
    assert one(features).equal(other(features))


def test_the_sub_head_whose_losses_were_lowest_predicts_also_after_loading():
    heads = SubHeads(6, 4, 3)
    for step in range(300):  # the first leads for long, then the last
        heads.note(torch.tensor([-2.0, -1.0, 0.0 if step < 150 else -3.0]))
    assert heads.chosen() == 2
    features = torch.randn(1, 6, 2, 2)
    assert heads(features).equal(heads(features, 2))
    loaded = SubHeads(6, 4, 3)
    loaded.load_state_dict(heads.state_dict())
    assert loaded.chosen() == 2


def test_one_step_does_not_overturn_the_choice():
    heads = SubHeads(6, 4, 2)
    for _ in range(100):
        heads.note(torch.tensor([-1.0, -1.1]))
    heads.note(torch.tensor([-2.0, -1.1]))
    assert heads.chosen() == 1


def test_no_sub_head_is_refused():
    with pytest.raises(ParameterError, match="sub_heads is 0, expected at least 1"):
        SubHeads(6, 4, 0)
