"""Sparse labels: points, lines and polygons with a class each, and nothing else."""

import math

import numpy as np
import pytest
import shapely
from affine import Affine
from label_layers import write_layer
from pyproj import Geod
from rasterio.warp import transform_geom
from shapely import LineString, MultiPoint, Point

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.patches import IGNORE
from geoseg.geo.labels.labels import check_labels, read_labels
from geoseg.geo.patches.dataset import PatchLoader, PatchSampler
from geoseg.geo.rasters.raster import describe
from geoseg.geo.tiles.tiles import Tile
from geoseg.runs.settings import RunSettings
from geoseg.runs.tiles.run_tiles import load_tiles

UTM = "EPSG:32611"
SPARSE = {"sparse": True, "images": "i"}
BACKGROUND, BUILDING = "background", "building"


def classes_of(**options):
    return RunSettings(**SPARSE, **options).label_classes


def ids_of(image, labels, **options):
    tile = Tile("a", image, str(labels), classes=classes_of(**options))
    check_labels([tile])
    return read_labels(tile, describe(image))


@pytest.fixture
def image(write_tiff):
    """40 × 40 pixels of half a metre."""
    return write_tiff("image.tif", np.ones((3, 40, 40), np.uint8))


def at(row, col):
    """Return the place of a pixel's centre in the grid of the fixtures."""
    return 664000 + 0.5 * (col + 0.5), 4000000 - 0.5 * (row + 0.5)


def disc(row, col, radius, shape=(40, 40)):
    """Tell which pixels have their centre within some pixels of another's."""
    rows, cols = np.indices(shape)
    return (rows - row) ** 2 + (cols - col) ** 2 < radius**2


def test_a_point_labels_a_metre_around_it_and_nothing_else(image, tmp_path):
    shapes = [Point(at(10, 12)), Point(at(30, 20))]
    path = write_layer(
        tmp_path / "p.gpkg", "p", shapes, **{"class": [BUILDING, BACKGROUND]}
    )
    ids = ids_of(image, path)
    expected = np.full((40, 40), IGNORE)
    expected[disc(10, 12, 2.01)] = 1  # within 2 pixels: 13 of them
    expected[disc(30, 20, 2.01)] = 0
    # whether a centre exactly on the edge counts is the chance of a last bit
    edge = disc(10, 12, 2.01) & ~disc(10, 12, 1.99)
    edge |= disc(30, 20, 2.01) & ~disc(30, 20, 1.99)
    assert (ids[~edge] == expected[~edge]).all()
    wide = ids_of(image, path, point_radius=2.6)
    assert (wide == 1).sum() == disc(10, 12, 5.2).sum()


def test_a_line_is_twice_as_wide_and_has_round_ends(image, tmp_path):
    shapes = [LineString([at(10, 10), at(10, 30)]), Point(at(30, 20))]
    path = write_layer(
        tmp_path / "p.gpkg", "p", shapes, **{"class": [BUILDING, BACKGROUND]}
    )
    ids = ids_of(image, path, point_radius=1.2)  # 2.4 pixels to either side
    assert (ids[8:13, 10:31] == 1).all()
    assert not (ids[:8] == 1).any() and not (ids[13:] == 1).any()
    assert ids[10, 8] == 1 and ids[10, 7] == IGNORE


def test_later_features_lie_over_earlier_ones_whatever_their_size(image, tmp_path):
    house = shapely.box(*at(20, 5), *at(5, 20))
    small, large = house.buffer(-2), house
    kinds = {"class": [BUILDING, BACKGROUND, BUILDING]}
    path = write_layer(
        tmp_path / "a.gpkg", "p", [small, large, Point(at(9, 9))], **kinds
    )
    ids = ids_of(image, path, point_radius=0.6)
    assert (ids == 1).sum() == 5
    path = write_layer(
        tmp_path / "b.gpkg", "p", [large, small, Point(at(9, 9))], **kinds
    )
    found = ids_of(image, path, point_radius=0.6)
    assert found[9, 9] == found[9, 10] == 1 and found[9, 12] == 0 and found[5, 6] == 1
    kinds["class"].reverse()
    path = write_layer(
        tmp_path / "c.gpkg", "p", [Point(at(9, 9)), large, small], **kinds
    )
    found = ids_of(image, path)
    assert (found[9, 9], found[6, 6], found[12, 12]) == (0, 0, 1)


def test_parts_of_collections_have_the_class_of_their_feature(image, tmp_path):
    shapes = [MultiPoint([at(5, 5), at(5, 30)]), Point(at(30, 20))]
    path = write_layer(
        tmp_path / "p.gpkg", "p", shapes, **{"class": [BUILDING, BACKGROUND]}
    )
    ids = ids_of(image, path)
    assert ids[5, 5] == ids[5, 30] == 1 and ids[5, 17] == IGNORE


def test_a_radius_of_less_than_a_pixel_labels_the_pixel_below(image, tmp_path):
    corner = Point(664000 + 5.01, 4000000 - 5.01)  # far from the centre of pixel 10, 10
    line = LineString([at(20, 3), at(25, 20)])
    kinds = {"class": [BUILDING, BACKGROUND]}
    path = write_layer(tmp_path / "p.gpkg", "p", [corner, line], **kinds)
    ids = ids_of(image, path, point_radius=0.01)
    assert ids[10, 10] == 1 and (ids == 1).sum() == 1
    assert (ids[:, 3:21] == 0).any(axis=0).all()


