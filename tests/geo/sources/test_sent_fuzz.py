"""Mutations of VRTs, of files beside images and of labels: files and sockets are watched.

What is sent is drawn at random from texts that are allowed and texts that are not, then
bent: names in any case, parts swapped, bytes changed. Whatever GDAL makes of it, nothing
is written or fetched, no byte of the secret becomes a pixel, and errors are one line.
"""

import json
import os
import random
import sqlite3
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
from sent_files import LEAST_SECRET, SIZE, Listener, Sent, look, raw_band, vrt

from geoseg.core.classes import LabelClasses
from geoseg.core.errors import GeosegError
from geoseg.geo.labels.files import read_shapes
from geoseg.geo.labels.vector_inspection import inspect_vector
from geoseg.geo.sources import gdal_limits

#: Where a mutated text lies: as the image itself, and beside one.
RASTERS = ("m.vrt", "a.tif.msk", "a.tif.ovr", "a.tif.aux.xml", "part.tif.msk")
VECTORS = ("l.gpkg", "l.shp", "l.fgb", "l.geojson", "l.json", "l.geojsonl", "l.csv")
#: A round looks at one mutation of each.
ROUNDS = [30, pytest.param(500, marks=pytest.mark.slow)]


@pytest.fixture
def sent(tmp_path, monkeypatch, write_tiff):
    """A folder with two images, a mosaic of them, and labels."""
    monkeypatch.setattr(gdal_limits, "_network_allowed", False)
    monkeypatch.setenv("CPL_VSIL_CURL_ALLOWED_FILENAME", "none")
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "5")
    listener = Listener()
    folder = Sent(tmp_path, listener)
    pixels = np.random.default_rng(0).integers(1, 90, (1, SIZE, SIZE), np.uint8)
    for name in ("a.tif", "part.tif", "payload.tif"):
        write_tiff(f"sent/{name}", pixels)
    (folder.folder / "m.vrt").write_text(vrt("part.tif", relative=1))
    yield folder
    listener.close()


def sources(sent: Sent) -> list[str]:
    """Names of files as somebody may write them into a VRT."""
    host = sent.listener.address
    payload = sent.folder / "payload.tif"
    return [
        *("part.tif", "a.tif", "m.vrt", str(payload), "../own/secret.bin"),
        *(str(sent.secret), f"//{sent.secret}", f"/vsisubfile/0,{sent.secret}"),
        *(f"/vsicurl/{host}/a.tif", f"//vsicurl/{host}/a.tif", f"{host}/a.tif"),
        *(f"/vsicurl?url={host}/a.tif", f"/vsicurl_streaming/{host}/a.tif"),
        *("/vsis3/bucket/a.tif", f"/vsizip//vsicurl/{host}/a.zip/a.tif"),
        *(f"GTIFF_DIR:1:{payload}", f"GTIFF_RAW:{payload}", f"MRF:{payload}"),
        *(f"vrt://{payload}?bands=1", f"DERIVED_SUBDATASET:LOGAMPLITUDE:{payload}"),
        *(f"WMS:{host}/?", f"WMTS:{host}/a.tif", f'NETCDF:"{sent.secret}":a.tif'),
        *(f"ZARR:/vsicurl/{host}/a.tif", f"GTI:{host}/a.tif", f"ENVI:{sent.secret}"),
        *(sent.mrf(payload), raw_band(sent.secret), vrt(f"/vsicurl/{host}/a.tif")),
        *(vrt(str(payload)), vrt(sent.mrf(payload)), "\ufeffpart.tif", " part.tif "),
    ]


