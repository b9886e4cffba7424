"""Gather the contents of the page about a run or a map."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.core.classes import BACKGROUND, BUILDING, convert_ids
from geoseg.core.progress import track
from geoseg.core.words import counted
from geoseg.geo.rasters import raster
from geoseg.geo.tiles.tiles import Tile
from geoseg.model.file import Model
from geoseg.report.contents import Contents, HeadTable, Picture
from geoseg.report.page import write_page
from geoseg.report.verdict import Maker
from geoseg.runs.reporting import card
from geoseg.runs.reporting.curves import (
    area_curves,
    k_section,
    label_section,
    training_curves,
    training_note,
)
from geoseg.runs.reporting.look import (
    HeadLook,
    TileLook,
    footprint_picture,
    judged_map,
    shown_image,
    story,
)
from geoseg.runs.reporting.material import Material
from geoseg.runs.reporting.places import head_table
from geoseg.runs.reporting.survey import (
    MOST_PLACES,
    Survey,
    Surveyor,
    evenly,
    shown_part,
    survey_tile,
    truth_of,
)
from geoseg.scores.comparison import main_key
from geoseg.scores.metrics import PIXEL_METRICS

log = logging.getLogger(__name__)

#: Numbers of tiles shown at random, as worst, and with footprints.
RANDOM, WORST, LARGE = 3, 3, 4
#: A tile without a building is a failure if a larger share of it is predicted building.
LEAST_INVENTED = 0.01
#: A tile gets a large picture if at least this share of it is predicted building.
LEAST_OUTLINED = 0.005
#: Most tiles that are predicted for a report: matching and test tiles with the default
#: head, and tiles with another head. They limit the time of a report.
MOST_MATCHING, MOST_TEST, MOST_OTHER = 50, 24, 6


def write_report_page(
    path: Path, material: Material, *, overwrite: bool = False
) -> Path:
    """Gather the contents of a page and write it.

    Raises:
        OutputExistsError: If it exists and ``overwrite`` is False.
        OutputError: If it cannot be written.
        GeosegError: If a tile can no longer be read.
    """
    started = time.monotonic()
    contents = gather(material)
    write_page(path, contents, overwrite=overwrite)
    log.debug("%s: made in %.0f s", path, time.monotonic() - started)
    return path


def gather(material: Material) -> Contents:
    """Predict tiles and return the contents of the page."""
    absent: dict[str, str] = {}
    chosen = _choose(material)
    shown = [*dict.fromkeys([*chosen.random, *chosen.worst, *chosen.large])]
    surveys = _survey(material, shown)
    looks = {
        tile.id: _look(material, tile, surveys)
        for tile in track(shown, "report, pictures", len(shown))
    }
    everything = len(material.test) <= RANDOM
    k_curves, k_note = k_section(material, absent)
    label_curve, label_note = label_section(
        material,
        _tables(material.matching, surveys),
        _tables(material.test, surveys),
        absent,
    )
    areas = area_curves(material.run, absent)
    return Contents(
        title=material.title,
        subtitle=card.subtitle(material),
        entries=material.entries,
        seed=material.seed,
        maker=None if material.model is None else Maker.of(material.model),
        footprints=[_footprints(material, looks[tile.id]) for tile in chosen.large],
        footprints_note=_how_chosen(material, chosen.large),
        tiles=[story(looks[t.id], explain=everything) for t in chosen.random],
        worst=[story(looks[t.id], explain=True) for t in chosen.worst],
        heads=_heads(material, surveys, absent),
        k_curves=k_curves,
        k_note=k_note,
        label_curve=label_curve,
        label_note=label_note,
        training=training_curves(material, absent),
        training_note=training_note(material.run, areas),
        areas=areas,
        card=card.run_card(material),
        command=material.command,
        caveats=card.caveats(material),
        absent=absent,
    )


@dataclass(frozen=True)
class _Chosen:
    random: Sequence[Tile]
    worst: Sequence[Tile]
    large: Sequence[Tile]


def _choose(material: Material) -> _Chosen:
    """Choose the tiles to show by score and by seed, each once if possible.

    Tiles with footprints are preferred for large pictures.
    """
    test = list(material.test)
    worst = _worst(material)[: max(0, min(WORST, len(test) - RANDOM))]
    order = _in_order(test, material.seed)
    random = [tile for tile in order if tile not in worst][:RANDOM]
    outlined = _outlined(material)
    order = [tile for tile in order if tile.id in outlined] or order
    fresh = [tile for tile in order if tile not in [*worst, *random]]
    large = list(dict.fromkeys([*fresh, *order]))[:LARGE]
    return _Chosen(random, worst, large)


def _outlined(material: Material) -> set[str]:
    """Return ids of tiles with the target class in the reference or in the map."""
    first = material.entries[0]
    outlined = set()
    for counts in first.tiles:
        real, called = (counts.confusion.sum(axis)[first.target] for axis in (1, 0))
        if real or called >= LEAST_OUTLINED * counts.confusion.sum() > 0:
            outlined.add(counts.tile)
    return outlined & {tile.id for tile in material.test}


def _how_chosen(material: Material, large: Sequence[Tile]) -> str:
    """Return a sentence on the choice of tiles with large pictures."""
    outlined = _outlined(material)
    of = counted(len(outlined), "test tile")
    name = material.entries[0].class_names[material.entries[0].target]
    if not outlined:
        return (
            f"No test tile has {name}, in the reference or in the map: some at random."
        )
    chosen = f"{len(large)} of the {of}" if len(large) < len(outlined) else f"The {of}"
    drawn = f", drawn by seed {material.seed}" if len(large) < len(outlined) else ""
    rest = counted(len(material.test) - len(outlined), "test tile")
    others = (
        f"; {rest} with specks or none are left out" if not rest.startswith("0") else ""
    )
    return f"{chosen} that have {name} in the reference or in the map{drawn}{others}."


def _in_order(tiles: Sequence[Tile], seed: int) -> list[Tile]:
    """Return tiles in a random order fixed by the seed."""
    generator = torch.Generator().manual_seed(seed)
    return [tiles[int(n)] for n in torch.randperm(len(tiles), generator=generator)]


def _worst(material: Material) -> list[Tile]:
    """Return the test tiles by ascending score.

    The IoU of a tile without buildings is not meaningful: the tile counts as a failure
    if buildings were predicted on it.
    """
    by_id = {tile.id: tile for tile in material.test}
    first = material.entries[0]
    measure = PIXEL_METRICS[main_key(first.class_names)]
    scored = []
    for counts in first.tiles:
        table = counts.confusion
        real = len(table) > 2 or table[BUILDING].sum()
        invented = table[BACKGROUND, BUILDING] >= LEAST_INVENTED * table.sum() > 0
        score = float(measure(table))
        if counts.tile in by_id and (real or invented) and not np.isnan(score):
            wrong = int(table.sum() - table.trace())
            scored.append((score, -wrong, counts.tile))
    return [by_id[name] for _, _, name in sorted(scored)]


#: Head → tile id → survey of the tile.
Surveys = dict[str, dict[str, Survey]]


def _survey(material: Material, shown: Sequence[Tile]) -> Surveys:
    """Predict each needed tile once for all its heads, and return the surveys."""
    model = material.model
    if model is None:
        return {}
    needed: dict[Tile, list[str]] = {}
    matching = evenly(material.matching, MOST_MATCHING)
    for head in heads_of(model):
        if head == model.card.head:
            tiles = [*shown, *matching, *evenly(material.test, MOST_TEST)]
        else:
            rest = max(0, MOST_OTHER - len(shown))
            tiles = [*shown, *evenly(matching, rest)]
        for tile in dict.fromkeys(tiles):
            needed.setdefault(tile, []).append(head)
    surveys: Surveys = {head: {} for head in heads_of(model)}
    places = max(1, -(-MOST_PLACES // max(1, len(needed))))
    for tile, heads in track(needed.items(), "report, tiles", len(needed)):
        by_head = _noted(material, tile, heads, keep=tile in shown)
        if by_head is None:
            by_head = survey_tile(model, tile, heads, keep=tile in shown)
        for head in heads:
            best = [spots[:places] for spots in by_head[head].places]
            surveys[head][tile.id] = by_head[head]._replace(places=best)
    return surveys


def _noted(
    material: Material, tile: Tile, heads: Sequence[str], *, keep: bool
) -> Mapping[str, Survey] | None:
    """Return the surveys of a tile from an earlier prediction, if they are complete."""
    surveys = material.surveys.get(tile, {})
    if any(
        head not in surveys or keep and surveys[head].clusters is None for head in heads
    ):
        return None
    return surveys


def surveyor(
    model: Model, tiles: Sequence[Tile], *, test: bool, seed: int = 0
) -> Surveyor:
    """Return a surveyor that collects the page's contents while tiles are predicted.

    Args:
        model: The predicting model; matched if ``test`` is set.
        tiles: To match or to test on.
        test: Whether they are test tiles, whose maps may be shown.
        seed: Of the choice of tiles.
    """
    chosen = evenly(tiles, MOST_TEST if test else MOST_MATCHING)
    if test:
        chosen += _in_order(tiles, seed)[: RANDOM + WORST + LARGE]
    return Surveyor(model, chosen, keep=test)


def heads_of(model: Model) -> list[str]:
    """Return the names of the matched heads, the default one first."""
    return sorted(model.card.matchings, key=lambda head: head != model.card.head)


def _look(material: Material, tile: Tile, surveys: Surveys) -> TileLook:
    model = material.model
    part = shown_part(tile, raster.describe(tile.image))
    nodata = "auto" if model is None else model.card.nodata
    bands = None if model is None else model.card.normalization.bands
    image, valid = shown_image(part, nodata, bands=bands)
    names = material.entries[0].class_names
    heads = []
    for head, by_tile in surveys.items():
        survey = by_tile[tile.id]
        if model and survey.clusters is not None and survey.classes is not None:
            strip, own = survey.classes, model.card.class_names
            strip = strip._replace(classes=convert_ids(strip.classes, own, names))
            heads.append(HeadLook(head, survey.clusters, strip))
    mapped = None
    if material.prediction is not None:
        mapped = judged_map(material.prediction, part, valid)
    truth = truth_of(part, valid)
    return TileLook(part, image, truth, heads, mapped, names)


def _footprints(material: Material, look: TileLook) -> Picture:
    target = material.entries[0].target
    return footprint_picture(look, material.prediction, target)


def _tables(tiles: Sequence[Tile], surveys: Surveys) -> np.ndarray[Any, Any] | None:
    """Return ``(tiles, K, C)`` counts of the default head on the surveyed tiles."""
    by_tile = next(iter(surveys.values()), {})
    tables = [by_tile[tile.id].table for tile in tiles if tile.id in by_tile]
    return np.stack(tables) if tables else None


def _heads(
    material: Material, surveys: Surveys, absent: dict[str, str]
) -> list[HeadTable]:
    if material.model is None:
        absent["clusters"] = (
            "The model that made this map is not known: name it with --model to see "
            "its clusters."
        )
        return []
    model = material.model
    return [
        head_table(model, head, [s.places for s in by_tile.values()])
        for head, by_tile in surveys.items()
    ]
