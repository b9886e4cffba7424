"""Images that cannot be mapped or trained on."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

PREDICT = "predict bad.tif -o b.gpkg --model m"
TRAIN = "train --images bad TINY"

VRT = """<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32611</SRS>
<GeoTransform>664000, 0.5, 0, 4000000, 0, -0.5</GeoTransform>{bands}</VRTDataset>"""
BAND = """<VRTRasterBand dataType="UInt16" band="{n}"><SimpleSource>
<SourceFilename relativeToVRT="1">gone.tif</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand>"""
CODE = """<VRTRasterBand dataType="UInt16" band="{n}" subClass="VRTDerivedRasterBand">
<PixelFunctionLanguage>Python</PixelFunctionLanguage>
<PixelFunctionType>f</PixelFunctionType></VRTRasterBand>"""


def nothing(desk):
    pass


def content(data):
    """Make ``bad.tif`` of bytes or text."""
    return lambda desk: desk.write("bad.tif", data)


def cut(share):
    return lambda desk: desk.cut("tile.tif", "bad.tif", share)


def tiff(pixels=None, name="bad.tif", **profile):
    """Make an image of pixels ``(B, H, W)``; by default, of a good tile's."""
    return lambda desk: desk.tiff(name, pixels, **profile)


def flat(value, dtype="uint16", bands=3, side=64):
    return np.full((bands, side, side), value, dtype)


def described(*names):
    def make(desk):
        with rasterio.open(desk.tiff("bad.tif"), "r+") as dataset:
            dataset.descriptions = names

    return make


def palette(desk):
    with rasterio.open(desk.tiff("bad.tif", flat(1, "uint8", 1)), "r+") as dataset:
        dataset.write_colormap(1, {1: (255, 0, 0, 255)})


def alpha_alone(desk):
    with rasterio.open(desk.tiff("bad.tif", flat(255, "uint8", 1)), "r+") as dataset:
        dataset.colorinterp = [rasterio.enums.ColorInterp.alpha]


def control_points(desk):
    points = [
        GroundControlPoint(row, col, 664000 + col, 4000000 - row)
        for row, col in ((0, 0), (0, 63), (63, 0), (63, 63))
    ]
    desk.tiff("bad.tif", transform=None, gcps=points)


