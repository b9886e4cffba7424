"""From a run or a map to the contents of its page."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.core.classes import BACKGROUND, BUILDING, renamed
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

#: Tiles shown in panels, as worst, and with footprints.
RANDOM, WORST, LARGE = 3, 3, 4
#: Share of a tile without a building that must be called building to be a failure.
LEAST_INVENTED = 0.01
#: Share of a tile that must be called building to be worth a large picture.
LEAST_OUTLINED = 0.005
#: Tiles that are looked at: matching and test tiles with the default head, and all
#: with another head. They bound the time a report takes.
MOST_MATCHING, MOST_TEST, MOST_OTHER = 50, 24, 6


def write_report_page(
    path: Path, material: Material, *, overwrite: bool = False
) -> Path:
    """Gather and write a page.

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
    """Look at the tiles, and gather all that the page shows."""
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
    """Choose the tiles to show: by their score, by the seed, each once if possible.

    Large are those that have something to outline, as long as there are some.
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
    """Name the tiles with the target class in the reference, or in more than specks."""
    first = material.entries[0]
    found = set()
    for counts in first.tiles:
        real, called = (counts.confusion.sum(axis)[first.target] for axis in (1, 0))
        if real or called >= LEAST_OUTLINED * counts.confusion.sum() > 0:
            found.add(counts.tile)
    return found & {tile.id for tile in material.test}


def _how_chosen(material: Material, large: Sequence[Tile]) -> str:
    """Say which tiles have their footprints shown, and of how many."""
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
    """Return tiles in the order in which they are chosen."""
    generator = torch.Generator().manual_seed(seed)
    return [tiles[int(n)] for n in torch.randperm(len(tiles), generator=generator)]


def _worst(material: Material) -> list[Tile]:
    """Return the test tiles with the lowest score first.

    A tile without a building has no IoU worth the name: it counts as a failure where
    buildings were invented on it.
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


#: Head → tile id → what it says there.
Surveys = dict[str, dict[str, Survey]]


def _survey(material: Material, shown: Sequence[Tile]) -> Surveys:
    """Predict every tile that is needed once, for all heads that look at it."""
    model = material.model
    if model is None:
        return {}
    wanted: dict[Tile, list[str]] = {}
    matching = evenly(material.matching, MOST_MATCHING)
    for head in heads_of(model):
        if head == model.card.head:
            tiles = [*shown, *matching, *evenly(material.test, MOST_TEST)]
        else:
            rest = max(0, MOST_OTHER - len(shown))
            tiles = [*shown, *evenly(matching, rest)]
        for tile in dict.fromkeys(tiles):
            wanted.setdefault(tile, []).append(head)
    found: Surveys = {head: {} for head in heads_of(model)}
    places = max(1, -(-MOST_PLACES // max(1, len(wanted))))
    for tile, heads in track(wanted.items(), "report, tiles", len(wanted)):
        said = _noted(material, tile, heads, keep=tile in shown)
        if said is None:
            said = survey_tile(model, tile, heads, keep=tile in shown)
        for head in heads:
            best = [spots[:places] for spots in said[head].places]
            found[head][tile.id] = said[head]._replace(places=best)
    return found


def _noted(
    material: Material, tile: Tile, heads: Sequence[str], *, keep: bool
) -> Mapping[str, Survey] | None:
    """Return what was seen of a tile before, if that is all that is wanted."""
    said = material.surveys.get(tile, {})
    if any(head not in said or keep and said[head].clusters is None for head in heads):
        return None
    return said


def surveyor(
    model: Model, tiles: Sequence[Tile], *, test: bool, seed: int = 0
) -> Surveyor:
    """Return what notes all that a page will show of tiles while they are predicted.

    Args:
        model: Whose heads; matched, if it is to be tested.
        tiles: To match or to test on.
        test: Whether to test on them: their maps may be shown.
        seed: Of the choice of tiles.
    """
    wanted = evenly(tiles, MOST_TEST if test else MOST_MATCHING)
    if test:
        wanted += _in_order(tiles, seed)[: RANDOM + WORST + LARGE]
    return Surveyor(model, wanted, keep=test)


def heads_of(model: Model) -> list[str]:
    """Return the matched heads, the default one first."""
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
        said = by_tile[tile.id]
        if model and said.clusters is not None and said.classes is not None:
            strip, own = said.classes, model.card.class_names
            strip = strip._replace(classes=renamed(strip.classes, own, names))
            heads.append(HeadLook(head, said.clusters, strip))
    mapped = None
    if material.prediction is not None:
        mapped = judged_map(material.prediction, part, valid)
    truth = truth_of(part, valid)
    return TileLook(part, image, truth, heads, mapped, names)


def _footprints(material: Material, look: TileLook) -> Picture:
    target = material.entries[0].target
    return footprint_picture(look, material.prediction, target)


def _tables(tiles: Sequence[Tile], surveys: Surveys) -> np.ndarray[Any, Any] | None:
    """Return ``(tiles, K, C)`` counts of the default head on tiles that were looked at."""
    by_tile = next(iter(surveys.values()), {})
    found = [by_tile[tile.id].table for tile in tiles if tile.id in by_tile]
    return np.stack(found) if found else None


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
