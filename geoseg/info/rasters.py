"""Describe rasters other than images: masks, and maps of geoseg."""

import shlex
from collections.abc import Mapping

from geoseg.geo.rasters.inspection import ImageFacts
from geoseg.geo.rasters.kinds import RasterKind
from geoseg.info.labels import share_words, value_hints
from geoseg.info.sheet import Sheet, wrapped


def say_values(sheet: Sheet, facts: ImageFacts) -> None:
    """Add the values of a raster, with their names if the file has them."""
    if facts.kind == "probability raster":
        sheet.say("values", "percent, 0 to 100: a band for each class but background")
    elif facts.values:
        shares = {_named(v, facts): share for v, share in facts.values.items()}
        sheet.say("values", *wrapped(share_words(shares)))


def _named(value: str, facts: ImageFacts) -> str:
    name = facts.names.get(value)
    if name is None or facts.kind == "cluster raster":
        return name or value
    return f"{value} {name}"


def say_use(sheet: Sheet, kind: RasterKind, values: Mapping[str, float]) -> None:
    """Add the use of a raster that is not an image to train on."""
    path = shlex.quote(sheet.path)
    if kind == "mask":
        sheet.say("use", "labels, not an image to train on:")
        sheet.say("", f"  geoseg train --images IMAGES --labels {path}")
        sheet.say("", f"  geoseg evaluate MAP --images IMAGES --labels {path}")
        sheet.say("", *value_hints(values))
    elif kind == "class raster":
        sheet.say("use", "a map written by geoseg predict: score it")
        sheet.say("", f"  geoseg evaluate {path} --images IMAGES --labels LABELS")
        sheet.say("", "or train on its classes: geoseg train --images IMAGES --labels")
        sheet.say("", f"  {path}")
    elif kind == "cluster raster":
        sheet.say("use", "the clusters before they were matched to classes: view it in")
        sheet.say("", "a GIS; geoseg evaluate scores the class raster (--raster)")
    else:
        sheet.say("use", "class probabilities: view it in a GIS, or threshold it at a")
        sheet.say("", "percentage; geoseg evaluate scores the class raster (--raster)")
