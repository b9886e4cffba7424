"""The tiles of a run, their roles, and the patches for training."""

import hashlib
import logging
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.core.errors import DatasetError, LabelError
from geoseg.core.words import counted
from geoseg.methods import method_class
from geoseg.runs.settings import RunSettings, count_of

if TYPE_CHECKING:
    from geoseg.core.classes import LabelClasses
    from geoseg.core.normalization import Normalization
    from geoseg.geo.patches.dataset import PatchLoader
    from geoseg.geo.tiles.roles import Split
    from geoseg.geo.tiles.tiles import Tile

log = logging.getLogger(__name__)

#: Width in pixels of the gap between blocks of one image.
BLOCK_GAP = 16


def tiles_of(settings: RunSettings) -> "list[Tile]":
    """Return the tiles that the settings name."""
    return load_tiles(
        images=settings.images,
        labels=settings.labels,
        aoi=settings.aoi,
        data=settings.data,
        blocks=settings.blocks,
        nodata=settings.nodata,
        classes=settings.label_classes,
    )


def load_tiles(
    *,
    images: str | None,
    labels: str | None,
    aoi: str | None,
    data: Path | str | None,
    blocks: int = 1,
    nodata: str = "auto",
    classes: "LabelClasses | None" = None,
) -> "list[Tile]":
    """Find tiles by folder or AOI name, check them, and cut them into blocks if set.

    Without ``classes``, labels mean building or not.

    Raises:
        DatasetError: If there are no tiles, or their values are not comparable.
        LabelError: If the labels lie outside the images, or do not tell for most tiles
            whether they are labelled.
    """
    from geoseg.core.classes import TWO_CLASSES
    from geoseg.geo.labels.labelled_tiles import keep_labelled
    from geoseg.geo.labels.labels import check_labels
    from geoseg.geo.tiles.mixture import check_mixture
    from geoseg.geo.tiles.roles import split_blocks
    from geoseg.geo.tiles.tiles import aoi_tiles, find_tiles

    if aoi is not None:
        tiles = aoi_tiles(aoi, data)
    elif images is not None:
        tiles = find_tiles(images, labels)
    else:
        raise DatasetError("no tiles are named: give --images DIR or --aoi NAME")
    check_mixture(tiles, nodata)
    tiles = [replace(tile, classes=classes or TWO_CLASSES) for tile in tiles]
    check_labels(tiles)
    # a file in a folder belongs to one image, as the only file does to the only image
    one_file = len({tile.image for tile in tiles}) > 1 or labels == tiles[0].labels
    one_file = one_file and len({tile.labels for tile in tiles}) == 1
    if blocks > 1:
        tiles = split_blocks(tiles, blocks, BLOCK_GAP)
    return keep_labelled(tiles, one_file=one_file)


def split_of(settings: RunSettings, tiles: "Sequence[Tile]") -> "Split":
    """Assign a role to every tile by the rule of this version.

    Matching tiles beyond ``label_tiles`` become hidden.

    Raises:
        ParameterError: If the requested numbers of tiles are too large together.
    """
    from geoseg.geo.tiles.roles import split_tiles

    labelled = sum(tile.labels is not None for tile in tiles)
    match, test = (
        None if number is None else count_of(number, labelled)
        for number in (settings.match_tiles, settings.test_tiles)
    )
    split = split_tiles(
        tiles,
        match=match,
        select=settings.select_tiles,
        test=test,
        seed=split_seed(settings),
    )
    if settings.label_tiles is not None:
        split = _fewer_labels(split, settings.label_tiles, settings.seed)
    split = replace(split, transductive=settings.transductive)
    say_split(settings.method, split)
    return split


def split_seed(settings: RunSettings) -> int:
    """Return the seed of the split."""
    return settings.seed if settings.split_seed is None else settings.split_seed


def say_split(method: str, split: "Split") -> None:
    """Log in one line the numbers of labelled tiles by role and of training tiles."""
    labelled = (*split.match, *split.select, *split.test, *split.hidden)
    if not labelled:
        return
    learns = method_class(method).uses_labels
    use = "learn the classes from" if learns else "name the clusters"
    words = {
        f"to {use}": split.match,
        "to choose the head": split.select,
        "kept for the test": split.test,
        "with labels hidden": split.hidden,
    }
    cut = any(tile.window is not None for tile in labelled)
    log.info(
        "%s with labels: %s (--match-tiles, --test-tiles); %d train",
        counted(len(labelled), "block" if cut else "tile"),
        ", ".join(f"{len(own)} {what}" for what, own in words.items() if own),
        len(patch_tiles(method, split)),
    )


