"""Patches cut from tiles, through TorchGeo; the one module that knows TorchGeo.

A patch is a window of its tile's own grid, bit for bit: TorchGeo's queries are snapped
to pixels and never resampled, so any of its samplers works on :class:`TileDataset`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import GeoSampler

from geoseg.errors import DatasetError, ParameterError, RasterError
from geoseg.geo.aoi import Tile
from geoseg.geo.georeference import locate, warp
from geoseg.geo.raster import (
    NodataRule,
    PixelWindow,
    RasterDescription,
)
from geoseg.geo.tile_reader import CACHE_MIB, TileReader
from geoseg.normalization import Normalization
from geoseg.patches import PatchBatch, tile_chances


class PatchQuery(tuple[slice, slice, slice]):
    """TorchGeo's query (x, y and time slices) that also knows its pixels.

    Attributes:
        tile: Number of the tile in the dataset.
        window: Pixels of the tile's image; may stick out of the tile.
        patch: Number of the patch within its epoch.
    """

    tile: int
    window: PixelWindow
    patch: int

    def __new__(
        cls,
        slices: tuple[slice, slice, slice],
        *,
        tile: int,
        window: PixelWindow,
        patch: int,
    ) -> "PatchQuery":
        query = super().__new__(cls, slices)
        query.tile, query.window, query.patch = tile, window, patch
        return query

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # tuple's own way to copy and send knows no keywords
        return (tuple(self),), vars(self)


class TileDataset(GeoDataset):
    """Tiles as a TorchGeo dataset whose samples are exact windows of the files.

    The index is TorchGeo's (one row per tile, in the CRS of the first tile; a tile that
    has no place there, a quarter of the Earth away, has an empty outline: queries of
    coordinates do not find it, those of patches do); a query is
    answered from the tile it overlaps most, at the nearest whole pixels of that tile's
    own grid, padded with invalid pixels beyond the tile. Its size in pixels is the
    query's in the dataset's resolution, so samples stack whatever the tiles' grids.

    Args:
        tiles: At least one.
        normalization: Names the bands and scales them.
        nodata: How nodata is recognised.
        cache_mib: Decoded tiles kept in memory, in MiB.

    Raises:
        DatasetError: If there is no tile, or some tiles have a CRS and others none.
        RasterError: If an image cannot be opened or lacks a band.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        normalization: Normalization,
        *,
        nodata: NodataRule = "auto",
        cache_mib: float = CACHE_MIB,
    ) -> None:
        if not tiles:
            raise DatasetError("no tile to cut patches from, expected at least one")
        self.tiles = tuple(tiles)
        self.paths = [tile.image for tile in tiles]
        self.normalization = normalization
        self.reader = TileReader(
            tiles,
            normalization.bands,
            nodata=nodata,
            cache_mib=cache_mib,
        )
        self.descriptions, self.extents = self.reader.descriptions, self.reader.extents
        self.index = _index(self.tiles, self.descriptions, self.extents)
        first = self.descriptions[0].transform
        # a rotated pixel's sides, not its projection on the axes
        self._res = (np.hypot(first.a, first.d), np.hypot(first.b, first.e))

    def __getitem__(self, query: Any) -> dict[str, Any]:
        """Read a patch.

        Args:
            query: A :class:`PatchQuery`, or TorchGeo's slices.

        Returns:
            ``image`` (channels, H, W) float32; ``valid`` (H, W) bool; ``mask`` (H, W)
            long; ``crs``; ``bounds`` (the query's slices); ``index``.

        Raises:
            IndexError: If no tile meets the query.
        """
        if not isinstance(query, PatchQuery):
            query = self._snap(self._disambiguate_slice(query))
        decoded = self.reader.read(query.tile, query.window)
        return {
            "image": self.normalization(decoded.pixels, decoded.valid),
            "valid": torch.from_numpy(decoded.valid),
            "mask": torch.from_numpy(decoded.mask.astype(np.int64)),
            "crs": self.crs,
            "bounds": tuple(query),
            "index": query.patch,
        }

    def query(self, tile: int, window: PixelWindow, patch: int = 0) -> PatchQuery:
        """The query of a window of a tile's image."""
        outline = _outline(self.descriptions[tile], window, self.descriptions[0])
        left, bottom, right, top = outline.bounds
        xres, yres = self.res
        time = self.index.index[tile]
        slices = (
            slice(left, right, xres),
            slice(bottom, top, yres),
            slice(time.left, time.right, 1),
        )
        return PatchQuery(slices, tile=tile, window=window, patch=patch)

    def _snap(self, query: tuple[slice, slice, slice]) -> PatchQuery:
        x, y, _ = query
        area = shapely.box(x.start, y.start, x.stop, y.stop)
        hits = self.index.sindex.query(area, predicate="intersects")
        if len(hits) == 0:
            raise IndexError(
                f"query: {query} not found in index with bounds: {self.bounds}"
            )
        shared = [self.index.geometry.iloc[hit].intersection(area).area for hit in hits]
        # of equal ones the first, for the same answer every time
        tile = -max(zip(shared, (-int(hit) for hit in hits), strict=True))[1]
        description = self.descriptions[tile]
        height = max(1, round((y.stop - y.start) / self.res[1]))
        width = max(1, round((x.stop - x.start) / self.res[0]))
        middle = (area.centroid.x, area.centroid.y)
        (centre,) = warp([middle], self.descriptions[0].crs, description.crs)
        col, row = locate(~description.transform, *centre)
        # half up, where round() would send neighbouring halves the same way
        top, left = (math.floor(v + 0.5) for v in (row - height / 2, col - width / 2))
        window = PixelWindow(top, left, height, width)
        return PatchQuery(query, tile=tile, window=window, patch=0)


