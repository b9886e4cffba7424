"""Patches through TorchGeo, bit for bit."""

import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler

from geoseg.core.errors import DatasetError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.patches import IGNORE
from geoseg.geo.patches.dataset import (
    PatchLoader,
    PatchQuery,
    PatchSampler,
    TileDataset,
)
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.tiles import Tile

#: Leaves uint8 values readable: a value v becomes v / 256, exactly.
EXACT = Normalization(("red", "green", "blue"), (0.0,) * 3, (256.0,) * 3, (0.5,) * 3)


@pytest.fixture
def tiles(write_tiff, write_geojson, rectangle):
    """Two tiles far apart, the first labelled."""
    random = np.random.default_rng(0)
    labels = write_geojson("l.geojson", [rectangle(4, 6, 9, 9)], crs="EPSG:32611")
    found = []
    for number, (height, width) in enumerate([(40, 50), (30, 60)]):
        pixels = random.integers(0, 256, (3, height, width)).astype(np.uint8)
        grid = Affine(0.5, 0, 664000 + 100 * number, 0, -0.5, 4000000)
        path = write_tiff(f"{number}.tif", pixels, transform=grid)
        found.append(Tile(str(number), path, None if number else labels))
    return found


def loader_of(tiles, **options):
    options = {"patch_size": 16, "batch_size": 3, "patches_per_epoch": 12} | options
    return PatchLoader(tiles, EXACT, **options)


def same(first, second):
    names = ("image", "valid", "mask", "index")
    return all(torch.equal(getattr(first, n), getattr(second, n)) for n in names)


@pytest.mark.parametrize("cache_mib", [0, 64])
def test_a_patch_is_the_window_of_its_file_bit_for_bit(tiles, cache_mib):
    dataset = TileDataset(tiles, EXACT, cache_mib=cache_mib)
    for query in PatchSampler(dataset, size=16, length=20, seed=3):
        row, col, height, width = query.window
        with rasterio.open(tiles[query.tile].image) as source:
            expected = source.read(window=Window(col, row, width, height))
        image = dataset[query]["image"].numpy()
        np.testing.assert_array_equal(image * 256, expected)


def test_any_torchgeo_query_is_snapped_to_whole_pixels(tiles):
    dataset = TileDataset(tiles, EXACT)
    with rasterio.open(tiles[0].image) as source:
        expected = source.read(window=Window(10, 5, 8, 4))
    # 0.2 pixels off the grid
    x, y = 664000 + 5 + 0.1, 4000000 - 2.5 - 0.1
    sample = dataset[x : x + 4, y - 2 : y]
    np.testing.assert_array_equal(sample["image"].numpy() * 256, expected)


def test_the_slices_of_a_patch_alone_find_the_same_pixels(tiles):
    dataset = TileDataset(tiles, EXACT)
    for query in PatchSampler(dataset, size=16, length=20):
        by_slices, by_pixels = dataset[tuple(query)], dataset[query]
        assert torch.equal(by_slices["image"], by_pixels["image"])


def test_a_query_survives_pickling(tiles):
    query = TileDataset(tiles, EXACT).query(1, PixelWindow(1, 2, 3, 4), 5)
    again = pickle.loads(pickle.dumps(query))
    assert again == query and isinstance(again, PatchQuery)
    assert (again.tile, again.window, again.patch) == (1, (1, 2, 3, 4), 5)


def test_torchgeos_own_samplers_work(tiles):
    dataset = TileDataset(tiles, EXACT)
    torch.manual_seed(0)
    for query in RandomGeoSampler(dataset, size=16, length=10):
        sample = dataset[query]
        assert sample["image"].shape == (3, 16, 16) and sample["valid"].all()
    queries = list(GridGeoSampler(dataset, size=16, stride=16))
    seen = sum(int(dataset[query]["valid"].sum()) for query in queries)
    # grids overrun the tiles, so that every pixel is seen and the rest is invalid
    assert seen == 40 * 50 + 30 * 60
    assert len(dataset) == 2 and dataset.res == (0.5, 0.5)


