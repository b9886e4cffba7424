"""What a file says of its bands and values is believed, or its user is told."""

import unicodedata

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.core.errors import BandMismatchError, RasterError
from geoseg.geo.maps.images import describe_images
from geoseg.geo.rasters.bands import band_scaling, check_scaling, choose_bands
from geoseg.geo.rasters.inspection import doubtful_alpha, inspect_image, pages_in_words
from geoseg.geo.rasters.nodata import count_sentinels, suspected_gap
from geoseg.geo.rasters.raster import describe, open_raster
from geoseg.geo.tiles.mixture import check_mixture
from geoseg.geo.tiles.tiles import find_tiles

SENTINEL_2 = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")


def described(write_tiff, names, dtype=np.uint16):
    path = write_tiff("a.tif", np.ones((len(names), 8, 8), dtype))
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    return describe(path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (SENTINEL_2, tuple(name.lower() for name in SENTINEL_2)),
        (("Band 4", "Band 3", "Band 2"), ("band_4", "band_3", "band_2")),
        (("B1", "B2", "B3"), ("red", "green", "blue")),  # places: no names
        (("1", "2", "3", "4"), ("red", "green", "blue", "nir")),
        (("nir", "red", "green", None), ("nir", "red", "green", "b4")),
        ((None, None, None), ("red", "green", "blue")),
        (("x", "x", "x"), ("red", "green", "blue")),  # one name tells nothing
    ],
)
def test_described_names_win_unless_they_are_the_places(write_tiff, names, expected):
    assert described(write_tiff, names).band_names == expected


def test_bands_are_asked_for_by_the_names_that_they_have(write_tiff):
    grid = described(write_tiff, SENTINEL_2)
    assert choose_bands(grid, "B4,B3,B2") == ("b4", "b3", "b2")
    assert choose_bands(grid, "3,2,1") == ("b4", "b3", "b2")  # numbers are places
    with pytest.raises(BandMismatchError, match="expected 'b1'"):
        choose_bands(grid, "B1")


def four_bands(write_tiff, fourth, name="a.tif"):
    pixels = np.random.default_rng(0).integers(40, 90, (4, 64, 64)).astype(np.uint8)
    pixels[3] = fourth
    return describe(write_tiff(name, pixels, alpha=True, photometric="rgb"))


def test_an_alpha_band_of_many_values_is_warned_of(write_tiff, caplog):
    rng = np.random.default_rng(1)
    infrared = four_bands(write_tiff, rng.integers(10, 220, (64, 64)))
    assert infrared.alpha == 4  # as GDAL has it
    said = doubtful_alpha(infrared)
    assert "band 4 is declared alpha" in said and "-colorinterp_4 undefined" in said
    check_mixture(find_tiles(infrared.path))
    assert said in caplog.text

    opaque = np.full((64, 64), 255)
    opaque[:20] = 0
    opaque[20] = np.arange(64) * 4  # an edge drawn softly
    assert doubtful_alpha(four_bands(write_tiff, opaque, "b.tif")) is None


def test_further_pages_are_said(write_tiff, caplog, bright_model):
    page = np.full((1, 16, 16), 100, np.uint16)
    path = write_tiff("a.tif", page)
    assert describe(path).pages == 1 and pages_in_words(describe(path)) is None
    grid = {"crs": "EPSG:32611", "transform": describe(path).transform}
    for _ in range(2):
        with rasterio.open(
            *(path, "w"),
            driver="GTiff",
            count=1,
            height=16,
            width=16,
            dtype="uint16",
            APPEND_SUBDATASET="YES",
            **grid,
        ) as dataset:
            dataset.write(page)
    assert describe(path).pages == 3
    describe_images(bright_model(bands=("pan",)), [str(path)])
    assert (
        "the file has 3 pages (subdatasets), of which the first is read" in caplog.text
    )


@pytest.mark.parametrize(
    ("dtype", "value", "rows", "warned"),
    [
        ("float32", -9999, 6, True),
        ("float32", -32768, 1, True),
        ("float32", 1e20, 1, True),
        ("int16", -32768, 1, True),
        ("int16", -9999, 1, True),
        ("uint16", 65535, 1, True),
        ("uint8", 255, 6, True),
        ("uint8", 255, 2, False),  # bright roofs
        ("uint8", 0, 1, True),
        ("float32", 0.25, 6, False),  # any value of the image
    ],
)
def test_values_that_often_stand_for_no_data_are_warned_of(dtype, value, rows, warned):
    pixels = np.random.default_rng(0).integers(1, 200, (3, 64, 64)).astype(dtype)
    pixels[:, :rows] = value
    valid = np.ones((64, 64), bool)
    counts = count_sentinels(pixels, valid)
    gap = suspected_gap(counts, valid.size, "auto")
    assert (gap is not None) is warned
    assert suspected_gap(counts, valid.size, "none") is None
    if gap is not None:
        assert gap.value == value and gap.share == pytest.approx(rows / 64)
        assert f"-a_nodata {value:g}" in gap.advice or value in (1e20, 65535)
    one_band = pixels.copy()
    one_band[1:] = 7
    assert not count_sentinels(one_band, valid).get(value, 0)
    assert not count_sentinels(pixels, ~valid)


