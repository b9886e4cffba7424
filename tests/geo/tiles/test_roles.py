"""Roles of tiles: disjoint, blocked in space, deterministic."""

import itertools
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from geoseg.core.errors import DatasetError, ParameterError
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles import roles as splits
from geoseg.geo.tiles.groups import PlacedTile, overlapping_groups, place_tiles
from geoseg.geo.tiles.roles import ROLES, role_counts, split_blocks, split_tiles
from geoseg.geo.tiles.tiles import Tile

PIXELS = np.ones((1, 10, 10), np.uint8)


def place(write_tiff, places, labels="labels.geojson", **options):
    """Tiles of 10 x 10 pixels of 1 m at (column, row) places in metres."""
    tiles = []
    for number, (x, y) in enumerate(places):
        grid = Affine(1, 0, 664000 + x, 0, -1, 4000000 - y)
        path = write_tiff(f"t{number}.tif", PIXELS, transform=grid, **options)
        tiles.append(Tile(f"t{number}", path, labels))
    return tiles


def ids(tiles):
    return {tile.id for tile in tiles}


def raster_of(side):
    return [(10 * col, 10 * row) for row in range(side) for col in range(side)]


@pytest.mark.parametrize(
    ("labelled", "match", "test"),
    [
        *((1, 1, 0), (2, 1, 1), (3, 1, 2), (10, 5, 5), (46, 23, 23), (99, 49, 50)),
        *((100, 50, 50), (150, 50, 50), (200, 50, 50), (201, 50, 51), (400, 50, 100)),
        *((2800, 50, 700), (3850, 50, 700), (100_000, 50, 700)),
    ],
)
def test_a_quarter_is_tested_on_and_no_more_than_half(labelled, match, test):
    assert role_counts(labelled) == (match, 0, test)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"match": 3}, (3, 0, 50)),
        ({"match": 80}, (80, 0, 20)),
        ({"match": 99}, (99, 0, 1)),
        ({"test": 4}, (50, 0, 4)),
        ({"test": 60}, (40, 0, 60)),
        ({"test": 99}, (1, 0, 99)),
        ({"match": 40, "test": 60}, (40, 0, 60)),
        ({"match": 1, "test": 1, "select": 98}, (1, 98, 1)),
        ({"select": 10}, (45, 10, 45)),
        ({"select": 10, "test": 50}, (40, 10, 50)),
        ({"select": 98}, (1, 98, 1)),
    ],
)
def test_numbers_that_are_chosen_count(chosen, expected):
    assert role_counts(100, **chosen) == expected


