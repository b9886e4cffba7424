"""Options of ``geoseg train`` against the fields of ``RunSettings``."""

import dataclasses

import click
import pytest

from geoseg.cli import benchmark, evaluate, match, train
from geoseg.runs.settings import RunSettings

DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(RunSettings)
    if field.default is not dataclasses.MISSING
}
OPTIONS = {param.name: param for param in train.command.params}
NUMBERS = sorted(
    name
    for name in OPTIONS.keys() & DEFAULTS.keys()
    if isinstance(OPTIONS[name].type, click.IntRange)
)


@pytest.mark.parametrize("command", [train, match, evaluate, benchmark])
def test_what_is_not_given_is_the_default_of_the_settings(command):
    own = {"label_tiles", "max_steps", "match_tiles", "report"}  # not those of train
    context = command.command.make_context("geoseg", [], resilient_parsing=True)
    names = DEFAULTS.keys() & context.params.keys() - (
        set() if command is train else own
    )
    assert len(names) > 5
    for name in sorted(names):
        assert context.params[name] == DEFAULTS[name], name


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_at_either_end_of_an_option_can_be_read_from_a_stored_run(name):
    kind = OPTIONS[name].type
    for value in (kind.min, 2**31 if kind.max is None else kind.max):
        taken = kind.convert(str(value), OPTIONS[name], None)
        read = RunSettings.from_json({name: taken})
        assert getattr(read, name) == value


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param("split_seed", 2**32, id="seed-of-the-split"),
        pytest.param("seed", -1, id="negative-seed"),
        pytest.param("devices", 1025, id="devices"),
        pytest.param("patch_size", 2**14 + 1, id="large-patch"),
        pytest.param("patch_size", 15, id="small-patch"),
        pytest.param("loader_workers", 1025, id="workers"),
    ],
)
def test_a_number_outside_the_range_of_a_setting_is_wrong_usage(geoseg, name, wrong):
    flag = "--" + name.replace("_", "-")
    result = geoseg("train", "--images", "tiles", flag, wrong)
    assert result.exit_code == 2
    assert flag in result.stderr and "is not in the range" in result.stderr
