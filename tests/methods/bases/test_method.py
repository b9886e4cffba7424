"""Methods asked for prediction, whose trunks are folded then."""

import pytest
import torch
from small_methods import labelled_batches, small_method

from geoseg.core.normalization import Normalization
from geoseg.methods.bases.method import Method, StepContext
from geoseg.methods.networks import TRUNKS
from geoseg.methods.networks.vgg import DilatedVgg
from geoseg.model.card import ModelCard
from geoseg.model.file import Model, save_model
from geoseg.model.inference import Inference

NETWORKS = ("iic", "supervised", "semisup", "picie", "mdc", "probe", "random_trunk")
WITHOUT = ("color_kmeans", "majority", "threshold", "forest")


def model_of(method: Method) -> Model:
    stretch = Normalization(
        ("red", "green", "blue"), (0.0,) * 3, (1.0,) * 3, (0.5,) * 3
    )
    card = ModelCard(
        method="iic", parameters={}, normalization=stretch, head=method.default_head
    )
    return Model(method, card)


def trained(name: str, **changes) -> Method:
    """Return a method after some steps, so that its statistics are of the data."""
    method = small_method(name, 3, **changes).train()
    learn(method, range(2))
    method.finish(lambda: labelled_batches(3))
    return method.eval()


@torch.enable_grad()
def learn(method: Method, epochs: range) -> None:
    """Make the steps of some epochs."""
    if not method.gradient:
        return
    optimizer = method.configure_optimizer()
    for epoch in epochs:
        method.train()
        method.begin_epoch(
            StepContext(epoch, 3 * epoch, 0), lambda: labelled_batches(3, side=32)
        )
        method.train()
        for step, batch in enumerate(labelled_batches(3, side=32)):
            context = StepContext(epoch, 3 * epoch + step, 0)
            optimizer.zero_grad()
            method.training_step(batch, context).loss.backward()
            optimizer.step()


def image_and_valid(side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    image = torch.rand((2, 3, side, side), generator=generator)
    valid = torch.ones((2, side, side), dtype=torch.bool)
    valid[0, :3, :4] = False
    return image, valid


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_model_predicts_folded_what_its_method_gives(name):
    method, batch = trained(name), image_and_valid()
    assert method.for_prediction() is not method
    for head in method.heads:
        found = model_of(method).cluster_probabilities(*batch, head)
        expected = method.predict(*batch, head)
        off = (found - expected).abs().amax(dim=1) >= 1e-5
        # where a pixel lies between two centroids, rounding may tip it over
        assert off.float().mean() <= (1e-3 if method.jumps else 0)
        assert torch.equal(found, model_of(method).cluster_probabilities(*batch, head))


@pytest.mark.slow
@pytest.mark.parametrize("trunk", TRUNKS)
@torch.no_grad()
def test_the_probabilities_of_all_trunks_stay(trunk):
    method, batch = trained("iic", trunk=trunk, width=4), image_and_valid()
    found = model_of(method).cluster_probabilities(*batch)
    # image by image, as a model predicts on a CPU: batches may take other kernels
    each = zip(*(tensor.split(1) for tensor in batch), strict=True)
    expected = torch.cat([method.predict(*one) for one in each])
    difference = (found - expected).abs().max()
    assert 0 < difference < 1e-5 if trunk == "vgg" else difference == 0


@torch.no_grad()
def test_a_model_folds_once(monkeypatch):
    folded, fold = [], DilatedVgg.for_prediction
    monkeypatch.setattr(
        DilatedVgg, "for_prediction", lambda trunk: folded.append(trunk) or fold(trunk)
    )
    model, (image, valid) = model_of(trained("iic")), image_and_valid()
    first = model.cluster_probabilities(image, valid)
    assert torch.equal(model.cluster_probabilities(image, valid), first)
    assert folded == [model.method.trunk]
    model.with_inference(Inference()).cluster_probabilities(image, valid)
    assert len(folded) == 2


@pytest.mark.parametrize("name", WITHOUT)
def test_a_method_without_a_trunk_predicts_as_it_is(name):
    method = trained(name)
    assert method.for_prediction() is method


def test_a_training_goes_on_to_the_same_bits_after_predicting():
    straight, stopped = (small_method("iic", 3) for _ in range(2))
    optimizers = [method.configure_optimizer() for method in (straight, stopped)]

    def step(number: int) -> None:
        batch = list(labelled_batches(3))[number]
        for method, optimizer in zip((straight, stopped), optimizers, strict=True):
            optimizer.zero_grad()
            method.training_step(batch, StepContext(0, number, 0)).loss.backward()
            optimizer.step()

    seen = []
    for number in range(3):
        step(number)
        stopped.eval()
        with torch.no_grad():
            seen.append(model_of(stopped).cluster_probabilities(*image_and_valid()))
            expected = stopped.predict(*image_and_valid())
        torch.testing.assert_close(seen[-1], expected, rtol=0, atol=1e-5)
        stopped.train()
    assert not torch.equal(seen[0], seen[1])
    states = [method.state_dict() for method in (straight, stopped)]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_predicting_leaves_the_bytes_of_the_model_file(tmp_path):
    model = model_of(trained("iic"))
    save_model(tmp_path / "before", model)
    with torch.no_grad():
        model.cluster_probabilities(*image_and_valid())
    save_model(tmp_path / "after", model)
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


@torch.no_grad()
def test_half_precision_and_symmetries_work_folded():
    method, batch = trained("iic"), image_and_valid()
    exact = method.predict(*batch)
    half = Model(method, model_of(method).card, Inference("bf16-mixed"))
    assert (half.cluster_probabilities(*batch) - exact).abs().max() < 0.05
    every = model_of(method).with_inference(Inference(symmetries=True))
    views = Inference(symmetries=True)(
        lambda image, valid: {"main": method.predict(image, valid)}, *batch
    )
    found = every.cluster_probabilities(*batch)
    torch.testing.assert_close(found, views["main"], rtol=0, atol=1e-5)


def test_a_model_that_moves_is_folded_anew():
    method, (image, valid) = trained("iic"), image_and_valid()
    model = model_of(method)
    with torch.no_grad():
        model.cluster_probabilities(image, valid)
        method.double()
        found = method.for_prediction().predict(image.double(), valid)
        expected = method.predict(image.double(), valid)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