@pytest.mark.parametrize(
    ("crs", "side", "latitude"),
    [
        ("EPSG:4326", 5e-6, 0),
        ("EPSG:4326", 5e-6, 60),
        ("EPSG:4326", 5e-6, -75),
        ("EPSG:3857", 0.5, 0),
        ("EPSG:3857", 1, 60),
        ("EPSG:3035", 0.5, 40),
        ("EPSG:2230", 1.5, 33),  # feet
        ("EPSG:32633", 0.5, 60),
    ],
)
def test_the_radius_is_in_metres_on_the_ground(
    write_tiff, tmp_path, crs, side, latitude
):
    longitude = {"EPSG:2230": -117.0}.get(crs, 12.4)
    middle = shapely.geometry.shape(
        transform_geom("EPSG:4326", crs, Point(longitude, latitude).__geo_interface__)
    )
    size = 150
    grid = Affine(side, 0, middle.x - size * side / 2, 0, -side, middle.y)
    grid @= Affine.translation(0, -size / 2)
    image = write_tiff(
        "i.tif", np.ones((3, size, size), np.uint8), crs=crs, transform=grid
    )
    far = Point(longitude, latitude + 1e-4)
    path = write_layer(
        tmp_path / "p.geojson",
        "p",
        [Point(longitude, latitude), far],
        crs="EPSG:4326",
        **{"class": [BUILDING, BACKGROUND]},
    )
    ids = ids_of(image, path, point_radius=4.0)
    cols, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x, y = grid * (cols, rows)
    moved = transform_geom(
        crs,
        "EPSG:4326",
        {
            "type": "MultiPoint",
            "coordinates": np.stack((x, y), -1).reshape(-1, 2).tolist(),
        },
    )
    lon, lat = np.array(moved["coordinates"]).T[:2]
    metres = (
        Geod(ellps="WGS84")
        .inv(np.full(lon.shape, longitude), np.full(lon.shape, latitude), lon, lat)[2]
        .reshape(size, size)
    )
    inside, outside = metres < 3.97, metres > 4.03
    assert inside.sum() > 30
    assert (ids[inside] == 1).all() and not (ids[outside] == 1).any()


def test_points_and_lines_need_a_crs_and_polygons_do_not(write_tiff, tmp_path):
    image = write_tiff("i.tif", np.ones((3, 40, 40), np.uint8), crs=None)
    kinds = {"class": [BUILDING, BACKGROUND]}
    boxes = [shapely.box(2, 2, 9, 9), shapely.box(20, 20, 29, 29)]
    path = write_layer(tmp_path / "b.gpkg", "p", boxes, crs="", **kinds)
    ids = ids_of(image, path)
    assert (ids == 1).sum() == 49 and (ids == 0).sum() == 81
    path = write_layer(
        tmp_path / "p.gpkg", "p", [boxes[0], Point(25, 25)], crs="", **kinds
    )
    with pytest.raises(
        LabelError, match="p.gpkg hold points or lines, and their radius of 1 m"
    ):
        ids_of(image, path)


def test_a_local_crs_in_feet_has_its_own_units(write_tiff, tmp_path):
    crs = 'LOCAL_CS["site",UNIT["US survey foot",0.304800609601219]]'
    grid = Affine(1, 0, 0, 0, -1, 40)
    image = write_tiff("i.tif", np.ones((3, 40, 40), np.uint8), crs=crs, transform=grid)
    kinds = {"class": [BUILDING, BACKGROUND]}
    shapes = [Point(20.5, 20.5), Point(2.5, 2.5)]
    path = write_layer(
        tmp_path / "p.gpkg", "p", shapes, crs=describe(image).crs.to_wkt(), **kinds
    )
    ids = ids_of(image, path, point_radius=1.0)  # 3.28 feet
    assert (ids == 1).sum() == disc(20, 20, 3.28).sum()


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {}, "have no attribute 'class' .found: none at all., expected a class"),
        ({"kind": ["1", "0"]}, {}, "attribute 'class' .found: kind.*--class-field"),
        (
            {"class": ["building", "house"]},
            {},
            "no feature of .*p.gpkg has class background, and what sparse labels do not",
        ),
    ],
)
def test_labels_without_a_class_or_background_are_refused(
    image, tmp_path, columns, options, message
):
    path = write_layer(
        tmp_path / "p.gpkg", "p", [Point(at(9, 9)), Point(at(30, 9))], **columns
    )
    with pytest.raises(LabelError, match=message):
        load_tiles(
            images=image,
            labels=path,
            aoi=None,
            data=None,
            classes=classes_of(**options),
        )


