import numpy as np
import pytest
import torch

from geoseg.core.errors import MatchingError
from geoseg.geo.evaluation.matching import cluster_map, contingency_tables, match_model
from geoseg.geo.predict.head_views import ClusterView
from geoseg.geo.predict.stitching import STEPS
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.tiles.tiles import Tile

ONE_BAND = ("pan",)


@pytest.fixture
def scene(write_tiff):
    """Return ``make(name, seed)``: a tile, its (40, 50) pixels and its labels."""

    def make(name="a", seed=0, *, nodata_rows=0, window=None):
        draws = np.random.default_rng(seed)
        bright = draws.random((40, 50)) < 0.3
        pixels = np.where(bright, 850, 150).astype(np.uint16)
        pixels[:nodata_rows] = 9999
        labels = (draws.random((40, 50)) < 0.4).astype(np.uint8)
        image = write_tiff(f"{name}.tif", pixels[None], nodata=9999)
        mask = write_tiff(f"{name}_mask.tif", labels[None])
        return Tile(name, image, mask, window), pixels, labels

    return make


def test_the_cluster_map_holds_the_nearest_centroid_and_minus_one(scene, bright_model):
    tile, pixels, _ = scene(nodata_rows=3)
    found = cluster_map(bright_model(ONE_BAND, matched=False), tile, "main")
    expected = (pixels == 850).astype(np.int64)
    expected[:3] = -1
    assert found.dtype == torch.long
    np.testing.assert_array_equal(found.numpy(), expected)


def test_the_cluster_map_of_a_window_is_that_part(scene, bright_model):
    tile, pixels, _ = scene(window=PixelWindow(5, 7, 20, 31))
    found = cluster_map(bright_model(ONE_BAND), tile, "main")
    np.testing.assert_array_equal(found.numpy(), pixels[5:25, 7:38] == 850)


def test_the_cluster_map_does_not_depend_on_the_windows(scene, bright_model):
    tile, pixels, _ = scene()
    found = cluster_map(
        bright_model(ONE_BAND), tile, "main", window=32, overlap=8, batch_size=3
    )
    np.testing.assert_array_equal(found.numpy(), pixels == 850)


def test_a_tile_without_data_has_no_cluster(scene, bright_model):
    tile, _, _ = scene(nodata_rows=40)
    found = cluster_map(bright_model(ONE_BAND), tile, "main")
    assert (found == -1).all()


def test_counts_are_those_of_a_loop_over_the_pixels(scene, bright_model):
    scenes = [scene("a", 1), scene("b", 2, nodata_rows=4)]
    scenes.append(scene("c", 3, window=PixelWindow(10, 0, 9, 50)))
    expected = np.zeros((3, 2, 2), int)
    for number, (tile, pixels, labels) in enumerate(scenes):
        top, _, height, _ = tile.window or (0, 0, 40, 50)
        for row in range(top, top + height):
            for col in range(50):
                if pixels[row, col] != 9999:
                    cluster = int(pixels[row, col] == 850)
                    expected[number, cluster, labels[row, col]] += 1
    tiles = [tile for tile, _, _ in scenes]
    found = contingency_tables(bright_model(ONE_BAND), tiles, ["main"])["main"]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_matching_keeps_the_weights_and_needs_no_earlier_matching(scene, bright_model):
    tile, pixels, labels = scene()
    model = bright_model(ONE_BAND, matched=False)
    mask = (pixels == 150).astype(np.uint8)  # dark pixels are the buildings here
    import rasterio

    with rasterio.open(tile.labels, "r+") as dataset:
        dataset.write(mask, 1)
    matched = match_model(model, [tile], objective="f1")
    assert matched.method is model.method
    assert matched.card.matchings["main"].cluster_to_class == (1, 0)
    assert not model.card.matchings


def test_labels_without_a_building_cannot_be_matched(scene, bright_model, write_tiff):
    tile, _, _ = scene()
    empty = write_tiff("empty.tif", np.zeros((1, 40, 50), np.uint8))
    with pytest.raises(MatchingError, match="hold no building"):
        match_model(
            bright_model(ONE_BAND),
            [Tile("a", tile.image, empty)],
            objective="f1",
        )


def test_the_view_of_clusters_is_named_by_numbers(bright_model):
    view = ClusterView(bright_model(ONE_BAND, matched=False), "main")
    assert view.card.class_names == ("0",)  # a hard method has a plane of ids
    image = torch.tensor([[[[0.2, 0.95]]]])
    found = view.class_probabilities(image, torch.ones((1, 1, 2), dtype=torch.bool))
    assert (found * STEPS).round().tolist() == [[[[0.0, 1.0]]]]


@pytest.mark.parametrize(("bright", "warned"), [(0.003, 1), (0.3, 0)])
def test_a_head_that_sees_one_cluster_is_warned_of(
    scene, write_tiff, bright_model, caplog, bright, warned
):
    tile, pixels, _ = scene()
    draws = np.random.default_rng(1).random(pixels.shape)
    image = write_tiff("alike.tif", np.where(draws < bright, 850, 150)[None] + 0.0)
    model = bright_model(ONE_BAND, matched=False)
    for steps in (True, False):
        model.method.gradient = steps
        match_model(model, [Tile("alike", image, tile.labels)], objective="f1")
    found = [m for m in caplog.messages if "does not tell pixels apart" in m]
    assert len(found) == 2 * warned
    assert [m.endswith("or train longer") for m in found] == [True, False][: 2 * warned]
    assert all("head main (99." in message for message in found)
    assert all("lie in cluster 0, called" in message for message in found)
