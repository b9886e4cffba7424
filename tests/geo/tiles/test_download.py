"""Areas downloaded from a real S3 server, whole and in part, then found on disk."""

import dataclasses
import hashlib
import io
import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest

from geoseg.core.errors import (
    ArchiveError,
    DownloadError,
    OutputError,
    OutputExistsError,
    ParameterError,
)
from geoseg.core.locks import locked
from geoseg.geo.tiles import download
from geoseg.geo.tiles.catalogue import AOIS, Tarball
from geoseg.geo.tiles.download import download_aoi
from geoseg.geo.tiles.tiles import aoi_tiles

VEGAS = "spacenet/SN2_buildings/train/AOI_2_Vegas"
TARBALLS = "spacenet/SN2_buildings/tarballs"
NUMBERS = (3, 7, 10, 225)


@pytest.fixture
def tile(write_tiff):
    """Return ``make(bands) -> bytes`` of a GeoTIFF."""

    def make(bands=8) -> bytes:
        pixels = np.random.default_rng(0).integers(1, 2000, (bands, 16, 16))
        path = Path(write_tiff("made/tile.tif", pixels.astype(np.uint16)))
        return path.read_bytes()

    return make


@pytest.fixture
def labels(write_geojson, rectangle):
    path = write_geojson("made/x.geojson", [rectangle(2, 2, 4, 4)], crs="EPSG:32611")
    return Path(path).read_bytes()


@pytest.fixture
def exploded(s3, tile, labels):
    """The bucket as SpaceNet's: an image without labels among them."""
    for number in (*NUMBERS, 999):
        for product, bands in (("PS-MS", 8), ("PS-RGB", 3), ("MS", 8)):
            name = f"SN2_buildings_train_AOI_2_Vegas_{product}_img{number}.tif"
            s3.put(f"{VEGAS}/{product}/{name}", tile(bands))
        if number != 999:
            name = f"SN2_buildings_train_AOI_2_Vegas_geojson_buildings_img{number}"
            s3.put(f"{VEGAS}/geojson_buildings/{name}.geojson", labels)
    s3.requests.clear()
    return s3


def tar_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def serve(s3, monkeypatch):
    """Return ``serve(aoi, *contents)``: tarballs of the area with their md5."""

    def put(name, *contents):
        tarballs = []
        for known, content in zip(AOIS[name].tarballs, contents, strict=True):
            s3.put(f"spacenet/{AOIS[name].dataset}/tarballs/{known.name}", content)
            md5 = hashlib.md5(content).hexdigest()
            tarballs.append(Tarball(known.name, md5, known.size_gb))
        changed = dataclasses.replace(AOIS[name], tarballs=tuple(tarballs))
        monkeypatch.setitem(AOIS, name, changed)
        s3.requests.clear()
        return s3

    return put


@pytest.fixture
def vegas(serve, tile, labels):
    top = "AOI_2_Vegas_Train"
    files = {}
    for n in NUMBERS:
        image = f"{top}/MUL-PanSharpen/MUL-PanSharpen_AOI_2_Vegas_img{n}.tif"
        name = f"{top}/geojson/buildings/buildings_AOI_2_Vegas_img{n}.geojson"
        files |= {image: tile(), name: labels}
    return serve("las_vegas", tar_of(files))