def some_raster(sent: Sent, draw: random.Random) -> str:
    """Draw the text of a VRT, or of metadata beside an image."""
    place = draw.choice(sources(sent))
    text = draw.choice(
        [
            vrt(place, relative=draw.randrange(2)),
            raw_band(sent.secret),
            sent.mrf(sent.folder / "payload.tif"),
            vrt(place, band=draw.choice([' subClass="VRTSourcedRasterBand"', ""])),
            vrt("part.tif", relative=1, more=extra(place, draw)),
            vrt("part.tif", relative=1).replace("<SRS>", f"{extra(place, draw)}<SRS>"),
            f"<PAMDataset>{extra(place, draw)}</PAMDataset>",
            '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
            f"{quoted(place)}</MDI></Metadata></PAMDataset>",
        ]
    )
    return bend(text, draw)


def quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def extra(place: str, draw: random.Random) -> str:
    """Draw an element that names a file, in one of the ways that GDAL knows."""
    name = quoted(place)
    file = f"<SourceFilename>{name}</SourceFilename><SourceBand>1</SourceBand>"
    return draw.choice(
        [
            f"<Overview>{file}</Overview>",
            f"<MaskBand><VRTRasterBand dataType='Byte'><SimpleSource>{file}"
            "</SimpleSource></VRTRasterBand></MaskBand>",
            f"<ComplexSource>{file}<UseMaskBand>true</UseMaskBand></ComplexSource>",
            f"<KernelFilteredSource>{file}</KernelFilteredSource>",
            f"<SourceDataset>{name}</SourceDataset>",
            f"<OverviewFile>{name}</OverviewFile>",
            f"<Metadata domain='OVERVIEWS'><MDI key='OVERVIEW_FILE'>{name}</MDI>"
            "</Metadata>",
            f"<Metadata domain='xml:VRT' format='xml'>{vrt(place)}</Metadata>",
            f"<GCPList Projection=\"{name.replace(chr(34), '&quot;')}\"><GCP Id='1' "
            "Pixel='0' Line='0' X='0' Y='0'/></GCPList>",
            f"<SRS>{name}</SRS>",
            f"<PixelFunctionType>{name}</PixelFunctionType>",
        ]
    )


def some_labels(sent: Sent, draw: random.Random) -> str:
    """Draw a text of vectors, or one that calls itself so."""
    place = draw.choice(sources(sent))
    address = f"{sent.listener.address}/a.geojson"
    ring = [[0, 0], [0, 1], [1, 1], [0, 0]]
    crs = {
        "type": draw.choice(["link", "url", "name", "EPSG", "OGC", "LINK"]),
        "properties": {draw.choice(["href", "url", "name", "HREF"]): address},
    }
    polygon = {"type": "Polygon", "coordinates": [ring], "crs": crs}
    features = [{"type": "Feature", "properties": {}, "geometry": polygon}]
    text = draw.choice(
        [
            json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}),
            json.dumps({"type": "Topology", "crs": crs, "objects": {}, "arcs": []}),
            json.dumps(polygon),
            f'<OGRVRTDataSource><OGRVRTLayer name="l"><SrcDataSource>{quoted(place)}'
            "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
            f"<OGRVRTDataSource><OGRVRTLayer name='l'><SrcDataSource>{address}"
            "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
            f"<kml><Document><NetworkLink><Link><href>{address}</href></Link>"
            "</NetworkLink></Document></kml>",
            f"<OGRWFSDataSource><URL>{address}</URL></OGRWFSDataSource>",
            f'WKT,a\n"POLYGON ((0 0, 0 1, 1 1, 0 0))",{address}\n',
            '<gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml" '
            f'xsi:schemaLocation="a {address}.xsd"><gml:featureMember/>'
            "</gml:FeatureCollection>",
        ]
    )
    return bend(text, draw)


def bend(text: str, draw: random.Random) -> str:
    """Change the case of some words, then some characters, in most texts."""
    if draw.random() < 0.5:
        cut = draw.randrange(len(text))
        part = text[cut : cut + draw.randrange(120)]
        change = draw.choice([str.lower, str.upper, str.swapcase])
        text = text[:cut] + change(part) + text[cut + len(part) :]
    for _ in range(draw.choice([0, 0, 0, 1, 2, 5])):
        at = draw.randrange(len(text))
        odd = draw.choice(
            ["", " ", "<", ">", "/", '"', "&amp;", "<!--", "-->", "\u212a"]
        )
        text = text[:at] + odd + text[at + draw.randrange(3) :]
    return text


