import math

import pytest
import torch

from geoseg.core.errors import ShapeError
from geoseg.core.patches import IGNORE
from geoseg.methods.losses.cross_entropy import (
    labelled_cross_entropy,
    pixel_cross_entropy,
)


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 4, 5), generator=generator, dtype=torch.float64)
    mask = torch.randint(0, 3, (2, 4, 5), generator=generator)
    mask[0, :, 2:] = IGNORE
    return logits.requires_grad_(), mask


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5]).double()])
def test_it_is_the_loop_over_labelled_pixels(case, weights):
    logits, mask = case
    total = 0.0
    for n, row, col in (mask != IGNORE).nonzero().tolist():
        scores = logits[n, :, row, col].tolist()
        label = int(mask[n, row, col])
        own = math.log(sum(map(math.exp, scores))) - scores[label]
        total += own * (1.0 if weights is None else float(weights[label]))
    found = pixel_cross_entropy(logits, mask, weights)
    assert found.item() == pytest.approx(total / mask.numel(), rel=1e-12)


def test_the_gradient_is_that_of_differences(case):
    logits, mask = case
    assert torch.autograd.gradcheck(lambda z: pixel_cross_entropy(z, mask), logits)


def test_parts_of_a_batch_add_up_however_the_labels_lie(case):
    logits, mask = case
    whole = pixel_cross_entropy(logits, mask)
    parts = [pixel_cross_entropy(logits[n, None], mask[n, None]) for n in range(2)]
    torch.testing.assert_close(whole, sum(parts) / 2)


def test_no_label_at_all_gives_zero_and_zero_gradients(case):
    logits, mask = case
    loss = pixel_cross_entropy(logits, torch.full_like(mask, IGNORE))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_it_is_finite_at_the_extremes():
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1)
    mask = torch.ones((1, 1, 1), dtype=torch.long)
    assert float(pixel_cross_entropy(logits, mask)) == pytest.approx(2e4)


def test_a_mask_of_another_size_is_refused(case):
    logits, mask = case
    with pytest.raises(ShapeError, match="expected"):
        pixel_cross_entropy(logits, mask[:, :2])


def test_per_labelled_pixel_it_is_the_mean_of_the_loop(case):
    logits, mask = case
    count = int((mask != IGNORE).sum())
    whole = pixel_cross_entropy(logits, mask) * mask.numel() / count
    torch.testing.assert_close(labelled_cross_entropy(logits, mask), whole)
    none = torch.full_like(mask, IGNORE)
    assert float(labelled_cross_entropy(logits, none).detach()) == 0
