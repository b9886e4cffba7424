"""Describe a vector file: labels, or footprints by geoseg."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from geoseg.core.words import counted
from geoseg.geo.formats.provenance import read_provenance
from geoseg.geo.labels.vector_inspection import (
    LayerFacts,
    inspect_vector,
    may_be_classes,
)
from geoseg.info.sheet import Sheet, wrapped

#: Most values of an attribute that are listed.
SHOWN = 4


def vector_sheet(path: Path) -> Sheet:
    """Describe a vector file.

    Raises:
        LabelError: If it cannot be read.
    """
    if path.is_file() and not path.stat().st_size:
        sheet = Sheet(str(path), "vector", {"layers": []})
        sheet.say("as labels", "an empty file: no building, as in SpaceNet's tiles")
        return sheet
    layers = inspect_vector(path)
    sheet = Sheet(str(path), "vector", {"layers": [asdict(layer) for layer in layers]})
    for layer in layers:
        _say(sheet, layer)
    tags = read_provenance(path)
    sheet.facts["tags"] = tags
    for name, text in tags.items():
        sheet.say("written by", f"{name.removeprefix('GEOSEG_').lower()} {text}")
    if len(layers) > 1:
        names = " or ".join(layer.name for layer in layers)
        sheet.say("as labels", f"choose one layer: --label-layer {names}")
    return sheet


def _say(sheet: Sheet, layer: LayerFacts) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in layer.geometries.items())
    sheet.say("layer", f"{layer.name}, {layer.driver}")
    sheet.say("features", f"{layer.features}" + (f": {kinds}" if kinds else ""))
    sheet.say("CRS", layer.crs or "none: expected to be that of the images")
    if layer.bounds:
        sheet.say("bounds", " ".join(f"{value:.7g}" for value in layer.bounds))
    names = ", ".join(f"{name} ({kind})" for name, kind in layer.attributes.items())
    sheet.say("attributes", names or "none")
    if layer.invalid:
        sheet.say(
            "invalid",
            f"{counted(layer.invalid, 'feature')}, the first: {layer.why}; labels are repaired "
            "when read",
        )
    else:
        sheet.say("invalid", "none")
    sheet.say("as labels", *field_words(layer.values))
    polygons = sum(n for kind, n in layer.geometries.items() if "Polygon" in kind)
    if layer.features and not polygons:
        sheet.say("as labels", "no polygon: no pixel would be labelled by it")


def field_words(fields: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return lines on the attributes that may tell classes apart, if any."""
    named = [
        f"{name} ({_counts(values)})"
        for name, values in fields.items()
        if may_be_classes(values)
    ]
    if not named:
        return []
    return wrapped(
        "every polygon is building; --class-field NAME would tell classes apart by "
        + ", ".join(named)
    )


def _counts(values: Mapping[str, int]) -> str:
    named = [f"{value}: {count}" for value, count in list(values.items())[:SHOWN]]
    return ", ".join(named) + (", …" if len(values) > SHOWN else "")
