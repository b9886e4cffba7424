"""What an image's bands are called."""

import re

import rasterio
from rasterio.enums import ColorInterp

#: Band orders of files that do not name their bands, by band count. Eight bands are
#: WorldView-3's (and WorldView-2's).
BANDS_BY_COUNT: dict[int, tuple[str, ...]] = {
    1: ("pan",),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "nir"),
    8: (
        *("coastal", "blue", "green", "yellow"),
        *("red", "red_edge", "nir", "nir2"),
    ),
}

#: Band choices by name; ``all`` is every band of the file.
BAND_PRESETS: dict[str, tuple[str, ...]] = {
    "rgb": ("red", "green", "blue"),
    "rgbi": ("red", "green", "blue", "nir"),
    "irrg": ("nir", "red", "green"),
}

_SYNONYMS = {
    "r": "red",
    "g": "green",
    "b": "blue",
    "nir1": "nir",
    "nir_1": "nir",
    "nir_2": "nir2",
    "ir": "nir",
    "near_infrared": "nir",
    "nearinfrared": "nir",
    "rededge": "red_edge",
    "coastal_blue": "coastal",
    "coastal_aerosol": "coastal",
    "panchromatic": "pan",
}
_UNNAMED = re.compile(r"(b|band|layer|channel)?_?\d+|gr[ae]y(_?\d+)?|undefined")


def snake(text: str | None) -> str:
    """A band name as geoseg writes it: lower-case, words joined by ``_``."""
    words = re.sub(r"[^a-z0-9]+", "_", (text or "").lower()).strip("_")
    return _SYNONYMS.get(words, words)


def _is_name(name: str) -> bool:
    return bool(name) and not _UNNAMED.fullmatch(name)


def alpha_band(dataset: rasterio.DatasetReader) -> int | None:
    """Number of the alpha band.

    GDAL marks the fourth of four 8-bit bands as alpha unless told otherwise; a band
    that is described as something else (``nir``) is believed instead.
    """
    for number, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if meaning == ColorInterp.alpha:
            name = snake(dataset.descriptions[number - 1])
            return number if name == "alpha" or not _is_name(name) else None
    return None


def band_names(
    dataset: rasterio.DatasetReader, indexes: tuple[int, ...]
) -> tuple[str, ...]:
    """Descriptions if they name every band; else colours; else by band count.

    Descriptions come first: GDAL declares any three 8-bit bands red, green, blue.
    """
    described = tuple(snake(dataset.descriptions[number - 1]) for number in indexes)
    if all(map(_is_name, described)) and len(set(described)) == len(described):
        return described
    usual = BANDS_BY_COUNT.get(len(indexes))
    colours = tuple(dataset.colorinterp[number - 1].name for number in indexes)
    if all(colours.count(name) == 1 for name in BAND_PRESETS["rgb"]):
        fourth = "nir" if len(indexes) == 4 else ""
        return tuple(
            colour if colour in BAND_PRESETS["rgb"] else fourth or f"b{position}"
            for position, colour in enumerate(colours, start=1)
        )
    return usual or tuple(f"b{position}" for position in range(1, len(indexes) + 1))
