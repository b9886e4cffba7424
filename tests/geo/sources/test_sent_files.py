"""What a file that somebody sent may do: nothing. Files and sockets are watched."""

import json
import os
import subprocess
import sys
import threading
import warnings
import zipfile
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from sent_files import LEAST_SECRET, SIZE, Listener, Sent, look, raw_band, vrt

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import LabelError, RasterError
from geoseg.geo.labels.files import read_shapes
from geoseg.geo.labels.vector_inspection import inspect_vector
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.sources import gdal_limits
from geoseg.geo.sources.remote import on_network, remote_access


@pytest.fixture(scope="module")
def listener():
    server = Listener()
    yield server
    server.close()


@pytest.fixture
def sent(tmp_path, listener, monkeypatch):
    """A folder that was sent; the network is closed as in a new process."""
    monkeypatch.setattr(gdal_limits, "_network_allowed", False)
    monkeypatch.setenv("CPL_VSIL_CURL_ALLOWED_FILENAME", "none")
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "5")
    return Sent(tmp_path, listener)


@pytest.fixture
def image(sent, write_tiff):
    """``image(name, side=) -> path`` of a dull image in the folder that was sent."""

    def write(name="a.tif", side=SIZE, count=3, **more):
        pixels = np.random.default_rng(0).integers(1, 90, (count, side, side))
        return Path(write_tiff(f"sent/{name}", pixels.astype(np.uint8), **more))

    return write


def evil_texts(sent, image):
    """Texts that GDAL opens as rasters of which each does what it should not."""
    payload = image("payload.tif", count=1)
    address = f"/vsicurl/{sent.listener.address}/a.tif"
    return {
        "raw band": raw_band(sent.secret),
        "raw band, lower case": raw_band(sent.secret).lower().replace("size=", "Size="),
        "address": vrt(address),
        "address in lower case": vrt(address).replace(
            "SourceFilename", "sourcefilename"
        ),
        "address, asked another way": vrt(
            f"/vsicurl?url={sent.listener.address}/a.tif"
        ),
        "driver that writes": vrt(sent.mrf(payload)),
        "driver that writes, itself": sent.mrf(payload),
        "web map": f"<GDAL_WMS><Service name='TMS'><ServerUrl>{sent.listener.address}/"
        "${z}</ServerUrl></Service><DataWindow><SizeX>32</SizeX><SizeY>32</SizeY>"
        "</DataWindow></GDAL_WMS>",
        "VRT of a VRT": vrt(vrt(address)),
        "connection": vrt("vrt://" + str(sent.secret)),
        "overview": vrt(str(payload)).replace(
            "<SimpleSource>",
            f"<Overview><SourceFilename>{address}</SourceFilename><SourceBand>1"
            "</SourceBand></Overview><SimpleSource>",
            1,
        ),
        "overviews of the metadata": vrt(str(payload)).replace(
            "<Metadata>",
            '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
            f"{address}</MDI></Metadata><Metadata>",
        ),
        "mask": vrt(str(payload)).replace(
            "</VRTDataset>",
            "<maskband><vrtrasterband dataType='Byte'><simplesource><sourcefilename>"
            f"{address}</sourcefilename></simplesource></vrtrasterband></maskband>"
            "</VRTDataset>",
        ),
        "code": vrt(str(payload), band=' subclass="vrtderivedrasterband"'),
        "warp": vrt(address).replace(
            "<VRTDataset", '<VRTDataset subClass="VRTWarped' 'Dataset"'
        ),
        "CRS at an address": vrt(str(payload)).replace(
            "EPSG:32633", f"{sent.listener.address}/crs"
        ),
    }


#: The names of the texts above, for tests by name.
EVIL = (
    *("raw band", "raw band, lower case", "address", "address in lower case"),
    *("address, asked another way", "driver that writes", "driver that writes, itself"),
    *("web map", "VRT of a VRT", "connection", "overview", "mask", "code", "warp"),
    "CRS at an address",
)


@pytest.mark.parametrize("kind", EVIL)
def test_a_vrt_that_does_more_than_read_images_is_refused(sent, image, kind):
    path = sent.folder / "a.vrt"
    path.write_text(evil_texts(sent, image)[kind])
    with sent.unharmed(), pytest.raises(RasterError, match="a.vrt"):
        open_raster(path)


