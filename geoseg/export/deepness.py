"""Metadata of an ONNX file for Deepness, a plugin of QGIS.

The keys are those that the plugin's code reads (version 0.6.5); every value is JSON
text. Specification: https://qgis-plugin-deepness.readthedocs.io
"""

import json
from collections.abc import Mapping

from geoseg.model.card import ModelCard


def deepness_metadata(
    card: ModelCard, *, tile_size: int, overlap: int
) -> Mapping[str, str]:
    """Return the metadata keys of Deepness with their values.

    The graph normalises pixels and applies the threshold, so these steps are switched
    off in Deepness. Without a known GSD there is no ``resolution``, and the user of
    Deepness has to set it.

    Args:
        card: The model's.
        tile_size: Side of a tile in pixels.
        overlap: Of neighbouring tiles, in percent of their side.
    """
    bands = card.normalization.channels
    values = {
        "model_type": "Segmentor",
        "class_names": {str(id): name for id, name in enumerate(card.class_names)},
        # the plugin's code reads one key, its documentation names the other
        "tile_size": tile_size,
        "tiles_size": tile_size,
        "tiles_overlap": overlap,
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1.0] * bands,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    if card.gsd_m is not None:
        values["resolution"] = round(100.0 * card.gsd_m, 4)  # centimetres
    return {key: json.dumps(value) for key, value in values.items()}