def test_a_tile_in_another_crs_is_read_on_its_own_grid(tiles, write_tiff):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 20, 20)).astype(np.uint8)
    grid = Affine(5e-6, 0, -115.17, 0, -5e-6, 36.13)
    other = write_tiff("lon.tif", pixels, crs="EPSG:4326", transform=grid)
    dataset = TileDataset([*tiles, Tile("lon", other)], EXACT)
    window = PixelWindow(2, 3, 12, 10)
    image = dataset[dataset.query(2, window)]["image"].numpy()
    np.testing.assert_array_equal(image * 256, pixels[:, 2:14, 3:13])
    sample = next(
        sample
        for sample in map(dataset.__getitem__, GridGeoSampler(dataset, 8, 8))
        if sample["valid"].all()
    )
    assert sample["image"].shape == (3, 8, 8)


def test_a_tile_without_a_place_in_the_first_one_s_crs_is_trained_on_all_the_same(
    write_tiff,
):
    """Graz and Singapore: a quarter of the Earth apart, in UTM each."""
    pixels = np.random.default_rng(1).integers(1, 256, (3, 20, 20)).astype(np.uint8)
    places = {"EPSG:32633": (530000, 5213000), "EPSG:32648": (366497, 149249)}
    for order in (list(places), list(places)[::-1]):
        tiles = []
        for number, crs in enumerate(order):
            x, y = places[crs]
            grid = Affine(0.5, 0, x, 0, -0.5, y)
            path = write_tiff(f"{number}.tif", pixels, crs=crs, transform=grid)
            tiles.append(Tile(str(number), path))
        dataset = TileDataset(tiles, EXACT)
        for number in (0, 1):
            query = dataset.query(number, PixelWindow(2, 3, 12, 10))
            image = dataset[query]["image"].numpy()
            np.testing.assert_array_equal(image * 256, pixels[:, 2:14, 3:13])
        found = dataset[next(iter(GridGeoSampler(dataset, 8, 8)))]
        assert found["image"].shape == (3, 8, 8)


def test_masks_are_ignored_where_unlabelled_or_invalid(write_tiff, tiles):
    pixels = np.full((3, 40, 50), 7, np.uint8)
    pixels[:, 5, 7] = 0
    path = write_tiff("hole.tif", pixels, nodata=0)
    dataset = TileDataset([Tile("a", path, tiles[0].labels), tiles[1]], EXACT)
    mask = dataset[dataset.query(0, PixelWindow(0, 0, 16, 16))]["mask"]
    expected = torch.zeros(16, 16, dtype=torch.long)
    expected[4:13, 6:15] = 1
    expected[5, 7] = IGNORE
    assert torch.equal(mask, expected)
    bare = dataset[dataset.query(1, PixelWindow(0, 0, 16, 16))]["mask"]
    assert (bare == IGNORE).all()


def test_a_tile_smaller_than_the_patch_is_padded_with_invalid(tiles):
    small = [Tile("s", tiles[0].image, tiles[0].labels, PixelWindow(2, 3, 10, 12))]
    batch = next(loader_of(small, batch_size=1, patches_per_epoch=1).batches(0))
    with rasterio.open(tiles[0].image) as source:
        expected = source.read(window=Window(3, 2, 12, 10))
    image = batch.image[0].numpy() * 256
    np.testing.assert_array_equal(image[:, :10, :12], expected)
    assert batch.valid[0, :10, :12].all() and batch.valid.sum() == 120
    assert (batch.mask[~batch.valid] == IGNORE).all()
    assert (batch.image[0][:, ~batch.valid[0]] == 0.5).all()


def test_patches_lie_inside_their_tiles_window(tiles):
    window = PixelWindow(10, 5, 25, 30)
    dataset = TileDataset([Tile("a", tiles[0].image, None, window)], EXACT)
    rows, cols = set(), set()
    for query in PatchSampler(dataset, size=16, length=300):
        rows.add(query.window.row)
        cols.add(query.window.col)
    # every position inside is drawn, the last ones included
    assert rows == set(range(10, 20)) and cols == set(range(5, 20))


