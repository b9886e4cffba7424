import pytest
import torch

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.methods import build_method

#: For ``small_methods``: parameters that train in a moment.
SIZES = {
    "majority": {},
    "color_kmeans": {"clusters": 6, "pixels": 1000},
    "random_trunk": {"width": 2, "clusters": 6, "pixels": 1000},
}


def batch_of(image: torch.Tensor, valid: torch.Tensor) -> PatchBatch:
    mask = torch.full(valid.shape, IGNORE)
    return PatchBatch(image, valid, mask, torch.arange(len(image)))


def test_colour_kmeans_finds_the_colours_of_a_flag():
    colours = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    image = colours[torch.arange(12) // 4].T.reshape(1, 2, 1, 12).repeat(1, 1, 8, 1)
    valid = torch.ones((1, 8, 12), dtype=torch.bool)
    method = build_method("color_kmeans", 2, {"clusters": 3})
    method.finish(lambda: [batch_of(image, valid)])
    ids = method.predict(image, valid).argmax(dim=1)[0]
    assert ids.unique().numel() == 3
    for stripe in ids.split(4, dim=1):
        assert stripe.unique().numel() == 1


def test_invalid_pixels_do_not_count():
    image = torch.zeros((1, 1, 4, 8))
    image[..., 2:4], image[..., 4:] = 1.0, 100.0
    valid = torch.ones((1, 4, 8), dtype=torch.bool)
    valid[..., 4:] = False
    method = build_method("color_kmeans", 1, {"clusters": 2})
    method.finish(lambda: [batch_of(image, valid)])
    assert method.centroids.flatten().sort().values.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", ["color_kmeans", "random_trunk"])
def test_no_valid_pixel_is_an_error(name):
    image, valid = torch.rand((1, 3, 16, 16)), torch.zeros((1, 16, 16)).bool()
    method = build_method(name, 3)
    with pytest.raises(TrainingError, match="no pixel of the training patches"):
        method.finish(lambda: [batch_of(image, valid)])


def test_a_random_trunk_keeps_its_weights_and_scales_its_outputs():
    image = 50 + 10 * torch.randn(
        (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)
    )
    valid = torch.ones((4, 32, 32), dtype=torch.bool)
    method = build_method("random_trunk", 3, {"width": 2, "clusters": 4})
    weights = [p.clone() for p in method.parameters()]
    method.finish(lambda: [batch_of(image, valid)])
    assert all(torch.equal(a, b) for a, b in zip(weights, method.parameters()))
    norm = next(m for m in method.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.running_mean.abs().sum() > 0


def labelled(mask: torch.Tensor) -> PatchBatch:
    valid = torch.ones(mask.shape, dtype=torch.bool)
    image = torch.zeros((len(mask), 3, *mask.shape[1:]))
    return PatchBatch(image, valid, mask, torch.arange(len(mask)))


def test_the_majority_is_that_of_valid_labelled_pixels():
    mask = torch.tensor([[[0, 1, 1, 1], [2, 2, 2, 2], [IGNORE, IGNORE, 0, 0]]])
    batch = labelled(mask)
    batch.valid[0, 1, :3] = False
    method = build_method("majority", 3, {"classes": 3})
    method.finish(lambda: [batch, batch])
    assert method.counts.tolist() == [6, 6, 2]
    shares = method.predict(torch.rand(1, 3, 5, 7), torch.ones(1, 5, 7).bool())
    torch.testing.assert_close(shares[0, :, 4, 6], torch.tensor([6.0, 6, 2]) / 14)


def test_a_majority_needs_labels_of_its_classes():
    method = build_method("majority", 3)
    with pytest.raises(TrainingError, match="no pixel .* has a label"):
        method.finish(lambda: [labelled(torch.full((1, 4, 4), IGNORE))])
    with pytest.raises(ParameterError, match="class 2, expected ids below classes=2"):
        method.finish(lambda: [labelled(torch.full((1, 4, 4), 2))])