def label_order(split: "Split", seed: int) -> "list[Tile]":
    """Return the matching tiles in the order in which they keep their labels."""
    order = list(split.match)
    random.Random(seed).shuffle(order)
    return order


def _fewer_labels(split: "Split", count: int, seed: int) -> "Split":
    """Keep the labels of some matching tiles; a smaller choice is part of a larger."""
    from geoseg.geo.tiles.roles import without_labels

    kept = {tile.id for tile in label_order(split, seed)[:count]}
    others = tuple(tile for tile in split.match if tile.id not in kept)
    return replace(
        split,
        match=tuple(tile for tile in split.match if tile.id in kept),
        hidden=split.hidden + without_labels(others),
    )


def training_tiles(split: "Split") -> "tuple[Tile, ...]":
    """Return the tiles whose images training uses.

    They are all but the test tiles; a transductive run uses those too, without labels.
    """
    from geoseg.geo.tiles.roles import without_labels

    seen = split.match + split.select + split.unlabelled + split.hidden
    return seen + without_labels(split.test if split.transductive else ())


def ids_by_role(split: "Split") -> dict[str, list[str]]:
    """Return the ids of the tiles of each role, for a model's card."""
    from geoseg.geo.tiles.roles import ROLES

    ids = {role: [tile.id for tile in getattr(split, role)] for role in ROLES}
    # without hidden tiles, the card is as in former versions
    return {role: own for role, own in ids.items() if own or role != "hidden"}


def patch_tiles(method: str, split: "Split") -> "tuple[Tile, ...]":
    """Return the training tiles with the labels that the method may use.

    Only matching tiles keep their labels, and only if the method learns from labels.
    """
    from geoseg.geo.tiles.roles import without_labels

    rules = method_class(method)
    labelled = split.match if rules.uses_labels else without_labels(split.match)
    if rules.labelled_share == 1:
        return labelled
    return labelled + without_labels(training_tiles(split)[len(labelled) :])


def check_labelled(method: str, source: str, split: "Split") -> None:
    """Raise if the method learns from labels and there are none.

    Raises:
        LabelError: If the method learns from labels and no tile has labels.
    """
    if method_class(method).uses_labels and not split.match:
        raise LabelError(
            f"{method} learns from labelled tiles, and no tile of "
            f"{source} has labels: name them with --labels"
        )


def normalization_of(settings: RunSettings, tiles: "Sequence[Tile]") -> "Normalization":
    """Return the normalisation of the bands, measured over the training tiles."""
    from geoseg.geo.patches.statistics import fit_normalization
    from geoseg.geo.rasters import raster
    from geoseg.geo.rasters.bands import choose_bands

    bands = choose_bands(raster.describe(tiles[0].image), settings.bands)
    return fit_normalization(
        tiles, bands, nodata=settings.nodata, whiten=settings.whiten
    )


def loader_of(
    settings: RunSettings,
    tiles: "Sequence[Tile]",
    normalization: "Normalization",
    rank: int = 0,
    world_size: int = 1,
) -> "PatchLoader":
    """Return the loader of training patches, with one batch per step.

    Args:
        settings: Of the run.
        tiles: To train on.
        normalization: Of their values.
        rank: Number of the device.
        world_size: Number of devices.
    """
    # imports torchgeo, only needed to train
    from geoseg.geo.patches.dataset import PatchLoader

    method = method_class(settings.method)
    return PatchLoader(
        tiles,
        normalization,
        patch_size=settings.patch_size,
        batch_size=settings.batch_size * settings.accumulate,
        patches_per_epoch=settings.patches_per_epoch,
        nodata=settings.nodata,
        seed=settings.seed,
        num_workers=settings.loader_workers,
        rank=rank,
        world_size=world_size,
        labelled_share=method.labelled_share,
        fit_patches=settings.fit_patches,
        whole_epochs=method.labels_epochs,
    )


def fingerprint(tiles: "Sequence[Tile]") -> str:
    """Return a hash of the tiles: their ids, windows, grids and file sizes."""
    from geoseg.geo.rasters import raster

    digest = hashlib.sha256()
    images = dict.fromkeys(tile.image for tile in tiles)
    grids = {image: raster.describe(image) for image in images}
    for tile in tiles:
        grid = grids[tile.image]
        size = os.path.getsize(tile.image) if os.path.exists(tile.image) else None
        row = (tile.id, tile.window, grid.width, grid.height, grid.count, size)
        digest.update(repr(row).encode())
    return digest.hexdigest()
