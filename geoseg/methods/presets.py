"""Presets of training: a method with the settings that it was measured with.

The table is known without importing anything heavy.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from geoseg.core.errors import ParameterError
from geoseg.core.words import no_such
from geoseg.methods import METHODS, TRUNK_PARAMETERS, Family, method_entry

#: Settings of a run that say when training stops: any of them that is chosen stands in
#: place of all that a preset sets.
LIMITS = ("max_steps", "max_epochs", "max_seconds")
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Preset(NamedTuple):
    """A method with settings that belong together.

    Attributes:
        method: Name in ``METHODS``.
        purpose: One line: what it is for.
        measured: Page and heading where its scores stand.
        parameters: Of the method, where they differ from its defaults.
        settings: Fields of ``RunSettings``, where they differ from theirs.
    """

    method: str
    purpose: str
    measured: str
    parameters: Mapping[str, Any] = NOTHING
    settings: Mapping[str, Any] = NOTHING

    @property
    def family(self) -> Family:
        """Of the method."""
        return METHODS[self.method].family


#: The trunk of all networks below, at the width that they were measured with.
_SMALL = {"trunk": "vgg", "width": 8}

PRESETS: dict[str, Preset] = {
    "unsupervised": Preset(
        "picie",
        "the best network without labels, of three",
        "docs/results.md, Leaderboard",
        {**_SMALL, "learning_rate": 0.001},
        {"patch_size": 96, "max_steps": 100, "restarts": 3},
    ),
    "iic": Preset(
        "iic",
        "invariant information clustering, trained once",
        "docs/results.md, Real tiles",
        {
            **_SMALL,
            "schedule": "joint",
            "half_width": 5,
            "lam_over": 1.2,
            "learning_rate": 0.002,
            "jitter": 0.3,
        },
        {"patch_size": 96, "max_steps": 200},
    ),
    "labels": Preset(
        "supervised",
        "the best network with a dozen labelled tiles",
        "docs/results.md, Leaderboard",
        _SMALL,
        {"patch_size": 96, "max_steps": 100, "refit": True},
    ),
    "semisup": Preset(
        "semisup",
        "learns from tiles with labels and from those without",
        "docs/results.md, Leaderboard",
        {**_SMALL, "half_width": 5},
        {"patch_size": 96, "max_steps": 100, "refit": True},
    ),
    "colors": Preset(
        "color_kmeans",
        "the best map if labels only name clusters",
        "docs/results.md, Naming by share",
        {"clusters": 192},
    ),
    "forest": Preset(
        "forest",
        "the best map if few tiles have labels",
        "docs/results.md, Leaderboard",
        # for accuracy footprints part better than for F1
        settings={"objective": "accuracy", "refit": True},
    ),
}


def preset_of(name: str) -> Preset:
    """Return the row of :data:`PRESETS` with a name.

    Raises:
        ParameterError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ParameterError(no_such("preset", name, PRESETS))
    return PRESETS[name]


def need_method(name: str) -> None:
    """Refuse a name that is no method's; that of a preset is told from the others.

    Raises:
        ParameterError: If there is no such method.
    """
    if name in PRESETS and name not in METHODS:
        method = PRESETS[name].method
        raise ParameterError(
            f"{name} is a preset of {method} and no method: geoseg train --preset {name} "
            f"takes it, geoseg methods {method} says what it sets"
        )
    method_entry(name)


def additions(name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a preset adds to those that somebody chose.

    What is chosen wins. A model to start from decides what the trunk is, and any limit
    of the training stands in place of the preset's.

    Args:
        name: Of the preset.
        chosen: Fields of ``RunSettings`` that were chosen on purpose.

    Returns:
        Further fields, ``method`` among them; of ``parameters`` those alone that were
        not chosen.

    Raises:
        ParameterError: If there is no such preset, or another method was chosen.
    """
    preset = preset_of(name)
    method = chosen.get("method", preset.method)
    if method != preset.method:
        raise ParameterError(
            f"--preset {name} trains {preset.method}, but --method {method} was given "
            "too: leave one of them out"
        )
    taken = set(chosen)
    if not taken.isdisjoint(LIMITS):
        taken.update(LIMITS)
    known = set(chosen.get("parameters", NOTHING))
    if chosen.get("init") is not None:
        known.update(TRUNK_PARAMETERS)
    return {
        "method": preset.method,
        **{k: v for k, v in preset.settings.items() if k not in taken},
        "parameters": {k: v for k, v in preset.parameters.items() if k not in known},
    }


def in_options(settings: Mapping[str, Any]) -> str:
    """Write fields of ``RunSettings`` as the options of ``geoseg train``.

    Example:
        >>> in_options({"max_steps": 9, "parameters": {"width": 8}})
        '--max-steps 9 -p width=8'
    """
    words = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
        for name, value in settings.items()
        if name != "parameters"
    ]
    parameters = settings.get("parameters", NOTHING)
    return " ".join([*words, *(f"-p {k}={v}" for k, v in parameters.items())])
