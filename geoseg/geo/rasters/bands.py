"""Band names of images, and the choice of bands."""

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import rasterio
from rasterio.enums import ColorInterp

from geoseg.core.errors import BandMismatchError, ParameterError

if TYPE_CHECKING:
    from geoseg.geo.rasters.description import RasterDescription

#: Band orders of files that do not name their bands, by band count. Eight bands are
#: WorldView-3's (and WorldView-2's).
BANDS_BY_COUNT: dict[int, tuple[str, ...]] = {
    1: ("pan",),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "nir"),
    8: ("coastal", "blue", "green", "yellow", "red", "red_edge", "nir", "nir2"),
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
_UNNAMED = re.compile(r"gr[ae]y(_?\d+)?|undefined|alpha|palette")
_NUMBERED = re.compile(r"(?:b|band|layer|channel)?_?(\d+)")


def snake(text: str | None) -> str:
    """Return a band name as geoseg writes it: lower-case, words joined by ``_``.

    Letters of any language are kept.

    Example:
        >>> snake("Red Edge"), snake("NIR-1"), snake("Grün")
        ('red_edge', 'nir', 'grün')
    """
    plain = unicodedata.normalize("NFKC", text or "").casefold()
    words = re.sub(r"[\W_]+", "_", plain).strip("_")
    return _SYNONYMS.get(words, words)


def _is_name(name: str) -> bool:
    return bool(name) and not _UNNAMED.fullmatch(name)


