"""Remote inputs read by ranges from a real server, the bytes counted."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy

from geoseg.core import addresses
from geoseg.core.errors import DatasetError, RasterError
from geoseg.geo.maps.rasters import predict_raster
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe, open_raster, read_window
from geoseg.geo.sources import remote
from geoseg.geo.tiles.tiles import find_tiles

SIDE = 1024


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """What the options add to the environment goes with the test."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def cog(tmp_path_factory) -> bytes:
    """A COG of 1024 × 1024 pixels of noise in tiles of 256 × 256: about 6 MB."""
    folder = tmp_path_factory.mktemp("cog")
    pixels = np.random.default_rng(0).integers(1, 1000, (3, SIDE, SIDE))
    with rasterio.open(
        folder / "plain.tif",
        "w",
        driver="GTiff",
        count=3,
        height=SIDE,
        width=SIDE,
        dtype="uint16",
        crs="EPSG:32611",
        transform=Affine(0.5, 0, 664000, 0, -0.5, 4000000),
    ) as dataset:
        dataset.write(pixels.astype(np.uint16))
    copy(folder / "plain.tif", folder / "cog.tif", driver="COG", blocksize=256)
    return (folder / "cog.tif").read_bytes()


@pytest.fixture(params=["s3://", "http://", "/vsicurl/"])
def image(request, s3, cog) -> str:
    """The COG's name in one of the ways to name it; each test has a key of its own."""
    key = f"images/{abs(hash(request.node.name))}.tif"
    s3.put(key, cog)
    s3.requests.clear()
    web = f"{s3.url}/{s3.bucket}/{key}"
    names = {"s3://": f"s3://{s3.bucket}/{key}", "http://": web}
    return names.get(request.param, f"/vsicurl/{web}")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("https://h/a.tif?x=1&X-Amz-Signature=ab%2Fc&y=2", "x=1&X-Amz-Signature=#&y=2"),
        (
            "https://h/a.tif?Signature=a&AWSAccessKeyId=b",
            "Signature=#&AWSAccessKeyId=#",
        ),
        ("https://h/a?x-goog-signature=a&b=1", "?x-goog-signature=#&b=1"),
        ("https://h/a.tif?sp=r&se=2026&sv=1&sig=a%3D", "?sp=#&se=#&sv=#&sig=#"),
        ("https://h/a.tif?sp=r&se=2026", "?sp=r&se=2026"),
        ("/vsicurl?url=https%3A%2F%2Fh%3Ftoken%3Dab%26x%3D1", "%3Ftoken%3D#%26x%3D1"),
        (
            "/vsicurl?header.Authorization=Bearer%20a&url=u",
            "?header.Authorization=#&url=u",
        ),
        ("https://me:word@h/a.tif", "https://#@h/a.tif"),
        (
            "geoseg train --images 'https://h/a?token=b' -o r",
            "'https://h/a?token=#' -o r",
        ),
        ("s3://bucket/signature=a/me@b.tif", "s3://bucket/signature=a/me@b.tif"),
    ],
)
def test_secrets_are_taken_out_of_addresses(given, written):
    found = addresses.redact(given)
    assert found.endswith(written.replace("#", addresses.REDACTED, written.count("#")))
    assert addresses.redact(found) == found


def test_the_name_of_a_file_has_no_query_whichever_way_it_is_called():
    for name in ("https://h/d/a.tif?sig=b/c", "/vsicurl/https://h/d/a.tif?sig=b/c"):
        assert str(addresses.file_name(name)) == "a.tif"


def test_opening_takes_two_requests_and_opening_again_none(s3, image):
    grid = describe(image)
    assert (grid.width, grid.count, grid.path) == (
        SIDE,
        3,
        image.removeprefix("/vsicurl/"),
    )
    assert len(s3.requests) <= 2
    assert sum(asked.sent for asked in s3.requests) <= 2**15
    s3.requests.clear()
    describe(image)
    assert s3.requests == []


def test_a_window_is_read_without_the_rest(s3, cog, image):
    with open_raster(image) as dataset:
        pixels, valid = read_window(dataset, (1, 2, 3), PixelWindow(256, 256, 200, 200))
    assert pixels.shape == (3, 200, 200) and valid.all()
    # one block of 16
    assert sum(asked.sent for asked in s3.requests) < len(cog) / 12


def test_the_first_strip_of_a_map_needs_its_rows_alone(s3, cog, image, bright_model):
    strips = predict_raster(bright_model(), image, window=64, overlap=16)
    first = next(strips)
    strips.close()
    assert first.classes.shape[1] == SIDE
    assert sum(asked.sent for asked in s3.requests) < 0.6 * len(cog)


def test_a_whole_map_reads_no_byte_twice(s3, cog, image, bright_model):
    rows = sum(
        strip.classes.shape[0]
        for strip in predict_raster(bright_model(), image, window=256, overlap=32)
    )
    assert rows == SIDE
    assert sum(asked.sent for asked in s3.requests) < 1.1 * len(cog)


@pytest.mark.parametrize(
    "name, message",
    [
        ("{web}/none.tif", "none.tif does not exist"),
        ("s3://{bucket}/none.tif", "none.tif does not exist"),
        ("s3://absent/none.tif", "none.tif does not exist"),
        ("{web}/private.tif", r"private.tif may not be read \(403\)"),
        ("http://127.0.0.1:9/x.tif", "x.tif cannot be reached"),
        ("{web}/text.tif", "text.tif is no GeoTIFF, or its server does not give parts"),
    ],
)
def test_what_goes_wrong_far_away_is_one_line(s3, monkeypatch, name, message):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    s3.put("private.tif", b"x", public=False)
    s3.put("text.tif", b"no image")
    path = name.format(web=f"{s3.url}/{s3.bucket}", bucket=s3.bucket)
    with pytest.raises(RasterError, match=message) as caught:
        open_raster(path)
    assert "\n" not in str(caught.value)