def test_overviews_that_a_vrt_names_are_not_followed(sent, image):
    path = sent.folder / "a.vrt"
    path.write_text(evil_texts(sent, image)["overviews of the metadata"])
    with sent.unharmed():
        assert look(path).max() < 90


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
@pytest.mark.parametrize("kind", EVIL)
def test_a_file_beside_an_image_that_is_no_geotiff_is_refused(
    sent, image, kind, suffix
):
    path = image(side=512)
    path.with_name(path.name + suffix).write_text(evil_texts(sent, image)[kind])
    with sent.unharmed(), pytest.raises(
        RasterError, match=f"a.tif{suffix} beside a.tif"
    ):
        open_raster(path)


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
def test_files_beside_the_source_of_a_vrt_and_beside_a_vrt_are_checked(
    sent, image, suffix
):
    part = image("part.tif")
    path = sent.folder / "a.vrt"
    path.write_text(vrt("part.tif", relative=1))
    assert look(path) is not None
    for beside in (part, path):
        other = beside.with_name(beside.name + suffix)
        other.write_text(raw_band(sent.secret))
        os.utime(path, (1, len(str(other))))  # another version of the VRT
        with sent.unharmed(), pytest.raises(RasterError, match=f"{other.name} beside"):
            open_raster(path)
        other.unlink()


def test_files_beside_a_mask_are_checked(sent, image):
    path = image()
    image("a.tif.msk", count=1)
    assert look(path) is not None
    (sent.folder / "a.tif.msk.ovr").write_text(raw_band(sent.secret))
    with sent.unharmed(), pytest.raises(RasterError, match="a.tif.msk.ovr beside"):
        open_raster(path)


@pytest.mark.parametrize("key", ["OVERVIEW_FILE", "overview_file"])
@pytest.mark.parametrize("where", ["within", "beside"])
def test_overviews_that_metadata_name_are_refused(sent, image, where, key):
    path = image(side=512)
    places = [f"/vsicurl/{sent.listener.address}/a.tif", raw_band(sent.secret)]
    for place in places:
        if where == "within":
            with rasterio.open(path, "r+") as dataset:
                dataset.update_tags(ns="OVERVIEWS", **{key: place})
        else:
            text = place.replace("<", "&lt;")
            path.with_name("a.tif.aux.xml").write_text(
                f'<pamdataset><metadata domain="overviews"><mdi key="{key}">{text}</mdi>'
                "</metadata></pamdataset>"
            )
        with sent.unharmed(), pytest.raises(RasterError, match="as its overviews"):
            open_raster(path)
    # of a source nothing is asked: its overviews are not looked at
    mosaic = sent.folder / "m.vrt"
    mosaic.write_text(vrt(str(path)))
    with sent.unharmed():
        assert look(mosaic).max() < 90


def test_masks_overviews_and_statistics_beside_an_image_are_read(sent, image):
    path = image(side=512, count=1)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        with rasterio.open(path, "r+") as dataset:
            mask = np.full((512, 512), 255, np.uint8)
            mask[:10] = 0
            dataset.write_mask(mask)
    path.with_name("a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>near infrared</Description>'
        '<Metadata><MDI key="STATISTICS_MEAN">45</MDI></Metadata></PAMRasterBand>'
        "</PAMDataset>"
    )
    image("a.tif.ovr", side=256, count=1)
    with sent.unharmed(), open_raster(path) as dataset:
        assert dataset.overviews(1) == [2]
        grid = describe(path)
        assert grid.masked and grid.band_names == ("nir",)
        assert not read_window(dataset, (1,), grid.window)[1][:10].any()
    mosaic = sent.folder / "m.vrt"
    whole = vrt("a.tif", relative=1).replace(f'"{SIZE}"', '"512"')
    mosaic.write_text(whole)
    mask = path.with_name("a.tif.msk")
    mask.rename(sent.folder / "m.vrt.msk")
    with open_raster(mosaic) as dataset:
        grid = describe(mosaic)
        valid = read_window(dataset, (1,), grid.window)[1]
    assert not valid[:10].any() and valid[10:].all()
    assert [Path(name).name for name in dataset.files] == [
        "m.vrt",
        "a.tif",
        "m.vrt.msk",
    ]


