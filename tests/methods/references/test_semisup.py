from dataclasses import replace

import pytest
import torch
from small_methods import START, after_steps, labelled_batches, small_method

from geoseg.core.errors import ParameterError
from geoseg.core.patches import IGNORE
from geoseg.methods import build_method
from geoseg.methods.bases.method import StepContext
from geoseg.methods.references.semisup import AVERAGED

#: For ``small_methods``: parameters that train in a moment.
SIZES = {"semisup": {"width": 2, "over_clusters": 6, "half_width": 2}}


def learned(method) -> dict[str, torch.Tensor]:
    state = method.learner.state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


def test_the_loss_is_that_of_labels_plus_alpha_times_the_information():
    batch = next(labelled_batches())
    output = small_method("semisup", alpha=0.3).training_step(batch, START)
    total = output.logs["supervised"] + 0.3 * output.logs["information"]
    assert float(output.loss.detach()) == pytest.approx(float(total))
    iic = small_method("iic")
    iic.trunk.load_state_dict(small_method("semisup").learner["trunk"].state_dict())
    iic.over.load_state_dict(small_method("semisup").learner["over"].state_dict())
    iic.half_width = 2
    expected = float(iic.training_step(batch, START).loss.detach())
    assert float(output.logs["information"]) == pytest.approx(expected, rel=1e-5)


def test_without_alpha_it_is_supervised():
    batch = next(labelled_batches())
    method, other = small_method("semisup", alpha=0.0), small_method("supervised")
    other.trunk.load_state_dict(method.trunk.state_dict())
    other.head.load_state_dict(method.classes.state_dict())
    found, expected = (m.training_step(batch, START) for m in (method, other))
    torch.testing.assert_close(found.loss, expected.loss)
    found.loss.backward()
    expected.loss.backward()
    for name, parameter in other.trunk.named_parameters():
        twin = method.learner["trunk"].get_parameter(name)
        torch.testing.assert_close(twin.grad, parameter.grad)
    assert all(p.grad is None for p in method.learner["over"].parameters())


def test_patches_without_labels_weigh_in_the_information_alone():
    batch = next(labelled_batches())
    half = batch.mask.clone()
    half[1] = IGNORE
    one = replace(batch, mask=half)
    method = small_method("semisup", symmetries=False, jitter=0.0).eval()
    labels = float(method.training_step(one, START).logs["supervised"])
    # Of the labelled patch by itself the mean over its pixels is the same.
    alone = replace(
        batch,
        **{k: getattr(batch, k)[:1] for k in ("image", "valid", "mask", "index")},
    )
    expected = float(method.training_step(alone, START).logs["supervised"])
    assert labels == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_labels_has_a_finite_loss_and_trains_the_trunk():
    batch = next(labelled_batches())
    blank = replace(batch, mask=torch.full_like(batch.mask, IGNORE))
    method = small_method("semisup")
    output = method.training_step(blank, START)
    output.loss.backward()
    assert output.loss.isfinite() and float(output.logs["supervised"]) == 0
    assert not method.learner["classes"].convolution.weight.grad.any()
    assert next(method.learner["trunk"].parameters()).grad.any()


@pytest.mark.parametrize("decay", [0.6, 0.99])
def test_the_teacher_is_the_running_mean_by_an_explicit_loop(decay):
    method = small_method("semisup", decay=decay)
    optimizer = method.configure_optimizer()
    seen = []
    for step, batch in enumerate(labelled_batches(count=5)):
        optimizer.zero_grad()
        method.training_step(batch, StepContext(0, step, 0)).loss.backward()
        optimizer.step()
        seen.append(learned(method))
    method.finish(labelled_batches)
    expected = seen[0]
    for t, weights in enumerate(seen[1:], start=2):
        keep = min(decay, 1 - 1 / t)
        expected = {
            name: keep * mean + (1 - keep) * weights[name]
            for name, mean in expected.items()
        }
    state = method.state_dict()
    for name, value in expected.items():
        if value.is_floating_point() and "num_batches" not in name:
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-6)
    if decay > 0.9:  # five steps: still the plain mean
        name = "classes.convolution.weight"
        mean = torch.stack([weights[name] for weights in seen]).mean(0)
        torch.testing.assert_close(state[name], mean)


def test_the_teacher_predicts():
    method = after_steps("semisup").eval()
    batch = next(labelled_batches())
    with torch.no_grad():
        before = method.predict(batch.image, batch.valid)
        for parameter in method.learner.parameters():
            parameter.zero_()
        assert torch.equal(method.predict(batch.image, batch.valid), before)


def test_only_the_learner_learns():
    method = small_method("semisup")
    numbers = {
        p
        for group in method.configure_optimizer().param_groups
        for p in group["params"]
    }
    assert numbers == set(method.learner.parameters())
    assert not any(
        p.requires_grad
        for name in AVERAGED
        for p in method.get_submodule(name).parameters()
    )


def test_it_goes_on_with_the_trunk_and_the_clusters_of_iic():
    iic = small_method("iic", seed=5)
    method = small_method("semisup")
    method.start_from(iic)
    for state in (method.state_dict(), method.learner.state_dict()):
        for name in ("trunk", "over"):
            for key, tensor in iic.get_submodule(name).state_dict().items():
                assert torch.equal(state[f"{name}.{key}"], tensor)


def test_clusters_of_another_number_start_anew():
    method = small_method("semisup")
    before = method.over.convolution.weight.clone()
    method.start_from(small_method("iic", over_clusters=7))
    assert torch.equal(method.over.convolution.weight, before)


def test_what_predicts_can_be_probed():
    method = after_steps("semisup")
    probe = build_method("probe", 4, {"width": 2})
    probe.start_from(method)
    batch = next(labelled_batches())
    with torch.no_grad():
        found, expected = (
            m.eval().features(batch.image, batch.valid) for m in (probe, method)
        )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"decay": 1.0}])
def test_values_without_a_meaning_are_refused(wrong):
    with pytest.raises(
        ParameterError, match="expected alpha of 0 or more and decay in"
    ):
        small_method("semisup", **wrong)
