"""A run, from its settings to its scores."""

import warnings
from typing import Any

#: Former names of this package, for version 0.2 → what they are now.
_FORMER = {"start": "geoseg.train", "resume": "geoseg.runs.train.resume"}


def __getattr__(name: str) -> Any:
    if name not in _FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"geoseg.runs.{name} is {_FORMER[name]} now", DeprecationWarning, stacklevel=2
    )
    from geoseg.runs import train

    return getattr(train, name)
