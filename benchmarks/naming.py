"""Compare ways to name clusters: by vote or by share, smoothed or not, together or alone.

    python -m benchmarks.naming --images DATA/images --labels DATA/masks --splits 3

All rows of a split are fitted on the same patches, matched on the same tiles and scored on
the same others; the images of all tiles are seen in fitting, without labels.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import click
import numpy as np

from geoseg.core.patches import Epoch
from geoseg.geo.evaluation.evaluation import evaluate_models
from geoseg.geo.evaluation.matching import match_model
from geoseg.geo.rasters.raster import describe
from geoseg.methods import build_method, method_defaults
from geoseg.methods.codebooks import CODEBOOKS
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.model.matching import Naming
from geoseg.runs.plan import RunPlan, plan_run
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import (
    normalization_of,
    split_of,
    tiles_of,
    training_tiles,
)
from geoseg.scores.scores import Scores


class Way(NamedTuple):
    """A clustering and how it is named."""

    method: str
    parameters: Mapping[str, Any]
    naming: Naming = "share"
    codebooks: tuple[str, ...] = ()


def colors(clusters: int, naming: Naming = "share") -> Way:
    return Way("color_kmeans", {"clusters": clusters}, naming)


WAYS = {
    "colours K=24, by vote": colors(24, "vote"),
    "colours K=24, by share": colors(24),
    "colours K=192, by share": colors(192),
    "colours K=768, by share": colors(768),
    "patches K=192, by share": Way("patches", {}),
    "patches with colours": Way("patches", {}, codebooks=("colors",)),
}


def fitted(plan: RunPlan, method: str, parameters: Mapping[str, Any]) -> Model:
    """Fit a clustering to the patches of a plan."""
    stretch, seed = plan.card.normalization, plan.settings.seed
    built = build_method(method, stretch.channels, parameters, seed=seed)
    built.whiten(stretch.whitening)
    built.finish(Epoch(plan.loader.thinned()))
    card = ModelCard(
        method=method,
        parameters={**method_defaults(method), **parameters},
        normalization=stretch,
        head=built.default_head,
        gsd_m=plan.card.gsd_m,
        seed=seed,
    )
    return Model(built.eval(), card)


def scored(plan: RunPlan, name: str, way: Way) -> list[Scores]:
    """Return the scores of a way; by share also without smoothing."""
    model = fitted(plan, way.method, way.parameters)
    books = {
        book: fitted(plan, CODEBOOKS[book].method, CODEBOOKS[book].parameters)
        for book in way.codebooks
    }
    if books:
        model = model.with_codebooks(books)
    split, head = plan.split, model.card.head
    model = match_model(model, split.match, objective="f1", naming=way.naming)
    models = {name: model}
    if way.naming == "share" and not books:
        plain = replace(model.card.matchings[head], smoothing=None)
        models[f"{name}, not smoothed"] = model.with_card(matchings={head: plain})
    return evaluate_models(models, split.test, match_tiles=split.match)


@click.command()
@click.option("--images", required=True)
@click.option("--labels")
@click.option("--splits", default=3, show_default=True)
@click.option("--without-patches", is_flag=True, help="Leave out the slow rows.")
def main(images: str, labels: str | None, splits: int, without_patches: bool) -> None:
    """Print mean IoU and footprint F1 over some splits."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed in range(1, splits + 1):
        settings = RunSettings(
            images=images,
            labels=labels,
            method="color_kmeans",
            seed=seed,
            transductive=True,
        )
        tiles = tiles_of(settings)
        split = split_of(settings, tiles)
        stretch = normalization_of(settings, training_tiles(split))
        plan = plan_run(settings, split, stretch, {})
        gsd = describe(tiles[0].image).gsd_m
        plan = plan._replace(card=replace(plan.card, gsd_m=gsd))
        for name, way in WAYS.items():
            if without_patches and way.method == "patches":
                continue
            for scores in scored(plan, name, way):
                values = scores.to_json(seed=0)["metrics"]
                pair = values["iou"]["value"], values["polygon_f1"]["value"]
                rows.setdefault(scores.name, []).append(pair)
    print("| clusters | IoU | footprint F1 |\n|---|---:|---:|")
    for name, pairs in rows.items():
        mean, spread = np.mean(pairs, axis=0), np.std(pairs, axis=0)
        cells = (f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, spread, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