class PatchSampler(GeoSampler):
    """Random patches of an epoch, drawn from (seed, epoch) alone.

    A tile is drawn in proportion to its area, a position evenly among those where the
    patch lies inside; a tile smaller than the patch is padded. Where a share of the
    patches is to be labelled, the tiles with labels have that share of the chances, and
    those without share the rest.

    Args:
        dataset: The tiles.
        size: Height and width of a patch in pixels.
        length: Patches per epoch.
        seed: Seed of all epochs.
        labelled_share: Of the patches, from tiles with labels, in (0, 1]; None: by area.
    """

    def __init__(
        self,
        dataset: TileDataset,
        *,
        size: int,
        length: int,
        seed: int = 0,
        labelled_share: float | None = None,
    ) -> None:
        super().__init__(dataset)
        extents = np.array(dataset.extents)
        labelled = [tile.labels is not None for tile in dataset.tiles]
        areas = extents[:, 2] * extents[:, 3]
        self.chances = tile_chances(areas, labelled, labelled_share)
        self.dataset = dataset
        self.size = size
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose patches the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[PatchQuery]:
        return self.patches(0, self.length, epoch=self.epoch)

    def patches(self, start: int, stop: int, *, epoch: int) -> Iterator[PatchQuery]:
        """Yield an epoch's patches from number ``start`` to before ``stop``."""
        random = np.random.default_rng([self.seed, epoch])
        extents = np.array(self.dataset.extents)
        tiles = random.choice(len(extents), self.length, p=self.chances)
        places = random.random((self.length, 2))
        slack = np.maximum(extents[tiles, 2:] - self.size, 0) + 1
        corners = extents[tiles, :2] + np.floor(places * slack).astype(int)
        for index in range(start, stop):
            row, col = (int(value) for value in corners[index])
            window = PixelWindow(row, col, self.size, self.size)
            yield self.dataset.query(int(tiles[index]), window, index)


