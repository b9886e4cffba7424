"""MDC: one view, a classifier and its optimiser that start anew with every epoch."""

import pytest
import torch
import torch.nn.functional as F
from small_methods import unlabelled_batch, unlabelled_batches

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.methods import build_method
from geoseg.methods.bases.method import StepContext
from geoseg.methods.clustering.pseudo_labels import unpack_labels
from geoseg.methods.views.symmetries import apply_symmetry
from geoseg.training.schedules import Schedule

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"mdc": {"trunk": "vgg", "width": 2, "clusters": 6, "pixels": 1000}}
CONTEXT = StepContext(epoch=0, step=0, seed=0)


def build(**parameters):
    small = {"width": 2, "clusters": 5, "pixels": 1000, "start_batches": 2}
    return build_method("mdc", 3, small | parameters)


def train(method, optimizers, epochs):
    """Train by plain loops, with the optimisers of each epoch."""
    for epoch in range(epochs):
        context = StepContext(epoch, 3 * epoch, 0)
        method.begin_epoch(context, unlabelled_batches)
        current = optimizers(epoch)
        for patches in unlabelled_batches():
            for optimizer in current:
                optimizer.zero_grad()
            method.training_step(patches, context).loss.backward()
            for optimizer in current:
                optimizer.step()


def test_the_loss_is_the_cross_entropy_of_the_classifier_in_the_labelled_view():
    method = build()
    method.begin_epoch(CONTEXT, unlabelled_batches)
    method.eval()  # the same features at each call
    targets = method.targets["main"]
    codes = method.codes(unlabelled_batch().index, CONTEXT)
    lacking = torch.zeros((2, 8, 8), dtype=torch.bool)
    lacking[0, :1, :2] = True
    labels = unpack_labels(targets.labels[0])[:2]
    assert torch.equal(labels == -1, apply_symmetry(lacking, codes))
    z = method.see(unlabelled_batch(), CONTEXT).features[0]
    # labels are the nearest centroids of the very features that the step sees
    nearest = torch.cdist(z.permute(0, 2, 3, 1), targets.centroids[0][None]).argmin(-1)
    assert torch.equal(nearest[labels >= 0], labels[labels >= 0])
    weight, bias = method.classifier.parameters()
    logits = torch.einsum("ndhw,kd->nkhw", z, weight[:, :, 0, 0]) + bias[:, None, None]
    expected = F.cross_entropy(logits, labels, ignore_index=-1)
    torch.testing.assert_close(
        method.training_step(unlabelled_batch(), CONTEXT).loss, expected
    )


def test_the_classifier_starts_anew_with_every_epoch_and_by_seed_and_epoch_alone():
    first, second = build(clusters=50), build(clusters=50, learning_rate=0.1)
    drawn = []
    for epoch in range(2):
        for method in (first, second):
            method.begin_epoch(StepContext(epoch, 0, 7), unlabelled_batches)
            drawn.append(method.classifier.weight.detach().clone())
            assert not method.classifier.bias.any()
        torch.nn.init.ones_(second.classifier.bias)
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[2], drawn[3])
    assert not torch.equal(drawn[0], drawn[2])
    assert float(drawn[0].std()) == pytest.approx(0.01, rel=0.1)
    assert abs(float(drawn[0].mean())) < 0.001


@pytest.mark.slow
def test_one_optimiser_does_what_two_do_of_which_one_starts_anew():
    one, two = build(learning_rate=1e-2), build(learning_rate=1e-2)
    own = one.configure_optimizer()
    train(one, lambda epoch: [own], epochs=3)
    trunk = torch.optim.Adam(two.trunk.parameters(), lr=1e-2)
    train(
        two,
        lambda epoch: [trunk, torch.optim.Adam(two.classifier.parameters(), lr=1e-2)],
        epochs=3,
    )
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_the_trunk_s_rate_falls_every_twenty_epochs_and_the_classifier_s_does_not():
    method = build(learning_rate=1e-2)
    optimizer = method.configure_optimizer()
    scheduler = Schedule().over(
        optimizer, None, lambda group, step: method.rate_factor(group, step // 2)
    )
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    trunk, classifier = zip(*rates, strict=True)
    assert trunk == pytest.approx([1e-2] * 40 + [1e-3] * 40 + [1e-4] * 20)
    assert set(classifier) == {1e-2}


def test_a_step_on_a_fixed_batch_lowers_its_loss():
    method = build(learning_rate=1e-3)
    method.begin_epoch(CONTEXT, unlabelled_batches)
    optimizer = method.configure_optimizer()
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = method.training_step(unlabelled_batch(), CONTEXT).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_the_state_of_an_epoch_makes_a_copy_go_on_in_the_same_way():
    first, second = build(balance="inverse"), build(balance="inverse")
    first.begin_epoch(CONTEXT, unlabelled_batches)
    second.load_state_dict(first.state_dict())
    second.load_epoch_state(first.epoch_state())
    outputs = [m.training_step(unlabelled_batch(1), CONTEXT) for m in (first, second)]
    assert torch.equal(outputs[0].loss, outputs[1].loss)
    assert torch.equal(outputs[0].areas["main"], outputs[1].areas["main"])


def test_a_step_before_the_first_epoch_is_refused():
    with pytest.raises(TrainingError, match="no epoch has begun"):
        build().training_step(unlabelled_batch(), CONTEXT)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"final": "cosine"}, "similarity is 'cosine'"),
        ({"balance": "equal"}, "balance is 'equal'"),
        ({"start_batches": 0}, "start_batches is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"clusters": 1}, "head 'main' has 1 clusters"),
    ],
)
def test_parameters_without_a_meaning_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        build(**wrong)
