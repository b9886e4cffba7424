"""The former place of ``map_buildings``, for version 0.2: ``geoseg.predict`` is it now."""

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name not in {"map_buildings", "MapOptions"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"geoseg.geo.mapping.{name} is geoseg.predict now, with its options as arguments",
        DeprecationWarning,
        stacklevel=2,
    )
    from geoseg.geo.maps import mapping, options

    return getattr(options if name == "MapOptions" else mapping, name)
