"""Fit and score controls, the simple methods that a model has to beat."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from geoseg.core.errors import MatchingError
from geoseg.core.progress import say_stage
from geoseg.geo.evaluation.evaluation import evaluate_models
from geoseg.geo.evaluation.matching import match_model
from geoseg.geo.tiles.tiles import Tile
from geoseg.methods import build_method
from geoseg.methods.bases.method import Batches
from geoseg.model.file import Model
from geoseg.model.matching import OBJECTIVES, Matching, Objective, match_clusters
from geoseg.scores.scores import Scores
from geoseg.training.passes import TimedPasses

log = logging.getLogger(__name__)

#: Name in tables → method that is fitted as a control.
CONTROLS = {"colour k-means": "color_kmeans", "untrained network": "random_trunk"}


def score_controls(
    model: Model,
    test: Sequence[Tile],
    match: Sequence[Tile],
    batches: Batches,
    *,
    objective: Objective,
    drawn: bool = False,
    seconds: float = math.inf,
) -> list[Scores]:
    """Fit, match and score the controls in the same way as the model.

    Colour k-means and an untrained network with the model's trunk have as many clusters
    as the model's head, see the same patches and are matched on the same tiles; with
    two classes, once for F1 and once for accuracy. A model that is itself one of them is
    not scored twice.

    Args:
        model: The matched model to compare with.
        test: Labelled tiles to score on.
        match: Labelled tiles to match on.
        batches: Patches of the training tiles.
        objective: Of the matching.
        drawn: Score the pixels of their footprints, as for a file of footprints.
        seconds: Time limit of each control for reading patches.
    """
    entries = []
    for name, method in CONTROLS.items():
        if method == model.card.method:
            continue
        say_stage(f"control: {name}")
        control = build_control(model, method, batches, seconds)
        try:
            control = match_model(control, match, objective=objective)
        except MatchingError as error:
            log.warning("no score of %s: %s", name, error)
            continue
        clusters = control.method.heads[control.card.head]
        ways = _both_ways(control, f"{name} (K={clusters}")
        entries += [
            replace(scores, role="control", clusters=clusters)
            for scores in evaluate_models(ways, test, match_tiles=match, drawn=drawn)
        ]
    return entries


def _both_ways(control: Model, name: str) -> dict[str, Model]:
    """Return a control of two classes matched for F1 and for accuracy, by name.

    Either can be the better one: F1 fills roofs, accuracy separates footprints. With
    more classes, or if both give the same matching, there is only one.
    """
    head = control.card.head
    matching = control.card.matchings[head]
    if matching.num_classes > 2:
        return {f"{name})": control}
    counts = torch.tensor(matching.counts)[None]
    ways: dict[str, Matching] = {}
    for objective in OBJECTIVES:
        way = match_clusters(counts, objective=objective, shrinkage=matching.shrinkage)
        ways[objective] = replace(way, tiles=matching.tiles)
    if len({way.cluster_to_class for way in ways.values()}) == 1:
        return {f"{name})": control}
    return {
        f"{name}, matched for {objective.replace('f1', 'F1')})": control.with_card(
            matchings={**control.card.matchings, head: way}
        )
        for objective, way in ways.items()
    }


def build_control(
    model: Model, method: str, batches: Batches, seconds: float = math.inf
) -> Model:
    """Fit a control with the same trunk and number of clusters as a model.

    For a model that learned classes it has the default number of clusters: with only as
    many clusters as classes it would be too weak for a comparison.
    """
    parameters: dict[str, Any] = {}
    if not model.learned_classes:
        parameters["clusters"] = model.method.heads[model.card.head]
    if method == "random_trunk":
        parameters |= {
            key: model.card.parameters[key]
            for key in ("trunk", "width")
            if key in model.card.parameters
        }
    built = build_method(
        method, model.card.normalization.channels, parameters, seed=model.card.seed
    )
    built.whiten(model.card.normalization.whitening)
    built.finish(TimedPasses(batches, f"fitting {method}", seconds))
    return Model(built.eval(), model.card).with_card(
        method=method, parameters=parameters, head=built.default_head, matchings={}
    )
