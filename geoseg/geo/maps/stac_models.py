"""A STAC item for a model, with the extension for machine learning models (MLM).

The specification: https://github.com/stac-extensions/mlm
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import safe_open

from geoseg.core.errors import MatchingError
from geoseg.core.normalization import Normalization
from geoseg.core.words import counted
from geoseg.geo.maps.stac_fields import classes, file_facts, item, utc
from geoseg.geo.rasters.legend import class_legend
from geoseg.methods.bases.method import CLASS_HEAD
from geoseg.model.card import ModelCard, load_card

_TASKS = ["semantic-segmentation"]
#: What the extension takes for a version.
_SEMANTIC = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")


def model_item(path: Path) -> dict[str, Any]:
    """Describe a model file; the item belongs beside it.

    A model is of no place, and its time is that of its file.

    Raises:
        ModelFileError: If it is no model.
        MatchingError: If its clusters have no classes yet.
    """
    card = load_card(path)
    if card.head not in card.matchings and card.head != CLASS_HEAD:
        raise MatchingError(
            f"no cluster of head {card.head!r} of {path} has a class yet, expected an "
            "item's classes: run geoseg match with labelled tiles first"
        )
    facts = file_facts(path)
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    name = f"geoseg-{card.method}-{facts['file:checksum'][4:12]}"
    weights = {
        "href": f"./{path.name}",
        "type": "application/octet-stream",
        "title": "Weights and card (safetensors)",
        "roles": ["mlm:model", "mlm:weights", "data"],
        "mlm:artifact_type": "safetensors.torch.save_file",
        # the core schema forbids them in the properties, unless assets have them
        "bands": [{"name": band} for band in card.normalization.bands],
        **facts,
    }
    properties = {
        "datetime": utc(modified),
        "title": f"geoseg model: {card.method}",
        "description": _description(card),
        **({} if card.gsd_m is None else {"gsd": card.gsd_m}),
        "processing:software": dict(card.provenance.get("versions", {})),
        **_mlm(card, name, _weights(path)),
    }
    return item(
        name,
        properties,
        {"model": weights},
        extensions=("mlm", "file", "processing", "classification"),
    )


def _description(card: ModelCard) -> str:
    source = card.provenance.get("source", "images of an unknown source")
    steps = card.provenance.get("steps")
    effort = "" if steps is None else f" for {counted(steps, 'step')}"
    return (
        f"Classes {', '.join(card.class_names)} by method {card.method}, trained on "
        f"{source}{effort}; geoseg predict maps with it."
    )


def _mlm(card: ModelCard, name: str, weights: int) -> dict[str, Any]:
    """Return the fields of the extension."""
    version = str(card.provenance.get("versions", {}).get("torch", ""))
    known = _SEMANTIC.fullmatch(version) is not None
    settings = {"seed": card.seed, "patch_size": card.patch_size}
    return {
        "mlm:name": name,
        "mlm:architecture": str(card.parameters.get("trunk", card.method)),
        "mlm:tasks": _TASKS,
        "mlm:framework": "PyTorch",
        **({"mlm:framework_version": version} if known else {}),
        "mlm:total_parameters": weights,
        **_pretrained(card.provenance),
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:hyperparameters": {**card.parameters, **settings},
        "mlm:input": [_input(card.normalization)],
        "mlm:output": [_output(card)],
    }


def _pretrained(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Name the model that training started from; null says from scratch."""
    start = provenance.get("init")
    source = start and f"geoseg {start['method']} model, SHA-256 {start['sha256']}"
    return {"mlm:pretrained": bool(start), "mlm:pretrained_source": source}


def _input(stretch: Normalization) -> dict[str, Any]:
    scaling = [
        {"type": "min-max", "minimum": low, "maximum": high}
        for low, high in zip(stretch.low, stretch.high, strict=True)
    ]
    return {
        "name": "image",
        "description": "Bands, each stretched so that minimum and maximum become 0 and 1; "
        "pixels without data are given a value of their band.",
        "bands": list(stretch.bands),
        "input": {
            "shape": [-1, len(stretch.bands), -1, -1],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": scaling,
        "resize_type": None,
        "pre_processing_function": None,
    }


def _output(card: ModelCard) -> dict[str, Any]:
    """Describe the class probabilities that ``geoseg predict`` makes of a window."""
    return {
        "name": card.head,
        "description": "Probabilities of the classes: those of the clusters that mean a "
        "class are summed.",
        "tasks": _TASKS,
        "result": {
            "shape": [-1, len(card.class_names), -1, -1],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": classes(class_legend(card.class_names)),
        "post_processing_function": None,
    }


def _weights(path: Path) -> int:
    """Count the numbers in a model file, from its header."""
    with safe_open(path, framework="pt") as file:
        return sum(math.prod(file.get_slice(it).get_shape()) for it in file.keys())
