"""geoseg maps buildings in overhead imagery without training labels.

What ``__all__`` names is promised to stay: see :mod:`geoseg.api`. All of it is imported
when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.api import evaluate, footprints, match, open_model, predict, train

__version__ = "0.1.0"
__all__ = ["evaluate", "footprints", "match", "open_model", "predict", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    from geoseg import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