def names_below(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_a_tarball_becomes_an_aoi_that_training_finds(vegas, tmp_path, caplog):
    caplog.set_level(logging.INFO, "geoseg")
    place = download_aoi("las_vegas", tmp_path)
    assert place == tmp_path / "SN2_buildings/train/AOI_2_Vegas_Train"
    tiles = aoi_tiles("las_vegas", tmp_path)
    assert [t.id for t in tiles] == ["img3", "img7", "img10", "img225"]
    assert all(t.labels for t in tiles)
    assert not [name for name in names_below(tmp_path) if name.endswith(".gz")]
    vegas.requests.clear()
    download_aoi("las_vegas", tmp_path)
    assert vegas.requests == []
    assert "nothing to do" in caplog.text


def test_a_kept_archive_is_used_again_without_a_request(vegas, tmp_path):
    place = download_aoi("las_vegas", tmp_path, keep_archive=True)
    (place / "MUL-PanSharpen" / "mine.txt").write_text("x")
    vegas.requests.clear()
    download_aoi("las_vegas", tmp_path, overwrite=True, keep_archive=True)
    assert vegas.requests == []
    assert "mine.txt" not in names_below(place)
    archive = tmp_path / "SN2_buildings/tarballs" / AOIS["las_vegas"].tarballs[0].name
    archive.write_bytes(b"rotten")
    with pytest.raises(DownloadError, match="has md5 .*expected .*remove it"):
        download_aoi("las_vegas", tmp_path, overwrite=True)


def test_a_tarball_with_another_md5_is_not_unpacked(s3, tmp_path):
    s3.put(f"{TARBALLS}/{AOIS['paris'].tarballs[0].name}", b"not it")
    with pytest.raises(DownloadError, match=AOIS["paris"].tarballs[0].md5):
        download_aoi("paris", tmp_path)
    assert names_below(tmp_path) == []


def test_a_hostile_tarball_leaves_no_area(serve, tmp_path):
    serve("las_vegas", tar_of({"AOI_2_Vegas_Train/../../x": b""}))
    with pytest.raises(ArchiveError, match="leads out"):
        download_aoi("las_vegas", tmp_path)
    assert list((tmp_path / "SN2_buildings" / "train").iterdir()) == []


def test_a_folder_made_by_others_is_not_touched(vegas, tmp_path):
    mine = tmp_path / "SN2_buildings/train/AOI_2_Vegas_Train/mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("x")
    with pytest.raises(OutputExistsError, match="not made by geoseg download"):
        download_aoi("las_vegas", tmp_path)
    assert vegas.requests == [] and mine.exists()


def test_rio_comes_in_two_tarballs(serve, tile, labels, tmp_path):
    images = {f"3band/3band_AOI_1_RIO_img{n}.tif": tile(3) for n in (1, 2)}
    vectors = {f"geojson/Geo_AOI_1_RIO_img{n}.geojson": labels for n in (1, 2)}
    s3 = serve("rio", tar_of(images), tar_of(vectors))
    download_aoi("rio", tmp_path)
    assert all(t.labels for t in aoi_tiles("rio", tmp_path))
    s3.requests.clear()
    download_aoi("rio", tmp_path)
    assert s3.requests == []


def test_some_tiles_come_with_their_labels_and_grow(exploded, tmp_path, caplog):
    caplog.set_level(logging.INFO, "geoseg")
    download_aoi("las_vegas", tmp_path, tiles=2)
    first = aoi_tiles("las_vegas", tmp_path)
    assert len(first) == 2 and all("PS-MS" in t.image and t.labels for t in first)
    exploded.requests.clear()
    download_aoi("las_vegas", tmp_path, tiles=3)
    assert len([r for r in exploded.requests if r.path.endswith(".tif")]) == 1
    assert {t.id for t in first} < {t.id for t in aoi_tiles("las_vegas", tmp_path)}
    download_aoi("las_vegas", tmp_path, tiles=3)
    assert "nothing to do" in caplog.text


def test_more_tiles_than_there_are_is_said(exploded, tmp_path, caplog):
    download_aoi("las_vegas", tmp_path, tiles=50)
    assert "4 tiles with labels in all, fewer than 50" in caplog.text
    assert [t.id for t in aoi_tiles("las_vegas", tmp_path)] == [
        f"img{n}" for n in NUMBERS
    ]


@pytest.mark.parametrize("products", [("RGB-PanSharpen",), ("MS",), ("PS-MS", "MS")])
def test_products_alone_bring_all_their_tiles(exploded, tmp_path, products):
    download_aoi("las_vegas", tmp_path, products=products)
    tiles = aoi_tiles("las_vegas", tmp_path)
    assert len(tiles) == len(NUMBERS) and all(t.labels for t in tiles)
    folders = {p.parent.name for p in tmp_path.rglob("*.tif")} - {"made"}
    assert len(folders) == len(products)


def test_the_larger_of_two_downloads_is_trained_on(exploded, vegas, tmp_path):
    download_aoi("las_vegas", tmp_path, tiles=2)
    download_aoi("las_vegas", tmp_path)
    assert len(aoi_tiles("las_vegas", tmp_path)) == len(NUMBERS)


def test_rio_has_single_files_too(s3, tile, labels, tmp_path):
    for number in (1, 2):
        base = "spacenet/SN1_buildings/train"
        s3.put(f"{base}/3band/3band_AOI_1_RIO_img{number}.tif", tile(3))
        s3.put(f"{base}/geojson/Geo_AOI_1_RIO_img{number}.geojson", labels)
    download_aoi("rio", tmp_path, tiles=1)
    (found,) = aoi_tiles("rio", tmp_path)
    assert found.labels


def test_what_is_absent_or_unknown_is_said(s3, tmp_path):
    with pytest.raises(DownloadError, match="does not exist"):
        download_aoi("paris", tmp_path)
    with pytest.raises(DownloadError, match="PS-MS holds no file.*other --products"):
        download_aoi("paris", tmp_path, tiles=3)
    with pytest.raises(ParameterError, match="'atlantis' is unknown"):
        download_aoi("atlantis", tmp_path)
    with pytest.raises(ParameterError, match="'8band' is unknown for paris"):
        download_aoi("paris", tmp_path, products=["8band"])


@pytest.mark.parametrize("tiles", [None, 2])
def test_too_small_a_disk_is_seen_beforehand(
    vegas, exploded, tmp_path, monkeypatch, tiles
):
    monkeypatch.setattr(download, "free_bytes", lambda folder: 1000)
    with pytest.raises(DownloadError, match="has 1.0 kB free, expected"):
        download_aoi("las_vegas", tmp_path, tiles=tiles)
    assert not vegas.gets(".tif") and not vegas.gets(".gz")


def test_two_downloads_into_one_folder_do_not_mix(exploded, tmp_path):
    root = tmp_path / "SN2_buildings"
    root.mkdir()
    with locked(root):
        with pytest.raises(OutputError, match="another geoseg is writing into"):
            download_aoi("las_vegas", tmp_path, tiles=1)
    download_aoi("las_vegas", tmp_path, tiles=1)


def test_a_cut_in_one_of_many_files_is_mended(exploded, tmp_path):
    exploded.cuts.extend([10**9] * 4 + [100] * 3)
    download_aoi("las_vegas", tmp_path, tiles=4)
    assert len(aoi_tiles("las_vegas", tmp_path)) == 4
