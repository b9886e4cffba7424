from pathlib import Path

import pytest

from geoseg.core.errors import ParameterError
from geoseg.leaderboard.plan import (
    BenchmarkPlan,
    Job,
    Row,
    parse_rows,
    split_parameters,
)
from geoseg.methods import METHODS
from geoseg.runs.settings import RunSettings


def plan_of(names, **changes) -> BenchmarkPlan:
    base = RunSettings(images="tiles", max_steps=1, bands="rgb", whiten="zca")
    return BenchmarkPlan(base=base, rows=parse_rows(names), **changes)


def test_rows_name_what_they_start_from():
    assert parse_rows("iic, finetune:iic") == (Row("iic"), Row("finetune", "iic"))
    assert [row.folder for row in parse_rows("finetune:picie")] == ["finetune-picie"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("", "no method is named"),
        ("piciee", "no method 'piciee' \\(did you mean picie"),
        ("iic,iic", "iic is named twice"),
        ("finetune", "as METHOD:OTHER, for instance finetune:iic"),
        ("color_kmeans:iic", "color_kmeans does not start from a model"),
        ("finetune:finetune", "finetune itself starts from a model"),
        ("finetune:color_kmeans", "color_kmeans has no trunk"),
        ("finetune:nothing", "there is no method 'nothing'"),
    ],
)
def test_rows_that_cannot_be_are_refused(names, message):
    with pytest.raises(ParameterError, match=message):
        parse_rows(names)


def test_every_run_comes_after_the_one_that_it_starts_from():
    plan = plan_of("finetune:iic,color_kmeans", seeds=2, splits=2)
    jobs = list(plan.jobs(matching=3))
    assert len(jobs) == len(set(jobs)) == 3 * 2 * 2
    for number, job in enumerate(jobs):
        if job.row.source:
            assert Job(Row("iic"), job.split, job.seed) in jobs[:number]
    # one run of every row before the second of any
    assert {job.row.name for job in jobs[:3]} == {"iic", "color_kmeans", "finetune:iic"}


def test_only_what_learns_from_labels_trains_again_for_fewer():
    plan = plan_of("iic,supervised", seeds=1, label_tiles=(1, 5, 10))
    fewer = [job for job in plan.jobs(matching=10) if job.label_tiles is not None]
    assert [(job.row.name, job.label_tiles) for job in fewer] == [
        ("supervised", 1),
        ("supervised", 5),
    ]
    assert fewer[0].name == "supervised/split0-seed0-tiles1"


def test_settings_of_a_run_that_starts_from_another():
    plan = plan_of("iic,finetune:iic", shared={"width": "4", "jitter": "0.2"})
    own = plan.settings(Job(Row("iic"), 1, 2), Path("b"))
    assert (own.seed, own.split_seed, own.bands, own.init) == (2, 1, "rgb", None)
    assert own.parameters["width"] == "4"
    tuned = plan.settings(Job(Row("finetune", "iic"), 1, 2), Path("b"))
    assert tuned.init == str(Path("b/runs/iic/split1-seed2"))
    assert (tuned.bands, tuned.whiten) == (None, "none")
    assert tuned.parameters == {"jitter": "0.2"}  # the trunk is that of iic


def test_parameters_go_to_the_methods_that_have_them():
    shared, own = split_parameters({"width": "2", "iic.half_width": "3"}, ["iic"])
    plan = plan_of("iic,color_kmeans", shared=shared, own=own)
    assert plan.parameters(Row("iic")) == {"width": "2", "half_width": "3"}
    assert plan.parameters(Row("color_kmeans")) == {}
    plan.check()


@pytest.mark.parametrize("name", ["width", "semisup.half_width"])
def test_parameters_for_rows_to_come_are_warned_of(name, caplog):
    shared, own = split_parameters({name: "2"}, tuple(METHODS))
    plan = plan_of("color_kmeans", shared=shared, own=own)
    with caplog.at_level("WARNING"):
        plan.check(parse_rows("forest"))
    expected = f"-p {name} is not for any of the methods here: color_kmeans, forest"
    assert caplog.messages == [expected]
    assert plan.parameters(Row("color_kmeans")) == {}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"widht": "2"}, "has a parameter 'widht' \\(did you mean width"),
        ({"supervised.widht": "2"}, "supervised has no parameter 'widht'"),
        ({"iic.widht": "2"}, "iic has no parameter 'widht'"),
        ({"width": "wide"}, "expected int"),
        ({"ic.width": "2"}, "for a method 'ic' \\(did you mean iic"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(pairs, message):
    with pytest.raises(ParameterError, match=message):
        shared, own = split_parameters(pairs, ["iic", "supervised"])
        plan_of("iic,color_kmeans", shared=shared, own=own).check()