def test_a_mask_is_refused(image, write_tiff):
    mask = write_tiff("mask.tif", np.ones((1, 40, 40), np.uint8))
    with pytest.raises(LabelError, match="mask.tif are a mask, expected points, lines"):
        load_tiles(images=image, labels=mask, aoi=None, data=None, classes=classes_of())


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([1, 0], {}),
        (["Building", "BACKGROUND "], {}),
        (["house", "field"], {"classes": "background=field,building=house"}),
        (["house", "field"], {"classes": "background=field,building=*"}),
    ],
)
def test_classes_are_named_as_those_of_polygons(image, tmp_path, values, options):
    shapes = [Point(at(9, 9)), Point(at(30, 9))]
    path = write_layer(tmp_path / "p.gpkg", "p", shapes, kind=values)
    ids = ids_of(image, path, class_field="kind", **options)
    assert (ids[9, 9], ids[30, 9]) == (1, 0)


def test_a_feature_of_no_class_is_unlabelled_and_warned_of(image, tmp_path, caplog):
    shapes = [Point(at(9, 9)), Point(at(30, 9)), Point(at(20, 9))]
    kinds = {"class": ["building", "background", "tree"]}
    path = write_layer(tmp_path / "p.gpkg", "p", shapes, **kinds)
    assert ids_of(image, path)[20, 9] == IGNORE
    assert "label values of no class count as unlabelled: tree (1)" in caplog.text


def test_an_area_cuts_sparse_labels_off(image, tmp_path):
    shapes = [Point(at(9, 9)), Point(at(30, 9))]
    kinds = {"class": [BUILDING, BACKGROUND]}
    path = write_layer(tmp_path / "p.gpkg", "p", shapes, **kinds)
    area = shapely.box(*at(20, -1), *at(-1, 9))
    write_layer(path, "labelled", [area])
    ids = ids_of(image, path)
    assert ids[9, 8] == 1 and ids[9, 10] == IGNORE and ids[30, 9] == IGNORE


def test_tiles_without_a_feature_are_unlabelled(folder, write, tmp_path):
    for number in range(4):
        write(number, np.full((3, 40, 40), 100 + number, np.uint8))
    shapes = [Point(at(9, 109)), Point(at(30, 109)), Point(at(30, 70))]
    kinds = {"class": [BUILDING, BACKGROUND, BACKGROUND]}
    path = write_layer(tmp_path / "p.gpkg", "p", shapes, **kinds)
    tiles = load_tiles(
        images=str(folder), labels=path, aoi=None, data=None, classes=classes_of()
    )
    assert [tile.id for tile in tiles if tile.labels is not None] == ["tile1"]


@pytest.mark.parametrize("area", ["all", "touched"])
def test_options_that_contradict_each_other_are_refused(area):
    with pytest.raises(ParameterError, match=f"--labelled-area {area} says that whole"):
        classes_of(labelled_area=area)
    with pytest.raises(ParameterError, match="--point-radius 2 is for sparse labels"):
        _ = RunSettings(images="i", point_radius=2.0).label_classes


def test_polygons_that_are_not_sparse_stay_what_they_were(image, tmp_path):
    path = write_layer(tmp_path / "p.gpkg", "p", [Point(at(9, 9))])
    tile = Tile("a", image, path, classes=LabelClasses())
    with pytest.raises(LabelError, match="hold Point and no polygon.*give --sparse"):
        read_labels(tile, describe(image))
    assert math.isclose(classes_of().radius_m, 1.0)


def test_patches_to_learn_from_show_what_is_labelled(write_tiff, tmp_path):
    """Of a tile with a few points, however large; others are drawn as ever."""
    size, patch = 900, 64
    image = write_tiff("image.tif", np.ones((3, size, size), np.uint8))
    spots = [(5, 5), (450, 700), (898, 20)]
    kinds = {"class": [BUILDING, BACKGROUND, BACKGROUND]}
    path = write_layer(
        tmp_path / "p.gpkg", "p", [Point(at(*s)) for s in spots], **kinds
    )
    sparse = Tile("a", image, path, classes=classes_of())
    other = Tile("b", image)
    normalization = Normalization(
        ("red", "green", "blue"), (0,) * 3, (2,) * 3, (0.5,) * 3
    )

    def corners(tiles, share):
        loader = PatchLoader(
            tiles,
            normalization,
            patch_size=patch,
            batch_size=4,
            patches_per_epoch=60,
            labelled_share=share,
        )
        seen = {class_id: 0 for class_id in (0, 1)}
        labelled = 0
        for batch in loader.batches(0):
            labelled += int((batch.mask != IGNORE).flatten(1).any(1).sum())
            for class_id in seen:
                seen[class_id] += int((batch.mask == class_id).flatten(1).any(1).sum())
        return labelled, seen

    labelled, seen = corners([sparse], 1.0)
    assert labelled == 60 and seen[1] > 8 and seen[0] > 25
    assert 15 < corners([sparse, other], 0.5)[0] < 45
    assert corners([sparse], None)[0] < 10  # by area, as without labels
    windows = {
        query.window[:2]
        for query in PatchSampler(
            PatchLoader([sparse], normalization, patch_size=64, batch_size=4).dataset,
            size=patch,
            length=60,
            labelled_share=1.0,
        )
    }
    assert len(windows) > 20
    assert all(0 <= min(w) and max(w) <= size - patch for w in windows)
