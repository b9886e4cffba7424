"""TorchGeo datasets, samplers and loaders of patches cut from tiles.

A patch is a window of its tile's own grid, bit for bit. TorchGeo's queries are snapped
to pixels and never resampled, so any of its samplers works on :class:`TileDataset`. No
other module imports TorchGeo.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import GeoSampler

from geoseg.core.errors import DatasetError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.patches import PatchBatch, tile_chances
from geoseg.geo.coordinates.georeference import locate, warp
from geoseg.geo.patches import tile_index
from geoseg.geo.patches.aims import aims_of, corner_around
from geoseg.geo.patches.tile_reader import CACHE_MIB, TileReader
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.nodata import NodataRule
from geoseg.geo.tiles.tiles import Tile

#: Golden ratio; the fractional parts of its first n multiples are evenly spread in [0,
#: 1).
GOLDEN = (math.sqrt(5) - 1) / 2


class PatchQuery(tuple[slice, slice, slice]):
    """TorchGeo's query (x, y and time slices) with its window of pixels.

    Attributes:
        tile: Number of the tile in the dataset.
        window: Pixels of the tile's image; may exceed the tile.
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
        # tuple's own copying and pickling pass no keywords
        return (tuple(self),), vars(self)


class TileDataset(GeoDataset):
    """Tiles as a TorchGeo dataset whose samples are exact windows of the files.

    The index is TorchGeo's: one row per tile, in the CRS of the first tile, or in WGS
    84 if another tile has no position in that CRS. A tile without a position in either
    has an empty outline: queries of coordinates do not find it, queries of patches do.
    A query reads the tile that it overlaps most, at the nearest whole pixels of its own
    grid, padded with invalid pixels beyond the tile. The size in pixels is the query's
    in the dataset's resolution, so samples of tiles on different grids stack.

    Args:
        tiles: At least one tile.
        normalization: Normalization of the bands, with their names.
        nodata: The nodata rule.
        cache_mib: Memory for decoded tiles, in MiB.

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
        self._common_crs = tile_index.common_crs(self.descriptions, self.extents)
        self.index = tile_index.index_tiles(
            self.tiles, self.descriptions, self.extents, self._common_crs
        )
        self._res = tile_index.resolution_in(self._common_crs, self.descriptions[0])

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
        """Return the query of a window of a tile's image."""
        outline = tile_index.outline_in(
            self._common_crs, self.descriptions[tile], window
        )
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
        # of equal overlaps take the first, so that results repeat
        tile = -max(zip(shared, (-int(hit) for hit in hits), strict=True))[1]
        description = self.descriptions[tile]
        height = max(1, round((y.stop - y.start) / self.res[1]))
        width = max(1, round((x.stop - x.start) / self.res[0]))
        middle = (area.centroid.x, area.centroid.y)
        (centre,) = warp([middle], self._common_crs, description.crs)
        col, row = locate(~description.transform, *centre)
        # round half up, because round() rounds neighbouring halves to the same integer
        top, left = (math.floor(v + 0.5) for v in (row - height / 2, col - width / 2))
        window = PixelWindow(top, left, height, width)
        return PatchQuery(query, tile=tile, window=window, patch=0)


