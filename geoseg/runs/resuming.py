"""Read a run to resume it: its settings, its progress, its allowed limits."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch

from geoseg.core.addresses import is_redacted
from geoseg.core.errors import ModelFileError, ParameterError, TrainingError
from geoseg.core.normalization import Normalization
from geoseg.core.stored import StoredError, typed
from geoseg.methods import method_class
from geoseg.runs.fitting import limits_of
from geoseg.runs.folders import need_run
from geoseg.runs.settings import (
    BESIDE_TRAINING,
    RunSettings,
    damaged,
    settings_of,
    stored_values,
)
from geoseg.runs.tiles.run_roles import TileRole, read_adjoining, read_roles
from geoseg.training.limits import Limits
from geoseg.training.step_tables import read_step_table


class StoredRun(NamedTuple):
    """The contents of ``run.json``.

    Attributes:
        values: All plain JSON values.
        settings: Of the run.
        normalization: Of the values of its tiles.
        fingerprint: Of its tiles.
        roles: Of its tiles; None if a former version began the run.
        adjoining: Role → number of its tiles that adjoin test tiles.
    """

    values: dict[str, Any]
    settings: RunSettings
    normalization: Normalization
    fingerprint: str
    roles: list[TileRole] | None
    adjoining: dict[str, int]

    def limited(self, limits: Limits) -> "StoredRun":
        """Return the stored run with other limits."""
        seconds = None if limits.max_time is None else limits.max_time.total_seconds()
        return self._changed(
            max_steps=limits.max_steps,
            max_epochs=limits.max_epochs,
            max_seconds=seconds,
        )

    def beside_training(self, settings: Mapping[str, Any]) -> "StoredRun":
        """Return the stored run with other settings that do not affect the training.

        Raises:
            TypeError: If a setting affects the training.
        """
        if not settings.keys() <= BESIDE_TRAINING:
            raise TypeError(
                f"a run cannot go on with other {', '.join(settings)}, expected only "
                f"{', '.join(sorted(BESIDE_TRAINING))}"
            )
        return self._changed(**settings)

    def _changed(self, **settings: Any) -> "StoredRun":
        after = replace(self.settings, **settings)
        values = {**self.values, "settings": after.to_json()}
        return self._replace(values=values, settings=after)

    def scored_as(self, other: "StoredRun") -> bool:
        """Return whether it asks for no more scores or reports than another run."""
        own, others = self.settings, other.settings
        return own.controls == others.controls and (
            others.report in ("none", own.report)
        )


def read_run(folder: Path) -> StoredRun:
    """Read a run's ``run.json``.

    Raises:
        TrainingError: If the folder is not a run, or its settings are damaged.
    """
    need_run(folder)
    values = stored_values(folder)
    try:
        fingerprint = typed(values.get("fingerprint"), str, "fingerprint")
        normalization = Normalization.from_json(values.get("normalization"))
    except (StoredError, ModelFileError) as error:
        raise damaged(folder, error) from error
    settings, roles = settings_of(folder, values), read_roles(values)
    adjoining = read_adjoining(values)
    return StoredRun(values, settings, normalization, fingerprint, roles, adjoining)


def with_present_paths(
    settings: RunSettings, folder: Path, images: str | None, labels: str | None
) -> RunSettings:
    """Return the settings of a run with the present paths of its tiles.

    Args:
        settings: The stored ones.
        folder: Of the run.
        images: In place of the run's, if given.
        labels: In place of the run's, if given.

    Raises:
        TrainingError: If a path is a signed URL without its signature.
    """
    images, labels = images or settings.images, labels or settings.labels
    for name, place in (("images", images), ("labels", labels)):
        if place is not None and is_redacted(place):
            raise TrainingError(
                f"the {name} of {folder} have a signed URL, and signatures are not "
                f"stored: give it again, with --resume {folder} --{name} URL"
            )
    return replace(settings, images=images, labels=labels)


class Made(NamedTuple):
    """Progress of a training.

    Attributes:
        steps: Optimiser steps made.
        seconds: Their time, if measured.
    """

    steps: int = 0
    seconds: float = 0.0


def read_checkpoint(path: Path) -> Made:
    """Read the progress of a training from its checkpoint; zero if it is absent.

    Raises:
        TrainingError: If the file is damaged or not a checkpoint.
    """
    if not path.exists():
        return Made()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        clock = state["callbacks"].get("TimeLimit", {"spent": 0.0})
        return Made(state["geoseg"]["steps_made"], clock["spent"])
    except (
        *(RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError),
        UnpicklingError,
    ) as error:
        raise TrainingError(
            f"{path} is damaged ({type(error).__name__}), expected the checkpoint of a "
            "stopped run: remove it to start again from the first step"
        ) from error


def last_logs(path: Path) -> dict[str, float]:
    """Return the last logged numbers, also if a resumed run had no step left.

    Args:
        path: Of ``metrics.csv``; if absent, there are none.
    """
    *_, last = [{}, *read_step_table(path)]
    return {k: float(v) for k, v in last.items() if v and k not in ("step", "epoch")}


def check_extension(
    before: RunSettings, after: RunSettings, made: Made, steps_per_epoch: int
) -> None:
    """Raise if a run begun with the new limits would differ from the present one.

    Args:
        before: The run's settings.
        after: The same, with new limits.
        made: Progress of the run.
        steps_per_epoch: Optimiser steps in a pass over the patches.

    Raises:
        ParameterError: If the run has made more than the limits allow, its learning
            rates so far depended on the former limit, or the method makes no steps.
    """
    if not method_class(after.method).gradient:
        raise ParameterError(
            f"{after.method} makes no optimiser steps to continue: leave the limits out"
        )
    steps = limits_of(after).steps(steps_per_epoch)
    former = limits_of(before).steps(steps_per_epoch)
    if after.lr_schedule != "constant" and steps != former:
        raise ParameterError(
            f"the run's --lr-schedule {after.lr_schedule} was made for {former} steps, "
            "so its rates so far do not fit a training of another length: start a new "
            "run"
        )
    if steps is not None and steps < made.steps:
        raise ParameterError(
            f"the new limit is {steps} steps, but the run has made {made.steps}: give "
            "a larger limit"
        )
    if after.max_seconds is not None and after.max_seconds < made.seconds:
        raise ParameterError(
            f"--max-time is {after.max_seconds:.0f} s, but the run has spent "
            f"{made.seconds:.0f} s: give more"
        )
