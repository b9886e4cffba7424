"""Fit and score controls, the simple methods that a model has to beat."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from geoseg.core.errors import MatchingError, TrainingError
from geoseg.core.progress import say_stage
from geoseg.geo.evaluation.evaluation import evaluate_models
from geoseg.geo.evaluation.matching import match_model
from geoseg.geo.tiles.tiles import Tile
from geoseg.methods import build_method
from geoseg.methods.bases.method import Batches
from geoseg.model.decisions import OBJECTIVES, Objective
from geoseg.model.file import Model
from geoseg.model.matching import Matching, Naming, match_clusters
from geoseg.scores.scores import Scores
from geoseg.training.passes import TimedPasses

log = logging.getLogger(__name__)


class Control(NamedTuple):
    """A simple method that a model has to beat.

    Attributes:
        name: In tables.
        method: In ``METHODS``.
        clusters: Their number; None for as many as the model's head has.
        naming: Of its clusters; None for that of the model.
    """

    name: str
    method: str
    clusters: int | None
    naming: Naming | None


CONTROLS = (
    Control("colour k-means", "color_kmeans", None, "vote"),
    Control("colour k-means", "color_kmeans", 192, "share"),
    Control("untrained network", "random_trunk", None, None),
)


def score_controls(
    model: Model,
    test: Sequence[Tile],
    match: Sequence[Tile],
    batches: Batches,
    *,
    objective: Objective,
    naming: Naming,
    drawn: bool = False,
    seconds: float = math.inf,
) -> list[Scores]:
    """Fit, match and score the controls in the same way as the model.

    Colour k-means and an untrained network with the model's trunk have as many clusters
    as the model's head, see the same patches and are matched on the same tiles. Votes of
    two classes are matched once for F1 and once for accuracy. Many colours are named by
    share. A model that is itself one of the controls is not scored twice.

    Args:
        model: The matched model to compare with.
        test: Labelled tiles to score on.
        match: Labelled tiles to match on.
        batches: Patches of the training tiles.
        objective: Of the matching.
        naming: Of the model's clusters.
        drawn: Score the pixels of their footprints, as for a file of footprints.
        seconds: Time limit of each control for reading patches.
    """
    entries = []
    for control in CONTROLS:
        way = control.naming or naming
        if (control.method, way) == (model.card.method, naming):
            continue
        say_stage(f"control: {control.name}, by {way}")
        try:
            fitted = build_control(
                model, control.method, batches, seconds, clusters=control.clusters
            )
            fitted = match_model(fitted, match, objective=objective, naming=way)
        except (MatchingError, TrainingError) as error:
            log.warning("no score of %s: %s", control.name, error)
            continue
        clusters = fitted.method.heads[fitted.card.head]
        ways = _ways(fitted, f"{control.name} (K={clusters}")
        entries += [
            replace(scores, role="control", clusters=clusters)
            for scores in evaluate_models(ways, test, match_tiles=match, drawn=drawn)
        ]
    return entries


def _ways(control: Model, name: str) -> dict[str, Model]:
    """Return a control named by share, or matched for F1 and for accuracy, by name.

    Either vote can be the better one: F1 fills roofs, accuracy separates footprints. With
    more than two classes, or if both give the same matching, there is only one.
    """
    head = control.card.head
    matching = control.card.matchings[head]
    if matching.naming == "share":
        return {f"{name}, by share)": control}
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
    model: Model,
    method: str,
    batches: Batches,
    seconds: float = math.inf,
    *,
    clusters: int | None = None,
) -> Model:
    """Fit a control with the trunk of a model, and as many clusters or a given number.

    For a model that learned classes it has the default number of clusters: with only as
    many clusters as classes it would be too weak for a comparison.
    """
    parameters: dict[str, Any] = {}
    if clusters is not None:
        parameters["clusters"] = clusters
    elif not model.learned_classes:
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
