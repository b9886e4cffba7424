"""Tables of clusters with pictures of the most typical places of each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geoseg.core.classes import BUILDING
from geoseg.model.file import Model
from geoseg.report.contents import ClusterRow, HeadTable, Picture
from geoseg.report.images import PLACE_SIDE, picture
from geoseg.runs.reporting.pictures import read_colours, shown_bands
from geoseg.runs.reporting.survey import Place, choose_places

#: Most pictures per cluster, and most clusters in a table.
PLACES, MOST_ROWS = 6, 48
#: Lightens the pictures, which are stretched for a network, not for display.
GAMMA = 0.65
#: A typical place of a cluster is filled by it to at least this share.
LEAST_SHARE = 0.25
#: Clusters with a smaller share get no row, unless there are few clusters.
LEAST_ROW, FEW_ROWS = 0.0005, 6


def head_table(
    model: Model, head: str, places: Sequence[Sequence[Sequence[Place]]]
) -> HeadTable:
    """Return a table of a head's clusters, the largest first.

    Args:
        model: Matched for ``head``.
        head: One of its heads.
        places: Per tile and cluster, windows that the cluster fills.
    """
    matching = model.card.matchings[head]
    classes = len(model.card.class_names)
    counts = np.array(matching.counts, dtype=np.int64)  # (K, C)
    shares = counts.sum(1) / max(1, counts.sum())
    order = np.argsort(-shares, kind="stable")
    kept = max(FEW_ROWS, int((shares >= LEAST_ROW).sum()))
    chosen, rest = np.split(order, [min(kept, MOST_ROWS)])
    rows = []
    for cluster in map(int, chosen):
        class_id = matching.cluster_to_class[cluster]
        candidates = [
            place
            for tile in places
            for place in tile[cluster]
            if place.share >= LEAST_SHARE
        ]
        rows.append(
            ClusterRow(
                cluster,
                model.card.class_names[class_id],
                class_id,
                float(shares[cluster]),
                matching.scores[cluster][BUILDING if classes == 2 else class_id],
                [
                    _thumbnail(model, place, cluster)
                    for place in choose_places(candidates, PLACES)
                ],
            )
        )
    return HeadTable(
        head=head,
        clusters=matching.num_clusters,
        rows=rows,
        omitted=len(rest),
        omitted_share=float(shares[rest].sum()),
        tiles=matching.tiles,
        threshold=matching.threshold,
        is_default=head == model.card.head,
        classes=classes,
        learned=head == model.method.class_head,
    )


def _thumbnail(model: Model, place: Place, cluster: int) -> Picture:
    """Return the picture of a window, with the training's stretch for all places."""
    normalization = model.card.normalization
    tile = replace(place.tile, window=place.window)
    pixels, valid = read_colours(tile, model.card.nodata, bands=normalization.bands)
    numbers = [normalization.bands.index(b) for b in shown_bands(normalization.bands)]
    low = np.array(normalization.low)[numbers, None, None]
    high = np.array(normalization.high)[numbers, None, None]
    scaled = np.clip((pixels - low) / (high - low), 0.0, 1.0) ** GAMMA
    scaled = np.where(valid, scaled, 1.0)
    share = f"{100 * place.share:.0f} %"
    return picture(
        np.broadcast_to(scaled, (3, *scaled.shape[1:])).transpose(1, 2, 0),
        side=PLACE_SIDE,
        alt=f"Place filled to {share} by cluster {cluster}, in {tile.id}",
        caption=f"{share} of this window, in {tile.id}",
    )
