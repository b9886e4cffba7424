import pytest

from geoseg.methods import METHODS, method_class
from geoseg.runs.checks import warn_of_unused
from geoseg.runs.settings import RunSettings

STEPLESS = [name for name in METHODS if not method_class(name).gradient]
CHOSEN = {"max_steps": 60, "lr_schedule": "cosine", "stop_on_collapse": False}


@pytest.mark.parametrize("method", STEPLESS)
def test_settings_of_steps_without_steps_are_warned_of_in_one_line(method, caplog):
    warn_of_unused(RunSettings(method=method))
    assert not caplog.messages
    warn_of_unused(RunSettings(method=method, batch_size=2, **CHOSEN), profile=True)
    options = "--max-steps 60 --lr-schedule cosine --no-stop-on-collapse --profile"
    expected = f"{method} makes no optimiser steps: without effect is {options}"
    assert caplog.messages == [expected]


def test_settings_of_steps_are_for_methods_that_make_some(caplog):
    for method in METHODS.keys() - set(STEPLESS):
        warn_of_unused(RunSettings(method=method, **CHOSEN), profile=True)
    assert len(STEPLESS) == 7 and not caplog.messages