def test_tiles_are_drawn_by_area(write_tiff):
    found = []
    for number, side in enumerate((20, 60)):
        path = write_tiff(f"{number}.tif", np.ones((3, side, side), np.uint8))
        found.append(Tile(str(number), path))
    dataset = TileDataset(found, EXACT)
    drawn = [q.tile for q in PatchSampler(dataset, size=16, length=2000)]
    # binomial of share 0.9: standard deviation 0.0067
    assert np.mean(drawn) == pytest.approx(0.9, abs=0.03)


def test_patches_are_those_that_drawing_the_whole_epoch_gives(tiles):
    """So that trainings keep their bits, whatever batch an epoch is entered at."""
    dataset = TileDataset(tiles, EXACT)
    sampler = PatchSampler(dataset, size=16, length=200, seed=5)
    random, extents = np.random.default_rng([5, 7]), np.array(dataset.extents)
    areas = extents[:, 2] * extents[:, 3]
    expected = random.choice(2, 200, p=areas / areas.sum())
    places = random.random((200, 2)) * (extents[expected, 2:] - 16 + 1)
    for start in (0, 1, 117, 199):
        drawn = list(sampler.patches(start, 200, epoch=7))
        assert [query.tile for query in drawn] == expected[start:].tolist()
        corners = [(query.window.row, query.window.col) for query in drawn]
        np.testing.assert_array_equal(corners, np.floor(places[start:]))
        assert [query.patch for query in drawn] == list(range(start, 200))


@pytest.mark.parametrize("thin", [False, True])
def test_a_batch_draws_its_own_patches_alone(tiles, monkeypatch, thin):
    asked = []
    query = TileDataset.query
    monkeypatch.setattr(
        TileDataset, "query", lambda *key: asked.append(key[-1]) or query(*key)
    )
    loader = loader_of(tiles, patches_per_epoch=3_000_000, fit_patches=1_500_000)
    loader = loader.thinned() if thin else loader
    list(islice(loader.batches(2, 1000), 2))
    assert asked == list(range(3000, 3006))


def test_fits_read_so_many_patches_spread_evenly_over_the_tiles(tiles):
    equal = [Tile(str(n), tiles[0].image, None) for n in range(40)]
    loader = loader_of(equal, batch_size=4, patches_per_epoch=4000, fit_patches=403)
    thinned = loader.thinned()
    assert len(thinned) == 100 and len(loader) == 1000
    for count in (80, 200, 400):
        drawn = [q.tile for q in thinned.sampler.patches(0, count, epoch=1)]
        counts = np.bincount(drawn, minlength=40)
        least, most = counts.min(), counts.max()
        assert count / 40 - 2 <= least <= most <= count / 40 + 2
    batches = list(islice(thinned.batches(1), 3))
    again = loader.thinned().batches(1, 1)
    assert all(map(same, batches[1:], again))
    assert not same(batches[0], next(thinned.batches(2)))
    # an epoch that is short enough is read as it is
    whole = loader_of(equal, batch_size=4, patches_per_epoch=400, fit_patches=403)
    assert whole.thinned() is whole


def test_fits_read_labelled_tiles_by_their_share(tiles):
    loader = loader_of(tiles, fit_patches=6, labelled_share=0.5)
    assert [q.tile for q in loader.thinned().sampler].count(0) == 3


def test_epochs_that_are_read_whole_are_short_unless_asked_otherwise(tiles):
    options = {"fit_patches": 6, "whole_epochs": True}
    assert len(loader_of(tiles, patches_per_epoch=None, **options)) == 2
    assert len(loader_of(tiles, patches_per_epoch=12, **options)) == 4