class PatchLoader:
    """Batches of random patches, the same for the same (seed, epoch) on every run.

    Has no state: any epoch can be entered at any batch, which makes training resumable
    anywhere. Sharded over ranks by itself (``use_distributed_sampler=False``).

    Args:
        tiles: As :class:`TileDataset`.
        normalization: As :class:`TileDataset`.
        patch_size: Height and width of a patch in pixels.
        batch_size: Patches per batch and rank.
        patches_per_epoch: Rounded up to whole batches; None: as many as cover the
            tiles' area once.
        seed: Seed of all epochs.
        nodata: How nodata is recognised.
        cache_mib: Decoded tiles kept in memory, shared out among the workers.
        num_workers: Reading processes, of one thread each; 0: read here.
        rank: Number of this process in distributed training.
        world_size: Number of processes.
        labelled_share: As :class:`PatchSampler`.

    Raises:
        ParameterError: If a size is not positive.
        DatasetError: As :class:`TileDataset`.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        normalization: Normalization,
        *,
        patch_size: int,
        batch_size: int,
        patches_per_epoch: int | None = None,
        seed: int = 0,
        nodata: NodataRule = "auto",
        cache_mib: float = CACHE_MIB,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        labelled_share: float | None = None,
    ) -> None:
        for name, value in (("patch_size", patch_size), ("batch_size", batch_size)):
            if value < 1:
                raise ParameterError(f"{name} is {value}, expected at least 1")
        self.dataset = TileDataset(
            tiles,
            normalization,
            nodata=nodata,
            cache_mib=cache_mib / max(1, num_workers),
        )
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        if patches_per_epoch is None:
            area = sum(extent.height * extent.width for extent in self.dataset.extents)
            patches_per_epoch = math.ceil(area / patch_size**2)
        self._batches = max(1, math.ceil(patches_per_epoch / (batch_size * world_size)))
        self.sampler = PatchSampler(
            self.dataset,
            size=patch_size,
            length=self._batches * batch_size * world_size,
            seed=seed,
            labelled_share=labelled_share,
        )
        self.num_workers = num_workers

    def __len__(self) -> int:
        """Batches per epoch and rank."""
        return self._batches

    def batches(self, epoch: int, start: int = 0) -> Iterator[PatchBatch]:
        """Yield this rank's batches of an epoch, from number ``start`` on.

        Raises:
            ParameterError: If the epoch has fewer batches.
        """
        if not 0 <= start <= self._batches:
            raise ParameterError(
                f"batch {start} of an epoch of {self._batches}: resume with the same "
                "tiles and sizes"
            )
        yield from DataLoader(
            self.dataset,
            batch_sampler=[
                list(self._queries(epoch, batch))
                for batch in range(start, self._batches)
            ],
            collate_fn=_collate,
            num_workers=self.num_workers,
            # the default would draw from, and so change, the global random state
            generator=torch.Generator().manual_seed(0),
        )

    def _queries(self, epoch: int, batch: int) -> Iterator[PatchQuery]:
        start = (batch * self.world_size + self.rank) * self.batch_size
        return self.sampler.patches(start, start + self.batch_size, epoch=epoch)


def _collate(samples: Sequence[Mapping[str, Any]]) -> PatchBatch:
    image, valid, mask = (
        torch.stack([sample[name] for sample in samples])
        for name in ("image", "valid", "mask")
    )
    index = torch.tensor([sample["index"] for sample in samples])
    return PatchBatch(image, valid, mask, index)


def _outline(
    description: RasterDescription, window: PixelWindow, reference: RasterDescription
) -> shapely.Polygon:
    """A window's outline in the reference's CRS; empty where it has no place there."""
    row, col, height, width = window
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    points = [locate(description.transform, col + x, row + y) for x, y in corners]
    try:
        moved = warp(points, description.crs, reference.crs)
    except RasterError:  # no transformation
        return shapely.Polygon()
    return shapely.Polygon(moved if np.isfinite(moved).all() else None)


def _index(
    tiles: Sequence[Tile],
    descriptions: Sequence[RasterDescription],
    extents: Sequence[PixelWindow],
) -> geopandas.GeoDataFrame:
    """TorchGeo's index: files, outlines, and all of time."""
    first = descriptions[0]
    for tile, description in zip(tiles, descriptions, strict=True):
        if (description.crs is None) != (first.crs is None):
            raise DatasetError(
                f"of {tiles[0].image} and {tile.image} one has a CRS, expected both or "
                "neither: set it with gdal_edit.py -a_srs"
            )
    outlines = [
        _outline(description, extent, first)
        for description, extent in zip(descriptions, extents, strict=True)
    ]
    always = pd.Interval(pd.Timestamp.min, pd.Timestamp.max, closed="both")
    times = pd.IntervalIndex([always] * len(tiles), closed="both", name="datetime")
    return geopandas.GeoDataFrame(
        {"filepath": [tile.image for tile in tiles]},
        geometry=outlines,
        index=times,
        crs=first.crs.to_wkt() if first.crs else None,
    )
