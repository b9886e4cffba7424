import csv
import sys

import pytest
from cases import NoiseLoader, small_iic

from geoseg.core.errors import OutputError
from geoseg.core.run_files import METRICS_NAME, TENSORBOARD_NAME
from geoseg.training.engine import fit
from geoseg.training.limits import Limits
from geoseg.training.tensorboard import import_summary_writer


class Killed(Exception):
    pass


def scalars(run, tag) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(str(run / TENSORBOARD_NAME))
    events.Reload()
    assert "areas/over" in events.Tags()["histograms"]
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_shows_each_step_once_after_a_kill(tmp_path):
    options = {"run": tmp_path, "limits": Limits(max_steps=9), "tensorboard": True}

    def die(step: int) -> None:
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        fit(small_iic(), NoiseLoader(), checkpoint_steps=4, on_step=die, **options)
    fit(small_iic(), NoiseLoader(), resume=True, **options)
    with (tmp_path / METRICS_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 10))
    for tag in ("loss", "entropy", "lr"):
        expected = [(int(row["step"]), float(row[tag])) for row in rows]
        found = scalars(tmp_path, tag)
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [v for _, v in found] == pytest.approx(
            [v for _, v in expected], rel=1e-6
        )


def test_without_tensorboard_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(OutputError, match=r"pip install 'geoseg\[tensorboard\]'"):
        import_summary_writer()