@pytest.mark.parametrize("rounds", ROUNDS)
def test_no_raster_that_was_sent_does_anything(sent, rounds):
    draw = random.Random(13)
    seen = 0
    for number in range(rounds):
        for name in RASTERS:
            path = sent.folder / name
            before = path.read_bytes() if path.exists() else None
            path.write_text(some_raster(sent, draw), encoding="utf-8")
            os.utime(path, (1, number))
            if name == "part.tif.msk":
                os.utime(sent.folder / "m.vrt", (1, number))
            with sent.unharmed():
                for image in ("a.tif", "m.vrt"):
                    pixels = look(sent.folder / image)
                    if pixels is not None:
                        seen += 1
                        assert pixels.max() < LEAST_SECRET, path.read_text()
            path.unlink()
            if before is not None:
                path.write_bytes(before)
    assert seen > rounds  # some are allowed, and an image beside a bad one is read


@pytest.mark.parametrize("rounds", ROUNDS)
def test_no_labels_that_were_sent_do_anything(sent, rounds):
    draw = random.Random(13)
    for _ in range(rounds):
        for name in VECTORS:
            path = sent.folder / name
            path.write_text(some_labels(sent, draw), encoding="utf-8")
            with sent.unharmed():
                for reader in (read, inspect_vector):
                    try:
                        reader(path)
                    except GeosegError as error:
                        assert name in str(error)
            path.unlink()


def read(path: Path) -> None:
    read_shapes(str(path), LabelClasses())


@pytest.mark.parametrize(
    "query",
    [
        "ogr_geocode('x', 'geometry', 'QUERY_TEMPLATE=HOST/g?q=%s')",
        "ogr_datasource_load_layers('/vsicurl/HOST/a.geojson')",
        "gdal_get_pixel_value('/vsicurl/HOST/a.tif', 1, 'pixel', 0, 0)",
        "writefile('VICTIM', 'x')",
        "load_extension('mod_spatialite')",
    ],
)
def test_views_of_a_geopackage_reach_nothing_outside(sent, query):
    path = sent.folder / "v.gpkg"
    polygon = {"type": "Polygon", "coordinates": [[(0, 0), (0, 1), (1, 1), (0, 0)]]}
    schema = {"geometry": "Polygon", "properties": {"a": "str"}}
    with fiona.open(
        path, "w", driver="GPKG", layer="t", crs="EPSG:4326", schema=schema
    ) as sink:
        sink.write({"geometry": polygon, "properties": {"a": "x"}})
    query = query.replace("HOST", sent.listener.address)
    query = query.replace("VICTIM", str(sent.victim))
    database = sqlite3.connect(path)
    database.executescript(
        f"CREATE VIEW v AS SELECT fid, geom, {query} AS a FROM t;"
        "INSERT INTO gpkg_contents (table_name, identifier, data_type, srs_id) "
        "VALUES ('v', 'v', 'features', 4326);"
        "INSERT INTO gpkg_geometry_columns VALUES ('v', 'geom', 'POLYGON', 4326, 0, 0);"
    )
    database.close()
    with sent.unharmed():
        for reader in (
            lambda: read_shapes(str(path), LabelClasses(layer="v")),
            lambda: inspect_vector(path),
        ):
            with pytest.raises(GeosegError, match="v.gpkg"):
                reader()


def test_overviews_within_a_tiff_are_mutated_too(sent):
    path = sent.folder / "a.tif"
    for place in sources(sent):
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=place)
        (sent.folder / "m.vrt").write_text(vrt(str(path)))
        with sent.unharmed():
            assert look(path) is None
            assert look(sent.folder / "m.vrt").max() < LEAST_SECRET