def test_a_server_that_fails_once_is_asked_again(s3, image):
    s3.failures = 1
    assert describe(image).width == SIDE


def test_a_line_that_is_cut_gives_an_error_and_no_wrong_pixels(s3, image):
    with open_raster(image) as dataset:
        s3.cuts.extend([1000] * 20)
        with pytest.raises(RasterError, match="the connection cut: copy or download"):
            read_window(dataset, (1, 2, 3), PixelWindow(256, 256, 200, 200))


def test_a_text_file_lists_local_and_remote_images(s3, cog, write_tiff, tmp_path):
    s3.put("a/far.tif", cog)
    write_tiff("near.tif", np.ones((3, 8, 8), np.uint16))
    web = f"{s3.url}/{s3.bucket}/a/far.tif"
    (tmp_path / "list.txt").write_text(f"# mine\nnear.tif\n\n{web}\n")
    tiles = find_tiles(tmp_path / "list.txt")
    assert [tile.id for tile in tiles] == ["near", "far"]
    (tmp_path / "list.txt").write_text("# nothing\n")
    with pytest.raises(DatasetError, match="names no image"):
        find_tiles(tmp_path / "list.txt")


def test_a_web_folder_cannot_be_listed_and_advice_is_given(s3):
    with pytest.raises(DatasetError, match="cannot be listed.*--images list.txt"):
        find_tiles(f"{s3.url}/{s3.bucket}/a/")


def found_in_a_process(images, labels=None) -> dict[str, str | None] | str:
    """Find tiles elsewhere: fiona holds the lock that this process's server needs."""
    code = (
        "import json, sys\n"
        "from geoseg.geo.tiles.tiles import find_tiles\n"
        "from geoseg.core.errors import GeosegError\n"
        "from geoseg.geo.labels.labels import read_labels\n"
        "from geoseg.geo.rasters.raster import describe\n"
        "try:\n"
        "    tiles = find_tiles(*json.loads(sys.argv[1]))\n"
        "    print(json.dumps({t.image: t.labels and int(read_labels(t, "
        "describe(t.image)).sum()) for t in tiles}))\n"
        "except GeosegError as error:\n"
        "    print(json.dumps(str(error)))"
    )
    words = [sys.executable, "-c", code, json.dumps([images, labels])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def tiles(s3, write_tiff, write_geojson, rectangle):
    """Two tiles with a building of 12 pixels each, in the bucket."""
    pixels = np.ones((3, 16, 16), np.uint16)
    image = Path(write_tiff("x.tif", pixels)).read_bytes()
    polygon = rectangle(2, 2, 3, 4)
    vector = Path(write_geojson("x.geojson", [polygon], crs="EPSG:32611"))
    text = vector.read_bytes()
    for number in (1, 2):
        s3.put(f"images/t{number}.tif", image)
        s3.put(f"labels/t{number}.geojson", text)
    return s3


@pytest.mark.slow
def test_a_prefix_is_listed_and_paired_with_labels_of_another(tiles):
    at = f"s3://{tiles.bucket}"
    found = found_in_a_process(f"{at}/images", f"{at}/labels/")
    assert found == {f"{at}/images/t{n}.tif": 12 for n in (1, 2)}


@pytest.mark.slow
def test_one_remote_vector_labels_all(tiles):
    at = f"s3://{tiles.bucket}"
    web = f"{tiles.url}/{tiles.bucket}"
    found = found_in_a_process(f"{at}/images", f"{web}/labels/t1.geojson")
    assert set(found.values()) == {12}


@pytest.mark.slow
def test_an_archive_in_a_bucket_is_listed(tiles, tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "x.tif", "in/t1.tif")
    tiles.put("z.zip", tmp_path / "z.zip")
    at = f"/vsizip//vsis3/{tiles.bucket}/z.zip/in"
    assert found_in_a_process(at) == {f"{at}/t1.tif": None}


@pytest.mark.slow
def test_prefixes_that_are_empty_or_absent_are_told(tiles):
    at = f"s3://{tiles.bucket}"
    assert "folders in it: images, labels" in found_in_a_process(at)
    assert "cannot be listed" in found_in_a_process(f"{at}/none")
    missing = found_in_a_process(f"{at}/images", f"{at}/none.geojson")
    assert f"labels {at}/none.geojson does not exist (404)" in missing


@pytest.mark.parametrize(
    "name", ["s3://b/k.tif", "https://h/k.tif?sign=/", "gs://b/k", "/data/k.tif", "k"]
)
def test_gdals_names_lead_back_to_the_users(name):
    assert addresses.user_name(addresses.gdal_name(name)) == name


def test_what_the_user_set_is_left_alone(monkeypatch, s3, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    remote.configure()
    assert os.environ["GDAL_HTTP_MAX_RETRY"] == "9"
    assert os.environ["AWS_NO_SIGN_REQUEST"] == "YES"
    assert os.environ["AWS_S3_ENDPOINT"] == s3.url.removeprefix("http://")


def test_requests_are_signed_where_there_are_credentials(monkeypatch, s3):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    remote.configure()
    assert "AWS_NO_SIGN_REQUEST" not in os.environ
