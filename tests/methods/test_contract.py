"""What every method promises (``methods/bases/method.py``), those added later included."""

import pytest
import torch
from small_methods import (
    SMALL,
    Batches,
    declared_sizes,
    labelled_batches,
    small_method,
)

from geoseg.core.normalization import Normalization
from geoseg.methods import METHODS, method_class
from geoseg.methods.bases.method import Method, StepContext
from geoseg.model.card import ModelCard
from geoseg.model.file import Model, load_model, save_model
from geoseg.training.engine import fit
from geoseg.training.limits import Limits

pytestmark = pytest.mark.slow  # some hundred short trainings

GRADIENT = [name for name in METHODS if method_class(name).gradient]
STEPS = Limits(max_steps=5)


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture
def run(tmp_path):
    def train(method: Method, folder="run", limits=STEPS, resume=False, **options):
        """Train it on batches with these options, and return its state."""
        (tmp_path / folder).mkdir(exist_ok=True)
        loader = Batches(**options)
        fit(
            *(method, loader),
            run=tmp_path / folder,
            limits=limits,
            resume=resume,
            stop_on_collapse=False,
            checkpoint_seconds=1e9,
        )
        return {key: value.clone() for key, value in method.state_dict().items()}

    return train


def equal(first, second) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[key], second[key]) for key in first)


def image_of(channels=3, height=13, width=9):
    generator = torch.Generator().manual_seed(5)
    image = torch.rand((2, channels, height, width), generator=generator)
    valid = torch.ones((2, height, width), dtype=torch.bool)
    valid[0, :3, :4] = False
    return image, valid


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_small_size(method):
    folder = METHODS[method].module.partition(".")[0]
    assert method in SMALL, (
        f"{method} has no small size: write SIZES = {{{method!r}: {{...}}}}, parameters "
        f"that train in a moment, into its test in tests/methods/{folder}/"
    )


def test_small_sizes_are_those_of_methods():
    assert SMALL.keys() <= METHODS.keys()


def test_a_size_is_declared_once(tmp_path):
    (tmp_path / "test_a.py").write_text('SIZES = {"a": {"width": 2}, "b": {}}')
    assert declared_sizes(tmp_path) == {"a": {"width": 2}, "b": {}}
    (tmp_path / "test_b.py").write_text('SIZES = {"b": {}}')
    with pytest.raises(AssertionError, match="test_b.py: SIZES of another test"):
        declared_sizes(tmp_path)


def test_labels_matter_to_the_methods_that_say_so_and_to_no_other(name, run):
    plain = run(small_method(name, 3), "plain")
    scrambled = run(small_method(name, 3), "scrambled", scramble=True)
    assert equal(plain, scrambled) is not method_class(name).uses_labels


def test_equal_trainings_give_equal_bits_and_draw_no_global_chance(name, run):
    torch.manual_seed(1)
    first = run(small_method(name, 3), "first")
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = run(small_method(name, 3), "second")
    assert equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", GRADIENT)
def test_a_training_that_stops_within_an_epoch_goes_on_to_the_same_bits(name, run):
    whole = run(small_method(name, 3), "whole")
    run(small_method(name, 3), "parts", Limits(max_steps=2))
    parts = run(small_method(name, 3, seed=9), "parts", resume=True)
    assert equal(whole, parts)


@pytest.mark.parametrize("name", GRADIENT)
def test_small_steps_lower_the_loss_of_a_fixed_batch(name):
    torch.manual_seed(0)
    method = small_method(name, 3).train()
    context = StepContext(epoch=0, step=0, seed=0)
    method.begin_epoch(context, labelled_batches_of_three)
    batch = next(labelled_batches(3))
    optimizer = method.configure_optimizer()
    losses = []
    for _ in range(6):
        loss = method.training_step(batch, context).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def labelled_batches_of_three():
    return labelled_batches(3)


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_any_bands_and_odd_sizes_give_probabilities(name, channels, run):
    method = small_method(name, channels)
    run(method, limits=Limits(max_steps=1), channels=channels)
    method.eval()
    for height, width in ((13, 9), (1, 1), (33, 16)):
        image, valid = image_of(channels, height, width)
        for head, clusters in method.heads.items():
            with torch.no_grad():
                found = method.predict(image, valid, head)
            assert found.shape == (2, clusters, height, width)
            assert 0 <= found.min() and found.max() <= 1 + 1e-6
            torch.testing.assert_close(found.sum(1), torch.ones(2, height, width))


def test_predicting_changes_neither_state_nor_chance(name, run):
    method = small_method(name, 3)
    run(method, limits=Limits(max_steps=1))
    method.eval()
    state = {key: value.clone() for key, value in method.state_dict().items()}
    chance = torch.get_rng_state()
    image, valid = image_of()
    with torch.no_grad():
        first, second = (method.predict(image, valid) for _ in range(2))
    assert torch.equal(first, second)
    assert equal(state, method.state_dict())
    assert torch.equal(torch.get_rng_state(), chance)


def test_the_model_file_holds_all_that_prediction_needs(name, run, tmp_path):
    method = small_method(name, 3)
    run(method, limits=Limits(max_steps=1))
    bands = ("red", "green", "blue")
    card = ModelCard(
        method=name,
        parameters=SMALL[name],
        normalization=Normalization(bands, (0.0,) * 3, (1.0,) * 3, (0.5,) * 3),
        head=method.default_head,
    )
    save_model(tmp_path / "model.safetensors", Model(method.eval(), card))
    loaded = load_model(tmp_path / "model.safetensors").method
    image, valid = image_of()
    with torch.no_grad():
        for head in method.heads:
            expected = method.predict(image, valid, head)
            assert torch.equal(loaded.predict(image, valid, head), expected)


def test_a_head_of_classes_is_a_head_of_a_method_that_uses_labels(name):
    method = small_method(name, 3)
    if method.class_head is not None:
        assert method.uses_labels
        assert method.class_head in method.heads
