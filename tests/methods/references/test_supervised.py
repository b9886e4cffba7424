from dataclasses import replace

import pytest
import torch
from small_methods import START, labelled_batches, small_method

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE
from geoseg.methods.bases.method import StepContext

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"supervised": {"width": 2}, "finetune": {"width": 2}}


def test_labels_turn_with_their_patches():
    # The classes are the sides of the colours: to learn them, both have to turn alike.
    method = small_method("supervised", jitter=0.0, learning_rate=0.03, width=4)
    optimizer = method.configure_optimizer()
    batch = next(labelled_batches(side=32))
    image = batch.image.clone()
    image[:, :, :, 16:] += 1.0
    mask = torch.zeros_like(batch.mask)
    mask[:, :, 16:] = 1
    batch = replace(batch, image=image, mask=mask)
    for step in range(40):
        optimizer.zero_grad()
        # Another seed, another turn.
        method.training_step(batch, StepContext(0, step, step)).loss.backward()
        optimizer.step()
    method.eval()
    with torch.no_grad():
        found = method.predict(image, batch.valid).argmax(dim=1)
    assert float((found == mask).float().mean()) > 0.9


def test_labels_of_pixels_without_data_do_not_count():
    batch = next(labelled_batches())
    valid = batch.valid.clone()
    valid[:, :8] = False
    wrong = batch.mask.clone()
    wrong[:, :8] = 1 - wrong[:, :8]
    method = small_method("supervised")
    losses = [
        method.training_step(replace(batch, valid=valid, mask=mask), START).loss
        for mask in (batch.mask, wrong)
    ]
    assert losses[0] == losses[1]


def test_a_batch_without_labels_has_loss_zero_and_moves_nothing():
    batch = next(labelled_batches())
    blank = replace(batch, mask=torch.full_like(batch.mask, IGNORE))
    method = small_method("supervised")
    output = method.training_step(blank, START)
    output.loss.backward()
    assert float(output.loss.detach()) == 0
    assert not any(p.grad.any() for p in method.parameters())


@pytest.mark.parametrize("name", ["supervised", "semisup"])
def test_inverse_balance_lets_rare_classes_pull_as_much_as_common_ones(name):
    batches = list(labelled_batches())
    method = small_method(name, balance="inverse")
    method.begin_epoch(START, lambda: batches)
    counts = torch.stack([b.mask.flatten().bincount(minlength=2) for b in batches])
    pull = counts.sum(0) * method.class_weights
    assert float(pull[0]) == pytest.approx(float(pull[1]), rel=1e-5)
    # A mean pixel weighs 1, so that the learning rate keeps its meaning.
    assert float(pull.sum()) == pytest.approx(float(counts.sum()), rel=1e-5)


@pytest.mark.parametrize("name", ["supervised", "semisup"])
def test_the_weights_of_classes_are_counted_once_and_survive_a_resume(name):
    method = small_method(name, balance="inverse")
    method.begin_epoch(START, labelled_batches)
    weights = method.class_weights
    scrambled = lambda: labelled_batches(scramble=True)  # noqa: E731
    method.begin_epoch(StepContext(1, 3, 0), scrambled)
    assert torch.equal(method.class_weights, weights)
    resumed = small_method(name, balance="inverse")
    resumed.load_epoch_state(method.epoch_state())
    resumed.begin_epoch(StepContext(1, 3, 0), scrambled)
    assert torch.equal(resumed.class_weights, weights)


@pytest.mark.parametrize("name", ["supervised", "semisup"])
def test_an_unknown_balance_is_refused(name):
    with pytest.raises(ParameterError, match="balance is 'even', expected one of"):
        small_method(name, balance="even")