def test_a_world_file_beside_an_image_is_read(sent, image):
    path = image(crs=None)
    path.with_name("a.tfw").write_text("2\n0\n0\n-2\n100\n200\n")
    assert tuple(describe(path).transform)[:6] == (2, 0, 99, 0, -2, 201)


def test_a_vrt_keeps_what_gdalbuildvrt_writes(sent, image):
    path = image()
    mosaic = sent.folder / "a.vrt"
    source = (
        '<ComplexSource resampling="nearest"><SourceFilename relativeToVRT="1" shared="0"'
        ">a.tif</SourceFilename><SourceBand>2</SourceBand><SourceProperties "
        f'RasterXSize="{SIZE}" RasterYSize="{SIZE}" DataType="Byte" BlockXSize="{SIZE}" '
        f'BlockYSize="8"/><SrcRect xOff="0" yOff="0" xSize="{SIZE}" ySize="{SIZE}"/>'
        f'<DstRect xOff="0" yOff="0" xSize="{SIZE}" ySize="{SIZE}"/><NODATA>7</NODATA>'
        "<ScaleOffset>100</ScaleOffset><ScaleRatio>2</ScaleRatio></ComplexSource>"
    )
    mosaic.write_text(
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><SRS '
        'dataAxisToSRSAxisMapping="1,2">EPSG:32633</SRS><GeoTransform>1, 2, 0, 3, 0, -2'
        '</GeoTransform><Metadata><MDI key="A">b</MDI></Metadata><OverviewList '
        'resampling="average">2 4</OverviewList><VRTRasterBand dataType="Int16" band="1" '
        'blockXSize="16" blockYSize="16"><Description>red</Description><NoDataValue>-1'
        "</NoDataValue><ColorInterp>Red</ColorInterp><Offset>5</Offset><Scale>0.1</Scale>"
        f"<Histograms/>{source}</VRTRasterBand></VRTDataset>"
    )
    grid = describe(mosaic)
    assert (grid.path, grid.nodata, grid.band_names) == (str(mosaic), -1, ("red",))
    with rasterio.open(mosaic) as dataset:  # the text as it stands
        assert grid.block == dataset.block_shapes[0]
        assert grid.scaling == ((dataset.scales[0], dataset.offsets[0]),)
        assert grid.transform == dataset.transform and grid.crs == dataset.crs
    with open_raster(path) as dataset:
        band = dataset.read(2).astype(np.int16)
    with open_raster(mosaic) as dataset:
        assert dataset.tags() == {"A": "b"} and dataset.crs.to_epsg() == 32633
        read = dataset.read(1)
    np.testing.assert_array_equal(read, np.where(band == 7, -1, 100 + 2 * band))


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.fgb", "a.geojson", "a.json"])
def test_labels_open_nothing_but_themselves(sent, name):
    path = sent.folder / name
    address = f"{sent.listener.address}/a.geojson"
    link = {"TYPE": "LINK", "Properties": {"HREF": address}}
    polygon = {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [0, 0]]]}
    texts = [
        f'<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{address}'
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
        *(
            json.dumps(
                {"type": kind, key: link, "features": [], **polygon, **{"type": kind}}
            )
            for kind in ("FeatureCollection", "featurecollection", "Polygon", "polygon")
            for key in ("crs", "CRS")
        ),
    ]
    for text in texts:
        path.write_text(text)
        with sent.unharmed():
            for reader in (
                lambda: read_shapes(str(path), LabelClasses()),
                lambda: inspect_vector(path),
            ):
                try:
                    reader()
                except LabelError as error:
                    assert name in str(error)
                else:  # names no class of its own: a member that is not GeoJSON's
                    assert name.endswith("json") and '"CRS"' in text


