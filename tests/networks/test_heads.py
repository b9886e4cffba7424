"""The 1×1 convolution commutes with bilinear upsampling."""

import pytest
import torch

from geoseg.errors import ParameterError
from geoseg.networks.heads import PixelHead, softmax, upsample


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