@pytest.mark.parametrize(
    ("labelled", "chosen", "message"),
    [
        (6, {"match": 6}, "6 tiles with labels cannot .* by --match-tiles 6: expected"),
        (6, {"test": 6}, "--test-tiles 6: expected at least one to match on"),
        (6, {"match": 4, "test": 3}, "by --match-tiles 4 and --test-tiles 3: .* 6 in"),
        (6, {"match": 3, "select": 3}, "by --match-tiles 3 and --select-tiles 3"),
        (6, {"select": 5}, "by --select-tiles 5"),
        (1, {"test": 1}, "1 tile with labels .* --test-tiles 1"),
        (1, {"match": 2}, "1 tile with labels .* --match-tiles 2"),
        (6, {"match": 0}, "expected 1 or more"),
        (6, {"test": 0}, "expected 1 or more"),
        (6, {"select": -1}, "expected 1 or more"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(labelled, chosen, message):
    with pytest.raises(ParameterError, match=message):
        role_counts(labelled, **chosen)


def test_all_that_is_not_dealt_out_trains_without_its_labels(write_tiff):
    tiles = place(write_tiff, [(100 * n, 0) for n in range(12)])
    split = split_tiles(tiles, match=3, select=2, test=4)
    counts = [len(getattr(split, role)) for role in ROLES]
    assert counts == [3, 2, 4, 3, 0]
    assert not any(tile.labels for tile in split.hidden)
    assert all(t.labels for t in (*split.match, *split.select, *split.test))


def grid_of_tiles(count, monkeypatch):
    """Labelled tiles of 10 m, side by side, as if they were on disk."""
    side = math.ceil(math.sqrt(count))
    tiles = [Tile(f"t{n}", f"{n}.tif", "labels.geojson") for n in range(count)]

    def place_tiles(some):
        numbers = [int(tile.id[1:]) for tile in some]
        corners = [(10 * (n % side), 10 * (n // side)) for n in numbers]
        return [
            PlacedTile(tile, shapely.box(x + 1, y + 1, x + 9, y + 9), "", 1.0)
            for tile, (x, y) in zip(some, corners, strict=True)
        ]

    monkeypatch.setattr(splits, "place_tiles", place_tiles)
    return tiles


@pytest.mark.parametrize("count", [3850, 400, 101, 46])
def test_tiles_that_do_not_overlap_are_dealt_out_to_the_last(count, monkeypatch):
    tiles = grid_of_tiles(count, monkeypatch)
    for seed in range(3):
        split = split_tiles(tiles, seed=seed)
        assert (len(split.match), 0, len(split.test)) == role_counts(count)
        assert len(split.hidden) == count - len(split.match) - len(split.test)


def test_test_tiles_lie_in_larger_blocks_than_matching_tiles(monkeypatch):
    tiles = grid_of_tiles(3600, monkeypatch)
    split = split_tiles(tiles)

    def neighbours(role):
        """Of tiles of a role, mean number of the four beside them that have it too."""
        own = {int(tile.id[1:]) for tile in role}
        return np.mean([len({n - 1, n + 1, n - 60, n + 60} & own) for n in own])

    assert neighbours(split.test) > 3
    assert neighbours(split.match) < 3


def test_unlabelled_tiles_keep_their_own_role(write_tiff):
    tiles = place(write_tiff, [(100 * n, 0) for n in range(4)])
    bare = Tile("bare", tiles[0].image)
    assert split_tiles([*tiles, bare]).unlabelled == (bare,)
    assert split_tiles([bare]).match == ()


def test_the_seed_chooses_and_the_order_of_tiles_does_not(write_tiff):
    tiles = place(write_tiff, raster_of(4))
    first = split_tiles(tiles, seed=1)
    assert first == split_tiles(tiles, seed=1)
    assert ids(first.match) == ids(split_tiles(tiles[::-1], seed=1).match)
    others = [ids(split_tiles(tiles, seed=seed).match) for seed in range(5)]
    assert any(other != ids(first.match) for other in others)


def test_blocks_are_compact(write_tiff):
    tiles = place(write_tiff, raster_of(8))
    split = split_tiles(tiles, match=32, test=32)
    # blocks of an eighth of 32: squares of 2 x 2 tiles stay together
    for row, col in itertools.product(range(0, 8, 2), repeat=2):
        square = {f"t{8 * (row + r) + col + c}" for r in (0, 1) for c in (0, 1)}
        assert square <= ids(split.match) or not square & ids(split.match)
    assert len(split.match) == 32


@given(
    places=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=6, max_size=9
    ),
    match=st.integers(1, 2),
    select=st.integers(0, 2),
    test=st.integers(1, 2),
    seed=st.integers(0, 3),
)
@settings(deadline=None, max_examples=30)
def test_roles_are_disjoint_complete_and_never_part_an_overlap(
    places, match, select, test, seed
):
    with tempfile.TemporaryDirectory() as folder:
        tiles = []
        for number, (x, y) in enumerate(places):
            path = str(Path(folder) / f"{number}.tif")
            grid = Affine(1, 0, 664000 + x, 0, -1, 4000000 - y)
            profile = {"driver": "GTiff", "width": 10, "height": 10, "count": 1}
            with rasterio.open(
                path, "w", dtype="uint8", crs="EPSG:32611", transform=grid, **profile
            ) as dataset:
                dataset.write(PIXELS)
            tiles.append(Tile(str(number), path, "labels"))
        split = split_tiles(tiles, match=match, select=select, test=test, seed=seed)
    roles = {tile.id: role for role in ROLES for tile in getattr(split, role)}
    together = sum(len(getattr(split, role)) for role in ROLES)
    assert together == len(tiles) and ids(tiles) == set(roles)
    assert split.match and not split.unlabelled
    if len(split.match) < len(tiles):
        assert split.test
    for one, other in itertools.combinations(range(len(places)), 2):
        (x0, y0), (x1, y1) = places[one], places[other]
        if abs(x0 - x1) < 8 and abs(y0 - y1) < 8:
            assert roles[str(one)] == roles[str(other)]


def test_overlap_is_seen_across_crss(write_tiff):
    tiles = place(write_tiff, [(0, 0), (500, 0), (1000, 0)])
    x, y = rasterio.warp.transform("EPSG:32611", "EPSG:4326", [664000], [4000000])
    grid = Affine(1e-5, 0, x[0], 0, -1e-5, y[0])
    path = write_tiff("lon.tif", PIXELS, crs="EPSG:4326", transform=grid)
    tiles.append(Tile("lon", path, "labels.geojson"))
    for seed in range(6):
        split = split_tiles(tiles, seed=seed)
        for role in (split.match, split.test):
            assert ("t0" in ids(role)) == ("lon" in ids(role))


def test_images_without_crs_do_not_overlap_one_another(write_tiff):
    tiles = place(write_tiff, [(0, 0)] * 4, crs=None)
    split = split_tiles(tiles)
    assert (len(split.match), len(split.test)) == (2, 2)


def test_one_group_is_all_matched_on_with_a_warning(write_tiff, caplog):
    tiles = place(write_tiff, [(0, 0), (5, 5)])
    split = split_tiles(tiles)
    assert ids(split.match) == {"t0", "t1"} and split.test == ()
    assert "none is left for test" in caplog.text


def test_blocks_of_an_image_may_part_and_cover_it_but_for_the_gaps(write_tiff):
    path = write_tiff("a.tif", np.ones((1, 65, 50), np.uint8))
    blocks = split_blocks([Tile("a", path, "l.geojson")], 3, 4)
    covered = np.zeros((65, 50), int)
    for block in blocks:
        row, col, height, width = block.window
        covered[row : row + height, col : col + width] += 1
    assert [block.id for block in blocks[:4]] == [
        "a#r0c0",
        "a#r0c1",
        "a#r0c2",
        "a#r1c0",
    ]
    # 65 - 2 gaps of 4 rows, 50 - 2 gaps of 4 columns, each once
    assert covered.max() == 1 and covered.sum() == 57 * 42
    assert (covered.any(axis=1) == 0).sum() == 8
    split = split_tiles(blocks)
    assert (len(split.match), len(split.test)) == (4, 5)


def test_blocks_of_a_window_stay_inside_it(write_tiff):
    path = write_tiff("a.tif", np.ones((1, 30, 30), np.uint8))
    tile = Tile("a", path, None, PixelWindow(5, 6, 10, 12))
    last = split_blocks([tile], 2, 0)[-1]
    assert last.window == PixelWindow(10, 12, 5, 6)


def test_wrong_counts_and_small_tiles_are_refused(write_tiff):
    (tile,) = place(write_tiff, [(0, 0)])
    with pytest.raises(DatasetError, match="too small for 4 x 4 blocks"):
        split_blocks([tile], 4, 3)
    with pytest.raises(ParameterError, match="blocks is 0"):
        split_blocks([tile], 0, 3)
    with pytest.raises(DatasetError, match="same id"):
        split_tiles([tile, tile])


def placed_at(write_tiff, *places):
    """Tiles of 10 x 10 pixels of about 1 m at (CRS, longitude, latitude)."""
    tiles = []
    for number, (crs, lon, lat) in enumerate(places):
        move = Transformer.from_crs(4326, crs, always_xy=True)
        # beyond 180° PROJ would bring them back
        x, y = (lon, lat) if crs == "EPSG:4326" else move.transform(lon, lat)
        side = 1e-5 if crs == "EPSG:4326" else 1
        grid = Affine(side, 0, x, 0, -side, y)
        path = write_tiff(f"t{number}.tif", PIXELS, crs=crs, transform=grid)
        tiles.append(Tile(f"t{number}", path, "labels.geojson"))
    return tiles


def groups_of(tiles):
    return sorted(
        sorted(tile.id for tile in group.tiles)
        for group in overlapping_groups(place_tiles(tiles))
    )


def test_tiles_a_quarter_of_the_earth_apart_are_placed_each_for_itself(write_tiff):
    graz, singapore = ("EPSG:32633", 15.4, 47.07), ("EPSG:32648", 103.8, 1.35)
    near = ("EPSG:32648", 103.80002, 1.35)
    tiles = placed_at(write_tiff, graz, singapore, near)
    assert groups_of(tiles) == [["t0"], ["t1", "t2"]]
    assert groups_of(tiles[::-1]) == [["t0"], ["t1", "t2"]]


def test_a_tile_across_180_degrees_overlaps_its_neighbours_alone(write_tiff):
    tiles = placed_at(
        write_tiff,
        ("EPSG:32760", 179.99996, -17),  # to 180.00005
        ("EPSG:32701", -179.99999, -17),
        ("EPSG:4326", 180.00003, -17),
        ("EPSG:32701", -179.99, -17),
        ("EPSG:32760", 179.99, -17),
        ("EPSG:32633", 15, -17),
    )
    assert groups_of(tiles) == [["t0", "t1", "t2"], ["t3"], ["t4"], ["t5"]]
    longitudes = [item.outline.centroid.x for item in place_tiles(tiles)]
    # one after the other: from Africa eastwards, over 180 degrees
    order = [5, 4, 0, 1, 2, 3]
    assert sorted(range(6), key=longitudes.__getitem__) in (order, [5, 4, 0, 2, 1, 3])


def test_degrees_to_360_and_to_180_are_one_place(write_tiff):
    tiles = placed_at(
        write_tiff, ("EPSG:4326", 185, 10), ("EPSG:4326", -175, 10), ("EPSG:4326", 9, 9)
    )
    assert groups_of(tiles) == [["t0", "t1"], ["t2"]]


def test_tiles_of_a_local_crs_are_placed_among_their_own(write_tiff):
    site, mill = (
        f'LOCAL_CS["{name}",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]'
        for name in ("site", "mill")
    )
    places = [(site, 0), (site, 5), (mill, 0), ("EPSG:32633", 0)]
    tiles = []
    for number, (crs, x) in enumerate(places):
        grid = Affine(1, 0, 500000 + x, 0, -1, 5000000)
        path = write_tiff(f"t{number}.tif", PIXELS, crs=crs, transform=grid)
        tiles.append(Tile(f"t{number}", path, "labels.geojson"))
    assert groups_of(tiles) == [["t0", "t1"], ["t2"], ["t3"]]
