"""Networks asked in half precision and from all sides."""

import numpy as np
import pytest
import torch
from torch import Tensor

from geoseg.core.errors import ParameterError
from geoseg.core.normalization import Normalization
from geoseg.methods import build_method
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.model.inference import CPU_IMAGES, Inference, in_parts
from geoseg.model.matching import match_clusters


def network_model() -> Model:
    """A real network, untrained; every other cluster is a building."""
    torch.manual_seed(0)
    parameters = {"width": 4, "over_clusters": 4}
    method = build_method("iic", 3, parameters).eval().requires_grad_(False)
    bands = ("red", "green", "blue")
    card = ModelCard(
        method="iic",
        parameters=parameters,
        normalization=Normalization(bands, (0.0,) * 3, (1000.0,) * 3, (0.5,) * 3),
        head="over",
        matchings={"over": match_clusters(torch.eye(2).repeat(2, 1).long()[None])},
    )
    return Model(method, card)


@pytest.fixture(scope="module")
def model() -> Model:
    return network_model()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    valid = torch.ones(5, 40, 40, dtype=torch.bool)
    valid[:, :7, 30:] = False
    return torch.rand((5, 3, 40, 40), generator=generator), valid


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_image_gives_the_turned_average_to_the_bit(
    model: Model, batch: tuple[Tensor, Tensor], turns: int, mirrored: bool
) -> None:
    def move(x: Tensor) -> Tensor:
        x = torch.rot90(x, turns, (-2, -1))
        return (x.flip(-1) if mirrored else x).contiguous()

    image, valid = batch
    asked = model.with_inference(Inference(symmetries=True))
    straight = asked.class_probabilities(image, valid)
    moved = asked.class_probabilities(move(image), move(valid))
    assert torch.equal(move(straight), moved)
    assert straight.sum(1) == pytest.approx(1, abs=1e-6)


def test_the_average_is_that_of_eight_views(
    model: Model, batch: tuple[Tensor, Tensor]
) -> None:
    image, valid = batch
    views = []
    for turns in range(4):
        for mirror in (False, True):
            seen = torch.rot90(image, turns, (2, 3)), torch.rot90(valid, turns, (1, 2))
            seen = tuple(x.flip(-1) for x in seen) if mirror else seen
            found = model.cluster_probabilities(*(x.contiguous() for x in seen))
            found = found.flip(-1) if mirror else found
            views.append(torch.rot90(found, -turns, (2, 3)).double())
    expected = torch.stack(views).mean(0).numpy()
    asked = model.with_inference(Inference(symmetries=True))
    found = asked.cluster_probabilities(image, valid).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # A network that is not averaged does see a difference.
    assert np.abs(expected - model.cluster_probabilities(*batch).numpy()).max() > 1e-4


def test_half_precision_is_refused_on_a_cpu(model: Model) -> None:
    with pytest.raises(ParameterError, match="bf16-mixed takes .* on a CPU.* --device"):
        model.with_inference(Inference("bf16-mixed"))


def test_half_precision_changes_probabilities_a_little_and_not_their_type(
    model: Model, batch: tuple[Tensor, Tensor]
) -> None:
    exact = model.class_probabilities(*batch)
    half = Model(model.method, model.card, Inference("bf16-mixed"))
    found = half.class_probabilities(*batch)
    assert found.dtype == torch.float32
    assert found.sum(1) == pytest.approx(1, abs=0.01)
    difference = (found - exact).abs().max()
    assert 0 < difference < 0.05


def test_a_model_keeps_how_it_is_asked(model: Model) -> None:
    asked = model.with_inference(Inference(symmetries=True))
    assert asked.with_head("main").to("cpu").inference.symmetries


def test_parts_of_a_batch_follow_each_other() -> None:
    image, valid = torch.rand(5, 3, 4, 4), torch.ones(5, 4, 4).bool()
    parts = list(in_parts(image, valid))
    assert [len(part) for part, _ in parts] == [CPU_IMAGES] * len(image)
    assert torch.equal(torch.cat([part for part, _ in parts]), image)