def test_sentinels_in_an_image_are_seen_by_info(write_tiff):
    pixels = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    pixels[:, :4] = -9999
    facts = inspect_image(str(write_tiff("a.tif", pixels)))
    assert str(facts.gap) == "12 % of the pixels are exactly -9999 in all bands"
    assert facts.gap.option == "--nodata -9999"


def scaled(write_tiff, name, offset):
    path = write_tiff(name, np.full((3, 16, 16), 900, np.uint16))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,) * 3, (offset,) * 3
    return path


def test_another_scale_or_offset_than_the_trainings_is_refused(
    write_tiff, bright_model
):
    bands = ("red", "green", "blue")
    path = scaled(write_tiff, "new.tif", -0.1)
    trained = band_scaling(describe(scaled(write_tiff, "a.tif", 0.0)), bands)
    with pytest.raises(BandMismatchError, match="offset -0.1 of band red.*-unscale"):
        check_scaling(describe(path), bands, trained)
    model = bright_model(provenance={"image_scaling": trained})
    with pytest.raises(BandMismatchError, match="the training's images 0.0001 and 0"):
        describe_images(model, [str(path)])
    check_scaling(describe(path), bands, None)  # a model of an older version
    same = band_scaling(describe(path), bands)
    assert same == [[0.0001, -0.1]] * 3
    check_scaling(describe(path), bands, same)


@pytest.fixture
def folder_of(tmp_path):
    """Return ``make(folder, stems, suffix)``, which writes images or labels."""

    def make(folder, stems, suffix):
        place = tmp_path / folder
        place.mkdir()
        for stem in stems:
            path = place / f"{stem}{suffix}"
            if suffix == ".geojson":
                path.write_text('{"type": "FeatureCollection", "features": []}')
                continue
            options = {"count": 3, "height": 8, "width": 8, "dtype": "uint8"}
            grid = {"crs": "EPSG:32611", "transform": Affine(1, 0, 5e5, 0, -1, 4e6)}
            with rasterio.open(path, "w", driver="GTiff", **options, **grid) as file:
                file.write(np.ones((3, 8, 8), np.uint8))
        return place

    return make


def test_names_are_paired_however_their_letters_are_composed(folder_of):
    name = "Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich_1"
    images = folder_of("images", [unicodedata.normalize("NFC", name)], ".tif")
    labels = folder_of("labels", [unicodedata.normalize("NFD", name)], ".geojson")
    assert find_tiles(images, labels)[0].labels is not None


def test_files_that_macs_leave_beside_others_are_none(folder_of):
    images = folder_of("images", ["a"], ".tif")
    (images / "._a.tif").write_bytes(b"Mac OS X")
    labels = folder_of("labels", ["a"], ".geojson")
    (labels / "._a.geojson").write_bytes(b"Mac OS X")
    (tile,) = find_tiles(images, labels)
    assert tile.id == "a" and tile.labels == str(labels / "a.geojson")


def test_tiles_of_two_cities_have_ids_of_both(folder_of):
    cities = ("2_Vegas", "3_Paris")
    stems = [f"AOI_{city}_img{n}" for city in cities for n in (1, 2)]
    images = folder_of("images", [f"RGB-PanSharpen_{stem}" for stem in stems], ".tif")
    labels = folder_of("labels", [f"buildings_{stem}" for stem in stems], ".geojson")
    tiles = find_tiles(images, labels)
    ids = ["aoi2_img1", "aoi2_img2", "aoi3_img1", "aoi3_img2"]
    assert sorted(tile.id for tile in tiles) == ids
    assert all(tile.id[3] in tile.labels.split("AOI_")[1][0] for tile in tiles)


def test_a_mosaic_of_files_with_colons_in_their_names(write_tiff, tmp_path):
    pixels = np.arange(3 * 16 * 16).reshape(3, 16, 16).astype(np.uint16)
    path = write_tiff("2021-05-03T10:11:12.tif", pixels)
    grid = describe(path)
    source = "<SimpleSource><SourceFilename relativeToVRT='1'>{}</SourceFilename></SimpleSource>"
    bands = "".join(
        f"<VRTRasterBand dataType='UInt16' band='{number}'>"
        + source.format("2021-05-03T10:11:12.tif").replace(
            "</SimpleSource>", f"<SourceBand>{number}</SourceBand></SimpleSource>"
        )
        + "</VRTRasterBand>"
        for number in (1, 2, 3)
    )
    vrt = tmp_path / "all.vrt"
    vrt.write_text(
        "<VRTDataset rasterXSize='16' rasterYSize='16'><SRS>EPSG:32611</SRS>"
        f"<GeoTransform>{', '.join(map(str, grid.transform.to_gdal()))}</GeoTransform>"
        f"{bands}</VRTDataset>"
    )
    with open_raster(vrt) as dataset:
        assert np.array_equal(dataset.read(), pixels)
    vrt.write_text(vrt.read_text().replace("2021-05-03T10", "GTIFF_DIR:1"))
    with pytest.raises(RasterError, match="expected GeoTIFF or VRT files on this disk"):
        open_raster(vrt)
