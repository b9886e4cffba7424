"""Tiles of several places in one file, and patches of them cut on the device.

The file is a NumPy archive that needs no geodata library to be read. It holds the tiles'
own integers, which labels and roles they have, and a card with each source's
normalisation. Differences between neighbours (across, down, then from band to band, all
modulo the type's size) deflate to half of what the pixels would, without loss.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geoseg.core.errors import DatasetError, OutputError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.patches import IGNORE, PatchBatch, tile_chances

_FORMAT = 1
_AXES = (2, 1, 0)


@dataclass(frozen=True, eq=False)
class PackedTile:
    """A tile, normalised, on the device.

    Attributes:
        id: Its name.
        source: Name of the place that it belongs to.
        role: ``match``, ``select``, ``test``, ``hidden`` or ``unlabelled``.
        image: ``(C, H, W)`` float32 in [0, 1].
        valid: ``(H, W)`` bool.
        mask: ``(H, W)`` long, class ids or IGNORE.
    """

    id: str
    source: str
    role: str
    image: Tensor
    valid: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Pack:
    """What :func:`write_pack` wrote.

    Attributes:
        card: Bands, the seed of the splits, and per source its ``normalization``.
        tiles: All tiles.
    """

    card: dict[str, Any]
    tiles: tuple[PackedTile, ...]

    def select(self, *roles: str, source: str | None = None) -> list[PackedTile]:
        """Return the tiles of some roles, of one source or of all."""
        return [
            tile
            for tile in self.tiles
            if tile.role in roles and source in (None, tile.source)
        ]

    @property
    def training(self) -> list[PackedTile]:
        """Return the tiles of unsupervised training: all but the test tiles."""
        return self.select("match", "select", "unlabelled", "hidden")


def write_pack(
    path: Path,
    sources: dict[str, tuple[str, str | None]],
    *,
    bands: str = "rgb",
    match_tiles: int | None = None,
    seed: int = 0,
    limit_mb: float = 48.0,
    overwrite: bool = False,
) -> float:
    """Read tiles with their labels and write them to one file.

    Args:
        path: Ends in ``.npz``.
        sources: Name of each place → its images and its labels, as ``geoseg train``
            takes them.
        bands: Bands that all sources have.
        match_tiles: Labelled tiles of each source to match on, if chosen.
        seed: Of the splits.
        limit_mb: Most megabytes that the file may have.
        overwrite: Replace the file.

    Returns:
        The size of the file in megabytes.

    Raises:
        GeosegError: If tiles or labels say no, or the file would be too large.
    """
    from geoseg.core.outputs import check_output, write_aside

    check_output(path, overwrite=overwrite)
    card: dict[str, Any] = {"format": _FORMAT, "bands": bands, "seed": seed}
    card |= {"sources": {}, "tiles": []}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, (images, labels) in sources.items():
        _add_source(card, arrays, name, images, labels, match_tiles)

    def verify(written: Path) -> None:
        size = written.stat().st_size / 1e6
        if size > limit_mb:
            raise OutputError(
                f"{path} would have {size:.1f} MB, expected at most {limit_mb:g}: name "
                "fewer sources, or raise --limit-mb"
            )
        found = read_pack(written)
        for number, tile in enumerate(found.tiles):
            if not tile.mask.equal(torch.from_numpy(arrays[f"mask_{number}"]).long()):
                raise OutputError(f"{path}: tile {tile.id} does not read back")

    with write_aside(path, verify=verify, overwrite=overwrite) as aside:
        np.savez_compressed(aside, card=np.array(json.dumps(card)), **arrays)
    return path.stat().st_size / 1e6


def _add_source(
    card: dict[str, Any],
    arrays: dict[str, np.ndarray[Any, Any]],
    name: str,
    images: str,
    labels: str | None,
    match_tiles: int | None,
) -> None:
    from geoseg.geo.patches.tile_reader import TileReader
    from geoseg.geo.tiles.roles import ROLES
    from geoseg.runs.settings import RunSettings
    from geoseg.runs.tiles.run_tiles import (
        normalization_of,
        split_of,
        tiles_of,
        training_tiles,
    )

    settings = RunSettings(
        images=images,
        labels=labels,
        bands=card["bands"],
        match_tiles=match_tiles,
        seed=card["seed"],
    )
    split = split_of(settings, tiles_of(settings))
    normalization = normalization_of(settings, training_tiles(split))
    card["sources"][name] = {"normalization": normalization.to_json()}
    for role in ROLES:
        tiles = getattr(split, role)
        if not tiles:
            continue
        reader = TileReader(tiles, normalization.bands)
        for number, tile in enumerate(tiles):
            decoded = reader.read(number, reader.extents[number])
            if decoded.pixels.dtype.kind not in "iu":
                raise DatasetError(
                    f"{tile.image} has {decoded.pixels.dtype} pixels, expected integers"
                )
            key = len(card["tiles"])
            arrays[f"pixels_{key}"] = _differences(decoded.pixels)
            arrays[f"valid_{key}"] = decoded.valid
            arrays[f"mask_{key}"] = decoded.mask
            card["tiles"].append({"id": tile.id, "source": name, "role": role})


def read_pack(path: Path, device: torch.device | str = "cpu") -> Pack:
    """Read a pack and put its normalised tiles on a device.

    Raises:
        DatasetError: If the file is absent, damaged or no pack.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            card = json.loads(str(archive["card"]))
            if card["format"] != _FORMAT:
                raise DatasetError(
                    f"{path} has format {card['format']}, expected {_FORMAT}: pack the "
                    "tiles again"
                )
            stretch = {
                name: Normalization.from_json(source["normalization"])
                for name, source in card["sources"].items()
            }
            tiles = []
            for number, entry in enumerate(card.pop("tiles")):
                valid = archive[f"valid_{number}"]
                pixels = _sums(archive[f"pixels_{number}"])
                image = stretch[entry["source"]](pixels, valid)
                mask = torch.from_numpy(archive[f"mask_{number}"]).long()
                parts = (image, torch.from_numpy(valid), mask)
                tiles.append(PackedTile(**entry, **_on(device, *parts)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is no pack of tiles ({error}): make one with gpu.py pack"
        ) from error
    return Pack(card, tuple(tiles))


def _on(device: torch.device | str, image: Tensor, valid: Tensor, mask: Tensor) -> Any:
    return {
        "image": image.to(device),
        "valid": valid.to(device),
        "mask": mask.to(device),
    }


def _differences(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    for axis in _AXES:
        pixels = np.diff(pixels, axis=axis, prepend=pixels.dtype.type(0))
    return pixels


def _sums(differences: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    for axis in reversed(_AXES):
        differences = differences.cumsum(axis=axis, dtype=differences.dtype)
    return differences


class PackedLoader:
    """Batches of random patches cut from tiles where they lie, without a copy to there.

    An :class:`geoseg.training.EpochLoader`: what a batch holds follows from seed, epoch
    and its number. Tiles are drawn in proportion to their area, as in ``geoseg train``.

    Args:
        tiles: At least one, none smaller than a patch.
        patch_size: Height and width of a patch in pixels.
        batch_size: Patches per batch.
        seed: Seed of all epochs.
        labelled_share: Of the patches, from tiles with labels; None: by area.

    Raises:
        DatasetError: If there is no tile, or none with labels where a share is wanted.
        ParameterError: If a tile is smaller than a patch.
    """

    def __init__(
        self,
        tiles: Sequence[PackedTile],
        *,
        patch_size: int,
        batch_size: int,
        seed: int = 0,
        labelled_share: float | None = None,
    ) -> None:
        if not tiles:
            raise DatasetError("no tile to cut patches from, expected at least one")
        self.tiles = tiles
        self.sides = np.array([tile.valid.shape for tile in tiles])
        if self.sides.min() < patch_size:
            raise ParameterError(
                f"patches of {patch_size} pixels a side do not fit into a tile of "
                f"{self.sides.min()}: lower --patch-size"
            )
        self.patch_size, self.batch_size, self.seed = patch_size, batch_size, seed
        areas = self.sides.prod(1)
        labelled = [bool((tile.mask != IGNORE).any()) for tile in tiles]
        self.chances = tile_chances(areas, labelled, labelled_share)
        patches = areas.sum() / patch_size**2
        self._batches = max(1, round(patches / batch_size))

    def __len__(self) -> int:
        """Batches per epoch: as many as cover the tiles about once."""
        return self._batches

    def thinned(self) -> "PackedLoader":
        """Return itself: its tiles are few."""
        return self

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        """Yield the batches of an epoch from number ``start`` on."""
        count = self._batches * self.batch_size
        random = np.random.default_rng([self.seed, epoch])
        numbers = random.choice(len(self.tiles), count, p=self.chances)
        slack = self.sides[numbers] - self.patch_size + 1
        corners = np.floor(random.random((count, 2)) * slack).astype(int)
        for first in range(start * self.batch_size, count, self.batch_size):
            yield self._cut(
                range(first, first + self.batch_size), numbers, corners.tolist()
            )

    def _cut(
        self, indexes: range, numbers: np.ndarray[Any, Any], corners: list[list[int]]
    ) -> PatchBatch:
        parts: dict[str, list[Tensor]] = {"image": [], "valid": [], "mask": []}
        for index in indexes:
            row, column = corners[index]
            rows = slice(row, row + self.patch_size)
            columns = slice(column, column + self.patch_size)
            for name, found in parts.items():
                whole = getattr(self.tiles[numbers[index]], name)
                found.append(whole[..., rows, columns])
        index = torch.tensor(indexes, device=self.tiles[0].image.device)
        return PatchBatch(*(torch.stack(found) for found in parts.values()), index)
