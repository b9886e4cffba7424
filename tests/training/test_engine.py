import csv
import io
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from cases import LabelledLoader, NoiseLoader, PixelMean, seeded, small_iic

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import PatchBatch
from geoseg.core.run_files import AREAS_NAME, CHECKPOINT_NAME, METRICS_NAME
from geoseg.methods import build_method
from geoseg.methods.bases.method import StepOutput
from geoseg.training.engine import fit
from geoseg.training.limits import Limits
from geoseg.training.schedules import Schedule

# A kill has to be a kill of a process; the script trains there and here alike.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path[:0] = {tests!r}
from cases import LabelledLoader, NoiseLoader, small_iic
from geoseg.training.engine import fit
from geoseg.training.limits import Limits

def die(step):
    if step == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)

run = Path({run!r})
method = small_iic()
fit(method, NoiseLoader(), run=run, limits=Limits(max_steps=14), resume=True,
    checkpoint_steps=2, on_step=die, seed=3)
torch.save(method.state_dict(), run / "weights.pt")
"""


def train_in_a_process(run, kill_at: int) -> int:
    run.mkdir(exist_ok=True)
    here = os.path.dirname(__file__)
    code = SCRIPT.format(
        tests=[here, os.path.join(here, os.pardir, "methods")],
        run=os.fspath(run),
        kill_at=kill_at,
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode


def rows(run, name=METRICS_NAME) -> list[dict[str, str]]:
    with (run / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_who_waits_at_a_terminal_sees_each_pass_of_a_method_without_steps(
    tmp_path, monkeypatch
):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    logging.getLogger("geoseg").setLevel(logging.INFO)
    method = build_method("color_kmeans", 3, {"clusters": 2, "pixels": 100})
    fit(method, NoiseLoader(), run=tmp_path, limits=Limits())
    assert "fitting: 100%" in terminal.getvalue() and "5/5" in terminal.getvalue()


@pytest.mark.slow
def test_a_run_killed_at_three_points_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train_in_a_process(whole, kill_at=-1) == 0
    for step in (3, 7, 11):  # each in the middle of an epoch of five batches
        assert train_in_a_process(killed, kill_at=step) == -signal.SIGKILL
    assert train_in_a_process(killed, kill_at=-1) == 0
    expected = torch.load(whole / "weights.pt", weights_only=True)
    found = torch.load(killed / "weights.pt", weights_only=True)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert rows(killed) == rows(whole)
    assert rows(killed, AREAS_NAME) == rows(whole, AREAS_NAME)


def test_training_stops_after_the_steps_that_the_epochs_make(tmp_path):
    result = fit(small_iic(), NoiseLoader(), run=tmp_path, limits=Limits(max_epochs=2))
    assert result.steps == 10
    assert [int(row["step"]) for row in rows(tmp_path)] == list(range(1, 11))
    assert [int(row["epoch"]) for row in rows(tmp_path)] == [0] * 5 + [1] * 5


def test_training_stops_after_the_time(tmp_path):
    limits = Limits(max_time=timedelta(seconds=1))
    started = time.monotonic()
    result = fit(small_iic(), NoiseLoader(), run=tmp_path, limits=limits)
    assert 0 < result.steps
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("tasks", [None, "2"])
def test_a_cluster_that_schedules_jobs_does_not_disturb_a_training(
    tmp_path, monkeypatch, tasks
):
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    if tasks is not None:  # within a job of several tasks
        monkeypatch.setenv("SLURM_NTASKS", tasks)
        monkeypatch.setenv("SLURM_JOB_NAME", "train")
    result = fit(small_iic(), NoiseLoader(), run=tmp_path, limits=Limits(max_steps=1))
    assert result.steps == 1


def test_a_limit_is_needed(tmp_path):
    with pytest.raises(TrainingError, match="no limit is set"):
        fit(small_iic(), NoiseLoader(), run=tmp_path, limits=Limits())


def test_ctrl_c_ends_after_the_step_and_leaves_a_checkpoint(tmp_path):
    def press(step: int) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = fit(
        small_iic(),
        NoiseLoader(),
        run=tmp_path,
        limits=Limits(max_steps=100),
        on_step=press,
    )
    assert result.interrupted
    assert result.steps == 3
    assert (tmp_path / CHECKPOINT_NAME).exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    method = small_iic()
    method.training_step = lambda batch, context: StepOutput(
        next(method.parameters()).sum() * float("nan"), {}
    )
    with pytest.raises(TrainingError, match="the loss is nan at step 0"):
        fit(method, NoiseLoader(), run=tmp_path, limits=Limits(max_steps=2))


def test_an_unsupervised_method_is_blind_to_masks(tmp_path):
    class Labelled(NoiseLoader):
        def batches(self, epoch, start=0):
            for batch in super().batches(epoch, start):
                mask = torch.randint(0, 2, batch.mask.shape)
                yield PatchBatch(batch.image, batch.valid, mask, batch.index)

    states = []
    for loader in (NoiseLoader(), Labelled()):
        method = small_iic()
        fit(method, loader, run=tmp_path, limits=Limits(max_steps=3))
        states.append(method.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_log_shows_collapse_and_confidence(tmp_path):
    fit(small_iic(), NoiseLoader(), run=tmp_path, limits=Limits(max_steps=1))
    row = rows(tmp_path)[0]
    assert 0 <= float(row["entropy"]) <= 1
    assert 1 / 5 <= float(row["confidence"]) <= 1


def test_the_areas_of_a_trained_head_are_logged_and_sum_to_one(tmp_path):
    fit(small_iic(), NoiseLoader(), run=tmp_path, limits=Limits(max_steps=6))
    logged = rows(tmp_path, AREAS_NAME)
    heads = [(row["step"], row["head"]) for row in logged]
    assert heads == [(str(n), "over") for n in range(1, 6)] + [("6", "main")]
    for row in logged:
        shares = [row[f"area_{k}"] for k in range(5)]
        assert sum(float(share) for share in shares if share) == pytest.approx(1)
        assert shares.count("") == (2 if row["head"] == "main" else 0)


def test_the_parts_of_a_batch_add_up_to_it_where_the_loss_is_a_mean(tmp_path):
    states = []
    for parts in (1, 2, 4):
        run = tmp_path / str(parts)
        run.mkdir()
        method = seeded(PixelMean)
        loader = NoiseLoader(patches=4)
        limits = Limits(max_epochs=2)
        result = fit(method, loader, run=run, limits=limits, accumulate=parts)
        assert result.steps == 10
        assert [int(row["step"]) for row in rows(run)] == list(range(1, 11))
        states.append((method.state_dict(), [float(row["loss"]) for row in rows(run)]))
    (expected, losses), *others = states
    for found, found_losses in others:
        assert found_losses == pytest.approx(losses, rel=1e-5)
        for name in expected:
            torch.testing.assert_close(found[name], expected[name])


def test_a_loss_that_couples_the_batch_does_not_accumulate(tmp_path):
    with pytest.raises(ParameterError, match="give a larger --batch-size, more --dev"):
        fit(
            small_iic(),
            NoiseLoader(),
            run=tmp_path,
            limits=Limits(max_steps=1),
            accumulate=2,
        )


def test_a_batch_that_does_not_fall_into_equal_parts_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="4 patches cannot be split into 3 equal"):
        fit(
            seeded(PixelMean),
            NoiseLoader(patches=4),
            run=tmp_path,
            limits=Limits(max_steps=1),
            accumulate=3,
        )


@pytest.mark.parametrize("name", ["picie", "mdc"])
def test_what_an_epoch_began_with_outlasts_a_stop_within_it(name, tmp_path):
    def train(run, *, steps, resume=False):
        run.mkdir(exist_ok=True)
        method = build_method(
            name,
            *(3, {"trunk": "vgg", "width": 2, "clusters": 4, "learning_rate": 1e-3}),
            seed=1,
        )
        limits = Limits(max_steps=steps)
        fit(method, NoiseLoader(), run=run, limits=limits, resume=resume)
        return method.state_dict()

    whole = train(tmp_path / "whole", steps=8)
    train(tmp_path / "parts", steps=7)  # two steps into the second epoch of five
    parts = train(tmp_path / "parts", steps=8, resume=True)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_without_a_terminal_a_line_says_now_and_then_how_far_it_is(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("geoseg.training.callbacks.LINE_SECONDS", (0.0, 1e9))
    caplog.set_level("INFO", logger="geoseg")
    fit(small_iic(), NoiseLoader(), run=tmp_path, limits=Limits(max_steps=20))
    lines = [line for line in caplog.messages if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == [
        f"step {step} of 20" for step in range(2, 21, 2)
    ]
    assert all("loss " in line and line.endswith(" left") for line in lines)


class TickingLoader(NoiseLoader):
    """A second goes by, on a clock of its own, for every batch that is read."""

    def __init__(self, monkeypatch, **options):
        super().__init__(**options)
        self.now, self.read = 0.0, list[tuple[int, int]]()
        clock = SimpleNamespace(monotonic=lambda: self.now)
        for module in ("geoseg.training.callbacks", "geoseg.training.passes"):
            monkeypatch.setattr(f"{module}.time", clock)

    def batches(self, epoch, start=0):
        for number, batch in enumerate(super().batches(epoch, start), start):
            self.now += 1
            self.read.append((epoch, number))
            yield batch


def labelling(name="picie"):
    parameters = {"trunk": "vgg", "width": 2, "clusters": 4, "learning_rate": 1e-3}
    return build_method(name, 3, parameters, seed=1)


def timed(seconds, **more):
    return Limits(max_time=timedelta(seconds=seconds), **more)


@pytest.mark.parametrize("name", ["picie", "mdc"])
def test_an_epoch_that_there_is_no_time_for_is_not_begun(name, tmp_path, monkeypatch):
    """Two passes of 5 batches begin an epoch; the last fit has a tenth of the time."""
    whole, parts = labelling(name), labelling(name)
    schedule = Schedule("linear")
    limits = Limits(max_steps=7)
    (tmp_path / "whole").mkdir()
    fit(whole, NoiseLoader(), run=tmp_path / "whole", limits=limits, schedule=schedule)
    loader = TickingLoader(monkeypatch)
    # 10 s to begin, 5 for steps; in the midst of what begins the second epoch it is over
    limits = timed(20, max_steps=7)
    result = fit(parts, loader, run=tmp_path, limits=limits, schedule=schedule)
    assert result.steps == 5 and 18 <= result.seconds < 20
    assert loader.read.count((1, 0)) == 2 + 1  # begun, fetched ahead, and the last fit
    parts = labelling(name)
    limits = Limits(max_steps=7)
    options = {"run": tmp_path, "limits": limits, "schedule": schedule, "resume": True}
    assert fit(parts, NoiseLoader(), **options).steps == 7
    expected = whole.state_dict()
    found = parts.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert rows(tmp_path) == rows(tmp_path / "whole")


def test_no_time_for_the_first_epoch_leaves_a_fitted_method(
    tmp_path, monkeypatch, caplog
):
    method, loader = labelling(), TickingLoader(monkeypatch)
    assert fit(method, loader, run=tmp_path, limits=timed(3)).steps == 0
    assert "the time is over before the first step" in caplog.text
    assert method.get_buffer("centroids_main").any()


@pytest.mark.parametrize("seconds, read", [(2.5, 3), (60, 5), (0.001, 1)])
def test_a_fit_without_steps_ends_in_its_time(
    seconds, read, tmp_path, monkeypatch, caplog
):
    """Both passes of the untrained network see the same patches."""
    method = build_method("random_trunk", 3, {"width": 2, "clusters": 4})
    loader = TickingLoader(monkeypatch)
    fit(method, loader, run=tmp_path, limits=timed(seconds))
    assert loader.read == 2 * [(0, number) for number in range(read)]
    said = f"the time is over after {read} of 5 batches"
    assert (said in caplog.text) == (read < 5)


@pytest.mark.parametrize(
    "name, parameters, few, all_",
    [
        ("picie", {"trunk": "vgg"}, 1, 2),  # every patch of the epoch gets its labels
        ("supervised", {"balance": "inverse"}, 1, 0),  # classes are counted once
        ("color_kmeans", {}, 1, 0),
    ],
)
def test_what_is_fitted_reads_thinned_epochs_and_what_labels_all_of_it_the_whole(
    name, parameters, few, all_, tmp_path
):
    class Counted(LabelledLoader):
        passes, thin = 0, None

        def thinned(self):
            self.thin = self.thin or Counted()
            return self.thin

        def batches(self, epoch, start=0):
            self.passes += 1
            return super().batches(epoch, start)

    width = {} if name == "color_kmeans" else {"width": 2}
    loader = Counted()
    fit(
        build_method(name, 3, parameters | width),
        loader,
        run=tmp_path,
        limits=Limits(max_steps=4),
    )
    steps = name != "color_kmeans"
    assert (loader.thin.passes, loader.passes) == (few, all_ + steps)