def test_labels_of_the_usual_formats_are_read_beside_closed_drivers(sent):
    for name, driver in (("a.gpkg", "GPKG"), ("a.shp", "ESRI Shapefile")):
        polygon = {"type": "Polygon", "coordinates": [[(0, 0), (0, 1), (1, 1), (0, 0)]]}
        schema = {"geometry": "Polygon", "properties": {"a": "int"}}
        path = sent.folder / name
        with fiona.open(path, "w", driver=driver, crs="EPSG:32633", schema=schema) as f:
            f.write({"geometry": polygon, "properties": {"a": 1}})
        shapes = read_shapes(str(path), LabelClasses())
        assert len(shapes.geometries) == 1 and shapes.crs.to_epsg() == 32633


def test_drivers_are_off_in_threads_and_in_new_processes(image):
    path = image()
    drivers = []

    def note():
        open_raster(path).close()
        with rasterio.Env() as environment:
            drivers.append(set(environment.drivers()))
        with gdal_limits.limited_vectors():
            drivers.append(set(fiona.env.local._env.drivers()))

    note()
    thread = threading.Thread(target=note)
    thread.start()
    thread.join()
    assert drivers[0] == drivers[2] <= gdal_limits.RASTER_DRIVERS
    assert drivers[1] == drivers[3] <= gdal_limits.VECTOR_DRIVERS
    # a process in which rasterio has been used before
    code = (
        "import rasterio, sys; rasterio.open(sys.argv[1]).close()\n"
        "from geoseg.geo.rasters.raster import open_raster; open_raster(sys.argv[1]).close()\n"
        "with rasterio.Env() as e: print(*sorted(e.drivers()), sep=',')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert set(result.stdout.strip().split(",")) == drivers[0]
    assert result.stderr == ""


def test_the_network_is_closed_until_the_user_names_an_address(sent, image):
    open_raster(image("vsicurl/a.tif")).close()
    assert not on_network(sent.folder / "vsicurl" / "a.tif")
    name = f"/vsicurl/{sent.listener.address}/a.tif"
    with sent.unharmed(), pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(name)
    with pytest.raises(RasterError):
        open_raster(f"{sent.listener.address}/b.tif")
    assert "/b.tif" in sent.listener.asked
    with remote_access(name):
        assert "CPL_VSIL_CURL_ALLOWED_FILENAME" not in os.environ


def test_what_is_no_file_is_no_source(sent):
    (sent.folder / "folder.tif").mkdir()
    os.mkfifo(sent.folder / "pipe.tif")
    for name in ("folder.tif", "pipe.tif"):
        path = sent.folder / "a.vrt"
        path.write_text(vrt(name, relative=1))
        os.utime(path, (1, len(name)))
        with pytest.raises(RasterError, match=f"a.vrt reads .*{name}"):
            open_raster(path)


def test_archives_have_the_same_rules(sent, image):
    archive = sent.folder / "a.zip"
    good = vrt("a.tif", relative=1)
    texts = {
        "good.vrt": (good, None),
        "nested.vrt": (vrt("good.vrt", relative=1), None),
        "raw.vrt": (raw_band(sent.secret), "reads the bytes of any file"),
        "outside.vrt": (vrt("/b.tif"), "expected GeoTIFF or VRT files in archives"),
        "far.vrt": (vrt("/vsicurl/http://localhost/a.tif"), "in archives on this disk"),
        "b.tif.msk": (good, None),
    }
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("a.tif", "b.tif"):
            file.write(image(name), name)
        for name, (text, _) in texts.items():
            file.writestr(name, text)
    root = f"/vsizip/{archive}"
    with sent.unharmed():
        assert look(f"{root}/a.tif") is not None
        for name, (_, message) in texts.items():
            if name.endswith(".vrt") and message is None:
                assert look(f"{root}/{name}").max() < LEAST_SECRET
            elif message is not None:
                with pytest.raises(RasterError, match=message):
                    open_raster(f"{root}/{name}")
        with pytest.raises(RasterError, match="b.tif.msk beside b.tif is no GeoTIFF"):
            open_raster(f"{root}/b.tif")


def test_a_secret_is_no_image(sent):
    """The check of pixels in the fuzz tests would see it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(raw_band(sent.secret))
    with dataset:
        assert dataset.read().min() >= LEAST_SECRET
