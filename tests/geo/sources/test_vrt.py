"""Virtual rasters: mosaics are tiles, anything more is refused."""

from xml.sax.saxutils import escape

import numpy as np
import pytest

from geoseg.core.errors import RasterError
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.sources import vrt

SIZE = 16
UTM = "EPSG:32611"
GEOTRANSFORM = "664000, 0.5, 0, 4000000, 0, -0.5"


def band(sources, *, dtype="UInt16", more="", kind=""):
    return f'<VRTRasterBand dataType="{dtype}" band="1"{kind}>{more}{sources}</VRTRasterBand>'


def source(name, col=0, *, relative=1):
    place = f'yOff="0" xSize="{SIZE}" ySize="{SIZE}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{escape(str(name))}'
        f'</SourceFilename><SourceBand>1</SourceBand><SrcRect xOff="0" {place}/>'
        f'<DstRect xOff="{col}" {place}/></SimpleSource>'
    )


@pytest.fixture
def write_vrt(tmp_path):
    """Return ``write(name, *bands, width=) -> path``."""

    def write(name, *bands, width=SIZE):
        path = tmp_path / name
        path.write_text(
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{SIZE}"><SRS>{UTM}</SRS>'
            f"<GeoTransform>{GEOTRANSFORM}</GeoTransform>"
            + "".join(
                b.replace('band="1"', f'band="{n}"') for n, b in enumerate(bands, 1)
            )
            + "</VRTDataset>"
        )
        return path

    return write


@pytest.fixture
def parts(write_tiff):
    """Two images of one band, side by side."""
    pixels = np.random.default_rng(0).integers(1, 999, (2, 1, SIZE, SIZE))
    pixels = pixels.astype(np.uint16)
    for number in range(2):
        write_tiff(f"part{number}.tif", pixels[number])
    return pixels


def read(path):
    with open_raster(path) as dataset:
        found = describe(path)
        return read_window(dataset, found.band_indexes, found.window)


def test_a_mosaic_is_one_tile(write_vrt, parts):
    body = source("part0.tif") + source("part1.tif", SIZE)
    path = write_vrt("mosaic.vrt", band(body), width=2 * SIZE)
    pixels, valid = read(path)
    np.testing.assert_array_equal(pixels, np.concatenate([*parts], axis=2))
    assert valid.all() and describe(path).gsd_m == 0.5


def test_sources_may_lie_anywhere_on_this_disk_and_be_vrts(write_vrt, parts, tmp_path):
    inner = write_vrt("inner.vrt", band(source(tmp_path / "part0.tif", relative=0)))
    outer = write_vrt("outer.vrt", band(source(inner.name)))
    np.testing.assert_array_equal(read(outer)[0], parts[0])


def test_bands_of_several_types_are_read_in_one_that_holds_them(
    write_vrt, parts, write_tiff
):
    halves = parts[1].astype(np.float32) / 2
    write_tiff("halves.tif", halves)
    bands = band(source("part0.tif")), band(source("halves.tif"), dtype="Float32")
    pixels, _ = read(write_vrt("mixed.vrt", *bands))
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, np.concatenate([parts[0], halves]))


PYTHON = (
    "<PixelFunctionType>f</PixelFunctionType>"
    "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    "<PixelFunctionCode>import os</PixelFunctionCode>"
)
RAW = "<SourceFilename>/etc/hostname</SourceFilename>"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            band(
                source("part0.tif"),
                more=PYTHON,
                kind=' subClass="VRTDerivedRasterBand"',
            ),
            "computes its pixels by code of its own",
        ),
        (
            band(RAW, kind=' subClass="VRTRawRasterBand"'),
            "reads the bytes of any file as pixels",
        ),
        (band(source("https://host/a.tif", relative=0)), "reads 'https://host/a.tif'"),
        (band(source("/vsicurl/http://h/a.tif", relative=0)), "on this disk alone"),
        (band(source("WMS:http://host/?")), "expected GeoTIFF or VRT"),
        (band(source("ZARR:part0.tif")), "reads 'ZARR:part0.tif'"),
        (band(source("text.tif")), "text.tif, which is not a TIFF"),
        (band(source("secrets.csv")), "reads 'secrets.csv'"),
    ],
)
def test_what_is_more_than_a_mosaic_is_refused_before_gdal_sees_it(
    write_vrt, parts, tmp_path, monkeypatch, body, message
):
    (tmp_path / "text.tif").write_text("P3 1 1 1 0 0 0")
    path = write_vrt("odd.vrt", body)
    monkeypatch.setattr("rasterio.open", lambda *a, **k: pytest.fail("GDAL opened it"))
    with pytest.raises(RasterError, match=message):
        open_raster(path)


def test_what_a_vrt_within_hides_is_found(write_vrt, parts):
    write_vrt("inner.vrt", band(source("https://host/a.tif", relative=0)))
    outer = write_vrt("outer.vrt", band(source("inner.vrt")))
    with pytest.raises(RasterError, match="inner.vrt reads 'https://host/a.tif'"):
        open_raster(outer)


def test_a_vrt_of_itself_ends(write_vrt):
    path = write_vrt("loop.vrt", band(source("loop.vrt")))
    with pytest.raises(RasterError, match="more than 4 deep"):
        open_raster(path)


def test_a_vrt_that_changes_is_checked_again(write_vrt, parts):
    path = write_vrt("a.vrt", band(source("part0.tif")))
    open_raster(path).close()
    write_vrt("a.vrt", band(source("https://host/a.tif", relative=0)))
    with pytest.raises(RasterError, match="reads 'https://host/a.tif'"):
        open_raster(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a VRT"),
        ("<VRTDataset", "is not a VRT"),
        ("<html></html>", "holds <html>, expected a <VRTDataset>"),
        ('<!DOCTYPE a [<!ENTITY b "b">]><VRTDataset/>', "declares XML entities"),
    ],
)
def test_texts_that_are_no_vrt_are_named(tmp_path, text, message):
    path = tmp_path / "a.vrt"
    path.write_text(text)
    with pytest.raises(RasterError, match=f"a.vrt {message}"):
        open_raster(path)


def test_a_huge_text_is_not_parsed(write_vrt, monkeypatch):
    path = write_vrt("a.vrt", band(""))
    monkeypatch.setattr(vrt, "LARGEST", 10)
    with pytest.raises(RasterError, match="expected at most 10"):
        open_raster(path)


def test_an_absent_source_is_named_when_read(write_vrt):
    path = write_vrt("a.vrt", band(source("gone.tif")))
    with pytest.raises(RasterError, match="gone.tif"):
        read(path)


def test_a_vrt_that_gdal_fetches_is_checked_by_its_own_text(write_vrt, parts):
    # GDAL's window on a file stands for a server here
    good = write_vrt("good.vrt", band(source("part0.tif")))
    np.testing.assert_array_equal(read(f"/vsisubfile/0,{good}")[0], parts[0])
    derived = ' subClass="VRTDerivedRasterBand"'
    bad = write_vrt("bad.vrt", band(source("part0.tif"), more=PYTHON, kind=derived))
    with pytest.raises(RasterError, match="computes its pixels by code of its own"):
        open_raster(f"/vsisubfile/0,{bad}")
