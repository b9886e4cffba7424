"""Score a model or a map on its test tiles, together with the controls."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from geoseg.core.classes import footprint_ids
from geoseg.core.errors import DatasetError, LabelError, ParameterError
from geoseg.core.outputs import check_output
from geoseg.core.patches import Epoch
from geoseg.core.progress import say_stage
from geoseg.core.run_files import PANEL_NAME, SCORES_NAME
from geoseg.core.words import counted
from geoseg.geo.evaluation.evaluation import evaluate_models, evaluate_output
from geoseg.geo.labels.labels import check_footprints
from geoseg.geo.predict.head_views import Onlooker
from geoseg.geo.rasters.open_images import each_opened_once
from geoseg.geo.tiles.layouts import VECTOR_SUFFIXES
from geoseg.geo.tiles.presence import need_map
from geoseg.geo.tiles.roles import without_labels
from geoseg.geo.tiles.tiles import Tile
from geoseg.methods.bases.method import Batches
from geoseg.model.file import Model
from geoseg.model.one_to_one import one_to_one
from geoseg.report.verdict import Maker, verdict
from geoseg.runs.controls import score_controls
from geoseg.runs.reporting.gather import write_report_page
from geoseg.runs.reporting.material import Material, page_title
from geoseg.runs.reporting.pictures import draw_panel
from geoseg.runs.settings import LABEL_OPTIONS, RunSettings
from geoseg.runs.tiles.run_tiles import loader_of, tiles_of
from geoseg.runs.tiles.seen import seen_tiles
from geoseg.scores.documents import Document
from geoseg.scores.scores import Scores, constant_controls, write_scores
from geoseg.scores.tables import score_document

log = logging.getLogger(__name__)


def score_heads(
    model: Model,
    test: Sequence[Tile],
    match: Sequence[Tile],
    *,
    onlooker: Onlooker | None = None,
) -> list[Scores]:
    """Score every matched head on test tiles, the default head first.

    With more than two classes each head is scored with its many-to-one matching and, if
    it has enough clusters, with the one-to-one matching of the same counts. An onlooker
    receives the predictions.
    """
    several = len(model.card.class_names) > 2
    models: dict[str, Model] = {}
    for head in sorted(model.card.matchings, key=lambda name: name != model.card.head):
        clusters = model.method.heads[head]
        learned = head == model.method.class_head
        what = "learned from labels" if learned else f"{head}, K={clusters}"
        name = f"{model.card.method} ({what})"
        own = model.with_card(head=head)
        if model.card.combined is not None and model.card.combined.head == head:
            books = " + ".join(book.name for book in model.card.codebooks)
            models[f"{name} + {books}"] = own
            own = own.with_card(combined=None)
        models[f"{name}, many-to-one" if several else name] = own
        # a head that learned classes has no clusters to match one-to-one
        if several and not learned and clusters >= len(model.card.class_names):
            strict = one_to_one(model.card.matchings[head])
            models[f"{name}, one-to-one"] = own.with_card(matchings={head: strict})
    return [
        replace(entry, clusters=model.method.heads[models[entry.name].card.head])
        for entry in evaluate_models(models, test, match_tiles=match, onlooker=onlooker)
    ]


class Judged(NamedTuple):
    """The scores of a map, and the tiles that they come from."""

    entries: list[Scores]
    test: list[Tile]
    match: list[Tile]
    training: Sequence[Tile]
    batches: Batches | None

    def material(
        self,
        settings: RunSettings,
        model: Model | None,
        prediction: Path,
        run: Path | None,
        command: str,
    ) -> Material:
        """Return the material of the page about the map."""
        return Material(
            title=page_title(self.entries[0].class_names, settings.source),
            entries=self.entries,
            test=self.test,
            matching=self.match,
            training=self.training,
            model=model,
            prediction=prediction,
            batches=self.batches,
            run=run,
            command=command,
            seed=settings.seed,
        )


class MapScores(NamedTuple):
    """The scores of a map.

    Attributes:
        entries: Of the map, then of its controls.
        table: The same to read, with the verdict: ``str`` gives Markdown.
    """

    entries: list[Scores]
    table: Document


@each_opened_once()
def score_map(
    prediction: Path,
    settings: RunSettings,
    model: Model | None = None,
    folder: Path | None = None,
    *,
    footprint_classes: Sequence[str] = (),
    report: Path | None = None,
    run: Path | None = None,
    command: str = "",
    overwrite: bool = False,
) -> MapScores:
    """Score a map on disk.

    Footprints are of one class: with labels of several classes, it is scored against
    all others.

    Args:
        prediction: Footprints, a class raster, or a folder of class rasters.
        settings: Their paths name the labelled tiles.
        model: The model that made the map. Its matching and training tiles are left
            out; the controls are fitted on them and scored too. Settings without
            classes take those of its matching.
        folder: For ``scores.json`` and, with a model, ``panel.png``.
        footprint_classes: Classes whose footprints are counted; for footprints on disk,
            the class of the footprints.
        report: Page to write; with a model it has the curves over K.
        run: Folder of the model's run, for the page's training curves.
        command: The command line that repeats this.
        overwrite: Replace an existing page.

    Raises:
        LabelError: If no tile has labels.
        DatasetError: If the map is absent, or the model has seen all labelled tiles.
        OutputExistsError: If the page exists and ``overwrite`` is False.
    """
    need_map(prediction)
    if report is not None:
        check_output(report, overwrite=overwrite)
    judged = _judge(prediction, settings, model, footprint_classes)
    table = _in_words(judged.entries, model, settings.seed)
    command = command or f"geoseg evaluate {prediction}"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if model is not None:
            say_stage(PANEL_NAME)
            draw_panel(folder / PANEL_NAME, model, judged.test, seed=settings.seed)
        write_report(folder, judged.entries, command=command, seed=settings.seed)
    if report is not None:
        material = judged.material(settings, model, prediction, run, command)
        say_stage(report.name)
        write_report_page(report, material, overwrite=overwrite)
        log.info("%s is written", report)
    return MapScores(judged.entries, table)


def _judge(
    prediction: Path,
    settings: RunSettings,
    model: Model | None,
    footprint_classes: Sequence[str],
) -> Judged:
    """Score a map, and the controls if the model is known."""
    settings = _labels_as_matched(settings, model)
    tiles = tiles_of(settings)
    labelled = [tile for tile in tiles if tile.labels is not None]
    if not labelled:
        raise LabelError(
            f"no tile of {settings.source} has labels: name them with --labels"
        )
    if prediction.suffix.lower() in VECTOR_SUFFIXES:
        check_footprints(prediction, tiles)
        tiles = _one_class(tiles, footprint_classes)
        labelled = [tile for tile in tiles if tile.labels is not None]
    output = partial(evaluate_output, footprint_classes=footprint_classes)
    if model is None:
        log.info(
            "scoring all %s, even those that a model was trained or matched on; with "
            "--model those are left out",
            counted(len(labelled), "labelled tile"),
        )
        own = output(prediction, labelled)
        return Judged([own, *constant_controls(own)], labelled, [], [], None)
    vector = prediction.suffix.lower() in VECTOR_SUFFIXES
    return _judge_unseen(
        partial(output, prediction), settings, model, tiles, drawn=vector
    )


def _judge_unseen(
    output: Callable[[Sequence[Tile]], Scores],
    settings: RunSettings,
    model: Model,
    tiles: Sequence[Tile],
    *,
    drawn: bool,
) -> Judged:
    """Score a map, by ``output``, and the controls on tiles unseen by the model.

    For a map of footprints the controls are scored by their footprints too.
    """
    labelled = [tile for tile in tiles if tile.labels is not None]
    seen = seen_tiles(model.card, tiles)
    test = [tile for tile in labelled if tile.id not in seen.images]
    if not test:
        raise DatasetError(
            f"the model has seen all labelled tiles ({len(labelled)}) of "
            f"{settings.source}: {_other_way(model)}"
        )
    match = [tile for tile in labelled if tile.id in seen.matched]
    # the controls use the same labels as the model: those of the matching tiles
    training = without_labels([tile for tile in tiles if tile.id in seen.images])
    log.info(
        "scoring %d of %s; left out are the %d that the model was trained or matched on",
        len(test),
        counted(len(labelled), "labelled tile"),
        len(labelled) - len(test),
    )
    entries, batches = [output(test)], None
    if match:
        card = model.card
        loader = loader_of(
            replace(settings, nodata=card.nodata, patch_size=card.patch_size),
            training,
            card.normalization,
        )
        batches = Epoch(loader.thinned())
        entries += score_controls(
            model,
            test,
            match,
            batches,
            objective=settings.objective,
            naming=model.card.matchings[model.card.head].naming,
            drawn=drawn,
        )
    return Judged(
        [*entries, *constant_controls(entries[0])], test, match, training, batches
    )


def _other_way(model: Model) -> str:
    """Return what to do if the model has seen all labelled tiles."""
    refit = model.card.provenance.get("refit")
    if refit is None:
        return "name other tiles, or score without --model"
    return (
        f"it was refitted on the test tiles too; predict and evaluate with "
        f"{refit['scored_model']} beside it, the model before the refit, or name other "
        "tiles"
    )


def write_report(
    folder: Path,
    entries: Sequence[Scores],
    *,
    command: str,
    seed: int,
    model: Model | None = None,
) -> Document:
    """Write ``scores.json`` into a folder; return tables and verdict."""
    write_scores(
        folder / SCORES_NAME, entries, command=command, seed=seed, overwrite=True
    )
    return _in_words(entries, model, seed)


def _in_words(entries: Sequence[Scores], model: Model | None, seed: int) -> Document:
    """Return the tables of scores with the verdict below them."""
    maker = None if model is None else Maker.of(model)
    judged = verdict(entries, maker, seed=seed)
    tables = score_document(entries, seed=seed)
    return Document([*tables.parts, "", str(judged), ""])


def _labels_as_matched(settings: RunSettings, model: Model | None) -> RunSettings:
    """Return the settings, with the classes of the model's matching if none are set."""
    if model is None or any(getattr(settings, name) for name in LABEL_OPTIONS):
        return settings
    used = model.card.provenance.get("labels", {})
    options = {name: str(used[name]) for name in LABEL_OPTIONS if name in used}
    return replace(settings, **options)  # type: ignore[arg-type]


def _one_class(tiles: Sequence[Tile], class_names: Sequence[str]) -> list[Tile]:
    """Return the tiles with two classes: the class of the footprints and all others."""
    names = tiles[0].classes.names
    ids = footprint_ids(names, class_names)
    if len(ids) > 1:
        raise ParameterError(
            f"footprints are scored as one class, found "
            f"{', '.join(names[i] for i in ids)}: name one with --footprint-class"
        )
    if len(names) == 2:
        return list(tiles)
    return [replace(tile, classes=tile.classes.binary(ids[0])) for tile in tiles]