def _are_places(names: Sequence[str]) -> bool:
    """Tell whether names only number the bands 1 to n: ``Band 1``, ``Band 2``."""
    matches = [_NUMBERED.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    return numbers == [*range(1, len(names) + 1)]


def alpha_band(dataset: rasterio.DatasetReader) -> int | None:
    """Return the number of the alpha band, or None.

    GDAL declares the fourth of four 8-bit bands alpha by default. If the band's
    description names something else (``nir``), the description decides.
    """
    for number, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if meaning == ColorInterp.alpha:
            names = [snake(text) for text in dataset.descriptions]
            named = _is_name(names[number - 1]) and not _are_places(names)
            return None if named else number
    return None


def name_bands(
    dataset: rasterio.DatasetReader, indexes: tuple[int, ...]
) -> tuple[tuple[str, ...], str]:
    """Return the band names and their origin.

    The origin is ``descriptions`` if these name bands, else ``colours``, ``count`` or
    ``numbers``. Descriptions come first, because GDAL declares any three 8-bit bands
    red, green and blue. A name with a number (``B8``) counts, unless the names only
    number the bands from 1 to n. If some bands are described, the others are named
    ``b`` and their position.
    """
    described = tuple(snake(dataset.descriptions[number - 1]) for number in indexes)
    given = [name for name in described if _is_name(name)]
    if given and len(set(given)) == len(given) and not _are_places(described):
        names = tuple(
            name if _is_name(name) else f"b{position}"
            for position, name in enumerate(described, start=1)
        )
        if len(set(names)) == len(names):
            return names, "descriptions"
    usual = BANDS_BY_COUNT.get(len(indexes))
    colours = tuple(snake(dataset.colorinterp[n - 1].name) for n in indexes)
    if _all_named(colours):
        return colours, "colours"
    if all(colours.count(name) == 1 for name in BAND_PRESETS["rgb"]):
        fourth = "nir" if len(indexes) == 4 else ""
        names = tuple(
            colour if colour in BAND_PRESETS["rgb"] else fourth or f"b{position}"
            for position, colour in enumerate(colours, start=1)
        )
        return names, "colours"
    if usual:
        return usual, "count"
    return tuple(f"b{position}" for position in range(1, len(indexes) + 1)), "numbers"


def _all_named(names: tuple[str, ...]) -> bool:
    return all(map(_is_name, names)) and len(set(names)) == len(names)


def choose_bands(
    description: "RasterDescription", requested: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Choose bands of an image.

    Args:
        description: The image.
        requested: None: red, green, blue, nir where present, else red, green, blue,
            else all; a preset (``rgb``, ``rgbi``, ``irrg``, ``all``); or names or
            1-based numbers, as a list or separated by commas: ``"5,3,2,7"``.

    Returns:
        Band names in the requested order.

    Raises:
        BandMismatchError: If the image lacks one of them.
        ParameterError: If no band, or one band twice, is requested.
    """
    names = description.band_names
    if requested is None:
        for preset in ("rgbi", "rgb"):
            if set(BAND_PRESETS[preset]) <= set(names):
                return BAND_PRESETS[preset]
        return names
    if isinstance(requested, str):
        preset = requested.strip().lower()
        requested = (
            names if preset == "all" else BAND_PRESETS.get(preset, preset.split(","))
        )
    items = [str(item).strip() for item in requested]
    if not any(items):
        raise ParameterError(
            "no band is requested, expected rgb, rgbi, irrg, all, names or numbers such "
            "as 5,3,2,7; leave --bands out for the usual ones"
        )
    chosen = tuple(_resolve(description, item) for item in items)
    if len(set(chosen)) != len(chosen):
        raise ParameterError(
            f"bands {','.join(items)!r} are requested, expected each band once"
        )
    return chosen


def _resolve(description: "RasterDescription", item: str) -> str:
    names = description.band_names
    if item.isdigit():
        number = int(item)
        if number in description.band_indexes:
            return names[description.band_indexes.index(number)]
        if number == description.alpha:
            raise BandMismatchError(
                f"band {number} of {description.path} is declared alpha, expected an "
                "image band; if it is one, name it: gdal_edit.py -colorinterp_"
                f"{number} undefined"
            )
    elif snake(item) in names:
        return snake(item)
    elif item.lower() in names:
        return item.lower()
    raise BandMismatchError(
        f"{description.path} has bands {_numbered(description)}, expected {item!r}; "
        "choose with --bands"
    )


def _numbered(description: "RasterDescription") -> str:
    pairs = zip(description.band_indexes, description.band_names, strict=True)
    return ", ".join(f"{number} {name}" for number, name in pairs)


def band_scaling(
    description: "RasterDescription", bands: Sequence[str]
) -> list[list[float]]:
    """Return the scale and offset that an image declares for each given band.

    Raises:
        BandMismatchError: If the image lacks a band.
    """
    numbers = band_numbers(description, bands)
    places = [description.band_indexes.index(number) for number in numbers]
    return [list(description.scaling[place]) for place in places]


def check_scaling(
    description: "RasterDescription",
    bands: Sequence[str],
    trained: Sequence[Sequence[float]] | None,
) -> None:
    """Raise if an image declares other scales or offsets than the training images.

    Args:
        description: The image.
        bands: Bands of the model.
        trained: Scale and offset of each band in the training images; None: unknown.

    Raises:
        BandMismatchError: If the image declares others.
    """
    if trained is None:
        return
    declared = band_scaling(description, bands)
    for band, own, usual in zip(bands, declared, trained, strict=True):
        if list(own) != list(usual):
            raise BandMismatchError(
                f"{description.path} declares scale {own[0]:g} and offset {own[1]:g} of "
                f"band {band}, the training's images {usual[0]:g} and {usual[1]:g}: bring "
                "it to theirs, or apply both with gdal_translate -unscale -ot Float32 "
                "and train on that"
            )


def band_numbers(
    description: "RasterDescription", bands: Sequence[str]
) -> tuple[int, ...]:
    """Return the numbers of bands, given their names.

    Returns:
        1-based numbers in the file, in the order of ``bands``.

    Raises:
        BandMismatchError: If the image lacks a band, or holds indices of a colour
            table, which are no measurements.
    """
    if "palette" in description.colours:
        raise BandMismatchError(
            f"{description.path} holds indices of a colour table, expected the colours "
            "themselves: gdal_translate -expand rgb FILE OUTPUT"
        )
    missing = [band for band in bands if band not in description.band_names]
    if missing:
        raise BandMismatchError(
            f"{description.path} has bands {_numbered(description)}, expected "
            f"{', '.join(bands)}; {', '.join(missing)} absent"
        )
    return tuple(
        description.band_indexes[description.band_names.index(band)] for band in bands
    )