def corrupt_block(desk):
    path = desk.tiff(
        "bad.tif", compress="deflate", tiled=True, blockxsize=16, blockysize=16
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(content)


def vrt(band):
    text = VRT.format(bands="".join(band.format(n=n) for n in (1, 2, 3)))
    return lambda desk: desk.write("bad.vrt", text)


def vrt_of_itself(desk):
    text = VRT.format(bands="".join(BAND.format(n=n) for n in (1, 2, 3)))
    desk.write("bad.vrt", text.replace("gone.tif", "bad.vrt"))


def two_crs(desk):
    desk.tiff("bad.tif", crs="EPSG:32612")


def folder_of(**files):
    """Make a folder ``bad`` with images of these pixels and profiles."""

    def make(desk):
        for name, (pixels, profile) in files.items():
            desk.tiff(f"bad/{name}.tif", pixels, **profile)

    return make


def one_broken(desk):
    desk.tiff("bad/a.tif")
    desk.cut("tile.tif", "bad/b.tif", 0.001)
    desk.write("bad/c.tif", "")


def truncated_among_good(desk):
    desk.tiff("bad/a.tif")
    desk.cut("tile.tif", "bad/b.tif", 0.6)


def twins(desk):
    desk.tiff("bad/a.tif")
    desk.tiff("bad/a.tiff")


PREDICTED = {
    "absent": (nothing, PREDICT, 1, "bad.tif does not exist, expected a GeoTIFF"),
    "folder": (
        lambda d: d.path("bad.tif/x"),
        PREDICT,
        1,
        "no image in bad.tif, expected .tif, .tiff, .vrt files",
    ),
    "empty": (
        content(b""),
        PREDICT,
        1,
        "bad.tif cannot be opened as GeoTIFF.*check the file",
    ),
    "header alone": (
        content(b"II*\0\x08\0\0\0"),
        PREDICT,
        1,
        "bad.tif cannot be opened as GeoTIFF.*check the file",
    ),
    "web page": (
        content("<!DOCTYPE html><html>Sign in</html>"),
        PREDICT,
        1,
        "bad.tif cannot be opened as GeoTIFF.*not recognized",
    ),
    "PNG": (
        content(b"\x89PNG\r\n\x1a\n" + bytes(64)),
        PREDICT,
        1,
        "bad.tif cannot be opened as GeoTIFF",
    ),
    "directory cut": (cut(0.001), PREDICT, 1, "bad.tif cannot be opened"),
    "cut in the first rows": (
        cut(0.1),
        PREDICT,
        1,
        "bad.tif cannot be read at window .*may be truncated.*: copy or download it again",
    ),
    "cut in the middle": (
        cut(0.5),
        PREDICT,
        1,
        "bad.tif cannot be read at window .*may be truncated",
    ),
    "cut near the end": (
        cut(0.99),
        PREDICT,
        1,
        "bad.tif cannot be read at window .*may be truncated",
    ),
    "corrupt block": (corrupt_block, PREDICT, 1, "bad.tif cannot be read at window"),
    "no CRS": (
        tiff(crs=None),
        PREDICT,
        1,
        "bad.tif has no CRS, expected a georeferenced image.*gdal_edit.py -a_srs",
    ),
    "control points alone": (
        control_points,
        PREDICT,
        1,
        "located by ground control points .*gdalwarp -tps",
    ),
    "pixels of no size": (
        tiff(transform=Affine(0, 0, 664000, 0, 0, 4000000)),
        PREDICT,
        1,
        "bad.tif has pixels of no area .*gdal_edit.py -a_ullr",
    ),
    "metres said to be degrees": (
        tiff(crs="EPSG:4326"),
        PREDICT,
        1,
        r"bad.tif: point \(664016.0, 3999984.0\) has no longitude and latitude in EPSG:4326.*check the georeferencing",
    ),
    "two bands": (
        tiff(flat(1, bands=2)),
        PREDICT,
        1,
        "bad.tif has bands 1 b1, 2 b2, expected red, green, blue",
    ),
    "another band": (
        described("red", "green", "nir"),
        PREDICT,
        1,
        "expected red, green, blue; blue absent",
    ),
    "palette": (palette, PREDICT, 1, "indices of a colour table.*-expand rgb"),
    "alpha alone": (alpha_alone, PREDICT, 1, "no band beside alpha"),
    "complex": (
        tiff(flat(1, "complex64")),
        PREDICT,
        1,
        "holds complex numbers, expected an image of real ones",
    ),
    "two CRSs": (
        two_crs,
        "predict tile.tif bad.tif -o b.gpkg --model m",
        1,
        "bad.tif is in EPSG:32612, tile.tif in EPSG:32611: predict .* different outputs",
    ),
    "twice": (
        nothing,
        "predict tile.tif tile.tif -o b.gpkg --model m",
        2,
        "tile.tif is given twice",
    ),
    "twice by other names": (
        nothing,
        "predict tile.tif ./tiles/../tile.tif -o b.gpkg --model m",
        2,
        "tile.tif is given twice",
    ),
    "good and bad": (
        nothing,
        "predict tile.tif bad.tif -o b.gpkg --raster c --model m",
        1,
        "bad.tif does not exist",
    ),
    "good and cut": (
        cut(0.5),
        "predict tile.tif bad.tif -o b.gpkg --raster c --model m",
        1,
        "bad.tif cannot be read",
    ),
    "VRT without its source": (
        vrt(BAND),
        "predict bad.vrt -o b.gpkg --model m",
        1,
        "gone.tif",
    ),
    "VRT with code": (vrt(CODE), "predict bad.vrt -o b.gpkg --model m", 1, "bad.vrt"),
    "VRT of itself": (
        vrt_of_itself,
        "predict bad.vrt -o b.gpkg --model m",
        1,
        "bad.vrt",
    ),
    "wrong scheme": (
        nothing,
        "predict ftp://a/b.tif -o b.gpkg --model m",
        1,
        "ftp://a/b.tif",
    ),
}

TRAINED = {
    "absent folder": (
        nothing,
        TRAIN,
        1,
        "bad does not exist, expected a folder of GeoTIFFs",
    ),
    "empty folder": (lambda d: d.path("bad/x"), TRAIN, 1, "bad.* expected"),
    "no image in it": (
        lambda d: d.write("bad/readme.txt", "x"),
        TRAIN,
        1,
        "bad.* expected",
    ),
    "some broken": (
        one_broken,
        TRAIN,
        1,
        "2 of 3 images cannot be used: .*b.tif.*c.tif",
    ),
    "one cut": (
        truncated_among_good,
        TRAIN,
        1,
        "b.tif cannot be read at window .*may be truncated",
    ),
    "all nodata": (
        folder_of(a=(flat(0), {})),
        TRAIN,
        1,
        "no tile of 1 has a valid pixel under nodata 'auto', expected some; check --nodata",
    ),
    "declared nodata": (
        folder_of(a=(flat(7), {"nodata": 7})),
        TRAIN,
        1,
        "no tile of 1 has a valid pixel under nodata 'auto', expected some; check --nodata",
    ),
    "NaN": (
        folder_of(a=(flat(np.nan, "float32"), {})),
        TRAIN,
        1,
        "no tile of 1 has a valid pixel under nodata 'auto', expected some; check --nodata",
    ),
    "infinite": (
        folder_of(a=(flat(np.inf, "float32"), {})),
        TRAIN,
        1,
        "no tile of 1 has a valid pixel under nodata 'auto', expected some; check --nodata",
    ),
    "one value": (
        folder_of(a=(flat(500), {}), b=(flat(500), {})),
        TRAIN,
        1,
        r"every valid pixel \(8192 in all\) holds 500, 500, 500 .*expected an image that shows something",
    ),
    "one pixel": (
        folder_of(a=(flat(500, side=1), {})),
        TRAIN,
        1,
        r"every valid pixel \(1 in all\) holds 500",
    ),
    "other band counts": (
        folder_of(a=(flat(1), {}), b=(flat(1), {}), c=(flat(1, bands=4), {})),
        TRAIN,
        1,
        r"differ in their number of bands, expected 3 .*c.tif \(4\)",
    ),
    "CRS here, none there": (
        folder_of(a=(None, {}), b=(None, {"crs": None})),
        TRAIN,
        1,
        "1 of 2 images have no CRS, or no geotransform, among them bad/b.tif",
    ),
    "8 and 16 bit": (
        folder_of(a=(None, {}), b=(flat(9, "uint8"), {})),
        TRAIN,
        1,
        "expected one scale",
    ),
    "complex": (folder_of(a=(flat(1, "complex64"), {})), TRAIN, 1, "complex numbers"),
    "two of one name": (twins, TRAIN, 1, "bad/a.tif and bad/a.tiff are both tile 'a'"),
    "absent band": (
        nothing,
        "train --images tiles -b 9 TINY",
        1,
        "has bands 1 red, 2 green, 3 blue, expected '9'; choose with --bands",
    ),
    "unknown band": (
        nothing,
        "train --images tiles -b purple TINY",
        1,
        "expected 'purple'; choose with --bands",
    ),
    "no band": (
        nothing,
        "train --images tiles -b '' TINY",
        2,
        "no band is requested, expected rgb.*leave --bands out",
    ),
    "band twice": (
        nothing,
        "train --images tiles -b red,1 TINY",
        2,
        "'red,1' are requested, expected each band once",
    ),
    "nodata that is no number": (
        nothing,
        "train --images tiles --nodata sea TINY",
        2,
        "sea",
    ),
}


@pytest.mark.parametrize("name", PREDICTED)
def test_no_map_of(refused, name):
    refused(*PREDICTED[name])


@pytest.mark.parametrize("name", TRAINED)
def test_no_training_on(refused, name):
    refused(*TRAINED[name])
