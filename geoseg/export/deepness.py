"""What the Deepness plugin of QGIS reads of a model's metadata.

Its keys are those that its code reads (version 0.6.5); every value is a JSON text. The
specification: https://qgis-plugin-deepness.readthedocs.io
"""

import json
from collections.abc import Mapping

from geoseg.model.card import ModelCard


def deepness_metadata(
    card: ModelCard, *, tile_size: int, overlap: int
) -> Mapping[str, str]:
    """Return Deepness' keys with what they hold.

    Pixels are standardised, and classes thresholded, within the graph: what Deepness
    would do of the kind is set to do nothing. Without a known GSD there is no
    ``resolution``: its user then says how large pixels are.

    Args:
        card: The model's.
        tile_size: Side of a tile in pixels.
        overlap: Of neighbouring tiles, in percent of their side.
    """
    bands = card.normalization.channels
    values = {
        "model_type": "Segmentor",
        "class_names": {str(id): name for id, name in enumerate(card.class_names)},
        # the plugin's code reads the one, its documentation names the other
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
