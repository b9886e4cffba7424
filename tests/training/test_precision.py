"""bf16: the layers compute in it, the losses do not."""

import csv

import pytest
import torch
from cases import NoiseLoader, small_iic

from geoseg.core.run_files import METRICS_NAME
from geoseg.methods.losses import information as losses
from geoseg.training.engine import fit
from geoseg.training.limits import Limits


def losses_of(run, precision) -> list[float]:
    run.mkdir()
    method = small_iic()
    limits = Limits(max_steps=8)
    fit(method, NoiseLoader(), run=run, limits=limits, precision=precision)
    assert {value.dtype for value in method.parameters()} == {torch.float32}
    with (run / METRICS_NAME).open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_bf16_stays_near_float32_and_the_joint_is_in_float32(tmp_path, monkeypatch):
    seen = []
    joint = losses.displaced_joint

    def watch(x, y, half_width):
        assert not torch.is_autocast_enabled("cpu")
        seen.append((x.dtype, y.dtype, joint(x, y, half_width).dtype))
        return joint(x, y, half_width)

    monkeypatch.setattr(losses, "displaced_joint", watch)
    exact = losses_of(tmp_path / "exact", "32-true")
    rough = losses_of(tmp_path / "rough", "bf16-mixed")
    assert rough != exact  # bfloat16 was at work
    # bfloat16 keeps 8 bits: probabilities move by 0.4 %, an information of 0.01 by less
    assert rough == pytest.approx(exact, abs=2e-3)
    assert set(seen) == {(torch.float32,) * 3}