def test_an_epoch_repeats_and_epochs_and_seeds_differ(tiles):
    loader = loader_of(tiles)
    first = list(loader.batches(0))
    assert len(first) == len(loader) == 4
    assert all(map(same, first, loader.batches(0)))
    assert all(map(same, first, loader_of(tiles).batches(0)))
    assert not torch.equal(first[0].image, next(loader.batches(1)).image)
    other = next(loader_of(tiles, seed=1).batches(0))
    assert not torch.equal(first[0].image, other.image)
    assert torch.cat([batch.index for batch in first]).tolist() == list(range(12))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_can_be_entered_at_any_batch(tiles, workers):
    everything = list(loader_of(tiles).batches(5))
    rest = list(loader_of(tiles, num_workers=workers).batches(5, 3))
    assert len(rest) == 1 and same(rest[0], everything[3])
    assert list(loader_of(tiles).batches(5, 4)) == []


def test_epochs_can_be_read_one_within_another(tiles):
    # A method may cluster the patches of an epoch while training is in the midst of it.
    loader = loader_of(tiles)
    expected = list(loader.batches(0))
    outer = loader.batches(0)
    first = next(outer)
    list(loader.batches(1))
    assert all(map(same, [first, *outer], expected))


def test_loading_leaves_the_global_random_state_alone(tiles):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    list(loader_of(tiles).batches(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_ranks_share_an_epoch_without_overlap(tiles):
    whole = list(loader_of(tiles, batch_size=6).batches(0))
    parts = [
        list(loader_of(tiles, rank=rank, world_size=2).batches(0)) for rank in range(2)
    ]
    for batch, first, second in zip(whole, *parts, strict=True):
        joined = torch.cat([first.image, second.image])
        assert torch.equal(batch.image, joined)


def test_by_default_an_epoch_covers_the_area_once(tiles):
    # 3800 pixels are 14.8 patches of 256, in batches of 3: 5
    assert len(loader_of(tiles, patches_per_epoch=None)) == 5


def test_of_more_tiles_than_the_memory_can_keep_patches_alone_are_decoded(tiles):
    many = [replace(tiles[n % 2], id=str(n)) for n in range(20)]
    few, all_ = (TileDataset(many, EXACT, cache_mib=mib).reader for mib in (0.05, 0.2))
    for tile in range(20):
        window = PixelWindow(3, 4, 16, 20)
        parts = zip(few.read(tile, window), all_.read(tile, window), strict=True)
        assert all(np.array_equal(*pair) for pair in parts)
    assert not few._decoded and len(all_._decoded) == 20


def test_decoded_tiles_are_kept_within_the_bound_the_oldest_leaving_first(tiles):
    reader = TileDataset([*tiles, *tiles, tiles[0]], EXACT).reader
    # three bands, validity and mask: 5 bytes a pixel, 10000 or 9000 a tile
    reader.cache_bytes = 40_000
    for tile in (0, 1, 2, 3, 4, 1, 0):
        reader.read(tile, PixelWindow(0, 0, 16, 16))
        assert reader._held() <= 40_000
    # 4 pushed 0 out; 1 was used again; then 0 pushed 2 out
    assert list(reader._decoded) == [3, 4, 1, 0]


def test_a_tile_too_large_to_keep_is_read_by_windows(tiles):
    reader = TileDataset(tiles, EXACT).reader
    reader.cache_bytes = 4 * 9_500
    for tile in (0, 1):
        reader.read(tile, PixelWindow(0, 0, 16, 16))
    assert list(reader._decoded) == [1]


def test_images_without_crs_can_be_trained_on(write_tiff):
    path = write_tiff("a.tif", np.full((3, 20, 20), 64, np.uint8), crs=None)
    batch = next(loader_of([Tile("a", path)]).batches(0))
    assert (batch.image == 0.25).all()


def test_no_tiles_mixed_crss_and_wrong_sizes_are_refused(tiles, write_tiff):
    with pytest.raises(DatasetError, match="no tile"):
        TileDataset([], EXACT)
    bare = write_tiff("bare.tif", np.ones((3, 20, 20), np.uint8), crs=None)
    with pytest.raises(DatasetError, match="bare.tif one has a CRS"):
        TileDataset([*tiles, Tile("bare", bare)], EXACT)
    with pytest.raises(ParameterError, match="batch_size is 0"):
        loader_of(tiles, batch_size=0)
    with pytest.raises(ParameterError, match="batch 9 of an epoch of 4"):
        next(loader_of(tiles).batches(0, 9))
