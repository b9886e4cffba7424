"""What the methods share that learn from labels by steps."""

import pytest
import torch
from small_methods import START, after_steps, labelled_batches, small_method


@pytest.mark.parametrize("name", ["supervised", "finetune", "semisup"])
def test_other_labels_give_other_weights(name):
    one, same = (after_steps(name).state_dict() for _ in range(2))
    other = after_steps(name, scramble=True).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["supervised", "semisup"])
def test_one_step_lowers_the_loss_of_a_fixed_batch(name):
    method = small_method(name)
    optimizer = method.configure_optimizer()
    batch = next(labelled_batches())
    before = method.training_step(batch, START).loss
    before.backward()
    optimizer.step()
    assert method.training_step(batch, START).loss < before
