"""Match a trained model on the labelled tiles of a run's settings."""

import logging
from collections.abc import Sequence

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError, MatchingError
from geoseg.core.words import counted
from geoseg.geo.evaluation.matching import ALL_ALIKE, largest_cluster, match_model
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.bands import check_scaling
from geoseg.geo.rasters.inspection import warn_of_unlike
from geoseg.geo.tiles.keys import tile_keys
from geoseg.geo.tiles.roles import MATCH_TILES, split_tiles
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.runs.settings import RunSettings, count_of
from geoseg.runs.tiles.run_tiles import split_seed, tiles_of
from geoseg.runs.tiles.seen import MATCHED, seen_tiles

log = logging.getLogger(__name__)


def match_again(model: Model, settings: RunSettings) -> Model:
    """Match a trained model on the labelled tiles with the role ``match``.

    At most as many tiles are used as the settings say.

    Raises:
        LabelError: If no tile has labels.
        MatchingError: If the model learned classes from labels.
    """
    if model.method.class_head is not None:
        raise MatchingError(
            f"{model.card.method} learned its classes from labels, there is nothing to "
            "match: train it again on other labelled tiles"
        )
    tiles = [tile for tile in tiles_of(settings) if tile.labels is not None]
    if not tiles:
        raise LabelError(
            f"no tile of {settings.source} has labels: name them with --labels"
        )
    say_objective(settings.label_classes, settings.objective)
    most = MATCH_TILES if settings.match_tiles is None else settings.match_tiles
    tiles = _some_of(tiles, most, split_seed(settings))
    _warn_of_test(model.card, tiles)
    keys = {**model.card.provenance.get("tile_keys", {})}
    keys[MATCHED] = [key.to_json() for key in tile_keys(tiles)]
    former = {k: v for k, v in model.card.provenance.items() if k != "refit"}
    provenance = {
        **former,
        "matched_on": [tile.id for tile in tiles],
        "tile_keys": keys,
        "labels": settings.label_options,
    }
    grids = [raster.describe(image) for image in dict.fromkeys(t.image for t in tiles)]
    for grid in grids:
        scaling = model.card.provenance.get("image_scaling")
        check_scaling(grid, model.card.normalization.bands, scaling)
    matched = match_model(
        model, tiles, objective=settings.objective, naming=settings.naming
    )
    warn_of_unlike(grids, model.card.normalization, nodata=model.card.nodata)
    # the scores on the card belong to the former matching
    return matched.with_card(provenance=provenance, metrics={})


def _some_of(tiles: list[Tile], most: int | str, seed: int) -> list[Tile]:
    """Return at most a number or a share of the tiles, chosen in spatial blocks."""
    count = count_of(most, len(tiles))
    if count >= len(tiles):
        return tiles
    split = split_tiles(tiles, match=count, seed=seed)
    log.info(
        "%s with labels: %d to name the clusters, %d left out (--match-tiles)",
        counted(len(tiles), "tile"),
        len(split.match),
        len(tiles) - len(split.match),
    )
    return list(split.match)


def _warn_of_test(card: ModelCard, tiles: Sequence[Tile]) -> None:
    """Warn if test tiles become matching tiles, which can no longer test the model."""
    test = seen_tiles(card, tiles).test
    if test:
        log.warning(
            "%d of the %s to match on were test tiles of the model: geoseg evaluate "
            "--model leaves them out from now on",
            len(test),
            counted(len(tiles), "tile"),
        )


def refuse_worse(model: Model) -> None:
    """Raise if a new matching is useless, so that the former one is kept.

    Raises:
        MatchingError: If nearly all labelled pixels lie in one cluster of the head.
    """
    cluster, share = largest_cluster(model.card.matchings[model.card.head])
    if share > ALL_ALIKE:
        raise MatchingError(
            f"the model is unchanged: {100 * share:.1f} % of the labelled pixels lie in "
            f"cluster {cluster} of head {model.card.head!r}, so its clusters do not tell "
            "classes apart; to write the model anyway, name another file with -o"
        )


def say_objective(classes: LabelClasses, objective: str) -> None:
    """Log that only one objective applies with more than two classes."""
    names = classes.names
    if len(names) > 2 and objective != "accuracy":
        log.info(
            "%d classes: every cluster takes the class of its largest share, as for "
            "--objective accuracy",
            len(names),
        )


def select_head(model: Model, tiles: Sequence[Tile]) -> Model:
    """Return the model with the head of the best IoU on the selection tiles.

    It is the IoU of building or, with more than two classes, the mean IoU.
    """
    from geoseg.geo.evaluation.evaluation import evaluate_models
    from geoseg.scores.metrics import iou, mean_iou

    score = iou if len(model.card.class_names) == 2 else mean_iou
    heads = {head: model.with_card(head=head) for head in model.card.matchings}
    ious = {
        entry.name: float(score(entry.confusions.sum(0)))
        for entry in evaluate_models(heads, tiles, polygons=False)
    }
    best = max(ious, key=lambda head: ious[head])
    log.info("selection tiles: IoU %s; head %s", ious, best)
    return model.with_card(head=best)