class PatchSampler(GeoSampler):
    """Random patches that depend only on the seed and the epoch.

    A tile is drawn in proportion to its area, and a position uniformly among those
    inside the tile; a tile smaller than the patch is padded. If a labelled share is
    given, tiles with labels get that share of the patches and other tiles the rest; in
    a tile with a small labelled part, a patch contains some of that part.

    Any patch of an epoch can be drawn directly: the generator skips the random numbers
    before it.

    Args:
        dataset: The tiles.
        size: Height and width of a patch in pixels.
        length: Patches per epoch.
        seed: Seed of all epochs.
        labelled_share: Share of patches from labelled tiles, (0, 1]; None: by area.
        evenly: Spread the patches over the tiles, so that for any n each tile gets
            nearly its share of the first n patches.
    """

    def __init__(
        self,
        dataset: TileDataset,
        *,
        size: int,
        length: int,
        seed: int = 0,
        labelled_share: float | None = None,
        evenly: bool = False,
    ) -> None:
        super().__init__(dataset)
        self.extents = np.array(dataset.extents)
        self.aims = (
            {}
            if labelled_share is None
            else aims_of(dataset.tiles, dataset.descriptions)
        )
        labelled = [tile.labels is not None for tile in dataset.tiles]
        areas = self.extents[:, 2] * self.extents[:, 3]
        cumulated = tile_chances(areas, labelled, labelled_share).cumsum()
        self.cumulated = cumulated / cumulated[-1]
        self.dataset = dataset
        self.size = size
        self.length = length
        self.seed = seed
        self.evenly = evenly
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[PatchQuery]:
        return self.patches(0, self.length, epoch=self.epoch)

    def patches(self, start: int, stop: int, *, epoch: int) -> Iterator[PatchQuery]:
        """Yield an epoch's patches from number ``start`` to before ``stop``."""
        if self.evenly:
            steps = np.arange(start, stop) * GOLDEN
            levels = (self._uniform(0, 1, epoch) + steps) % 1.0
        else:
            levels = self._uniform(start, stop, epoch)
        tiles = self.cumulated.searchsorted(levels, side="right")
        after = self.length  # random numbers of positions follow those of tiles
        places = self._uniform(after + 2 * start, after + 2 * stop, epoch)
        slack = np.maximum(self.extents[tiles, 2:] - self.size, 0) + 1
        places = places.reshape(-1, 2)
        corners = self.extents[tiles, :2] + np.floor(places * slack)
        for which in np.flatnonzero(np.isin(tiles, list(self.aims))):
            pixels = self.aims[int(tiles[which])]
            low = self.extents[tiles[which], :2]
            corner = corner_around(pixels, places[which], self.size)
            corners[which] = np.clip(corner, low, low + slack[which] - 1)
        for number, tile, (row, col) in zip(
            range(start, stop),
            tiles.tolist(),
            corners.astype(int).tolist(),
            strict=True,
        ):
            window = PixelWindow(row, col, self.size, self.size)
            yield self.dataset.query(tile, window, number)

    def _uniform(self, start: int, stop: int, epoch: int) -> NDArray[np.float64]:
        """Return an epoch's random numbers ``start`` to ``stop - 1``, in [0, 1)."""
        bits = np.random.PCG64([self.seed, epoch])
        return np.random.Generator(bits.advance(start)).random(stop - start)


class PatchLoader:
    """Batches of random patches that depend only on the seed and the epoch.

    The loader has no state: any epoch can be started at any batch, so training can be
    resumed anywhere. It shards over ranks itself (``use_distributed_sampler=False``).

    Args:
        tiles: As :class:`TileDataset`.
        normalization: As :class:`TileDataset`.
        patch_size: Height and width of a patch in pixels.
        batch_size: Patches per batch and rank.
        patches_per_epoch: Rounded up to whole batches; None: as many as cover the
            tiles' area once.
        seed: Seed of all epochs.
        nodata: The nodata rule.
        cache_mib: Memory for decoded tiles in MiB, divided among the workers.
        num_workers: Reading processes, of one thread each; 0: read in this process.
        rank: Number of this process in distributed training.
        world_size: Number of processes.
        labelled_share: As :class:`PatchSampler`.
        fit_patches: Most patches in an epoch of :meth:`thinned`; None: all.
        whole_epochs: Whether the method reads a whole epoch before its steps; epochs
            have at most ``fit_patches`` then, unless ``patches_per_epoch`` is given.

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
        fit_patches: int | None = None,
        whole_epochs: bool = False,
    ) -> None:
        for name, value in (
            ("patch_size", patch_size),
            ("batch_size", batch_size),
            ("fit_patches", fit_patches),
        ):
            if value is not None and value < 1:
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
            if whole_epochs and fit_patches is not None:
                patches_per_epoch = min(patches_per_epoch, fit_patches)
        self.fit_patches = fit_patches
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
        """Return the number of batches per epoch and rank."""
        return self._batches

    def thinned(self) -> Self:
        """Return a loader of at most ``fit_patches`` per epoch, for fits without steps.

        Its patches are spread evenly over all tiles. It is this loader if the epoch is
        not longer than that.
        """
        per_batch = self.batch_size * self.world_size
        if self.fit_patches is None or self.fit_patches >= self.sampler.length:
            return self
        batches = max(1, self.fit_patches // per_batch)
        thinner = copy.copy(self)
        thinner._batches = batches
        thinner.sampler = copy.copy(self.sampler)
        thinner.sampler.length, thinner.sampler.evenly = batches * per_batch, True
        return thinner

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
            batch_sampler=self._queries(epoch, start),
            collate_fn=_collate,
            num_workers=self.num_workers,
            # the default generator would change the global random state
            generator=torch.Generator().manual_seed(0),
        )

    def _queries(self, epoch: int, start: int) -> Iterator[list[PatchQuery]]:
        """Yield the queries of each batch."""
        for batch in range(start, self._batches):
            first = (batch * self.world_size + self.rank) * self.batch_size
            last = first + self.batch_size
            yield list(self.sampler.patches(first, last, epoch=epoch))


def _collate(samples: Sequence[Mapping[str, Any]]) -> PatchBatch:
    image, valid, mask = (
        torch.stack([sample[name] for sample in samples])
        for name in ("image", "valid", "mask")
    )
    index = torch.tensor([sample["index"] for sample in samples])
    return PatchBatch(image, valid, mask, index)
