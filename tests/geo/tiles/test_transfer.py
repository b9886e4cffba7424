"""One object fetched from a real S3 server: resumed, checked, retried."""

import hashlib
import json
import os
import socket
import subprocess
import sys

import pytest

from geoseg.core.errors import DownloadError
from geoseg.geo.tiles.transfer import TRIES, Bucket, DroppedError, RemoteObject, fetch

BODY = os.urandom(3 * 2**20 + 17)
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def bucket(s3):
    s3.put("a/x.bin", BODY)
    return Bucket(s3.bucket, s3.url)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "down" / "x.bin"


def test_an_object_arrives_whole_and_leaves_nothing_else(bucket, target):
    counts = []
    fetch(bucket, bucket.head("a/x.bin"), target, md5=MD5, received=counts.append)
    assert target.read_bytes() == BODY
    assert sum(counts) == len(BODY)
    assert list(target.parent.iterdir()) == [target]


def test_a_truncated_part_goes_on_where_it_ends(s3, bucket, target):
    item = bucket.head("a/x.bin")
    _leave_part(target, item, BODY[:1_000_001])
    fetch(bucket, item, target, md5=MD5)
    assert [asked.sent for asked in s3.gets("x.bin")] == [len(BODY) - 1_000_001]
    assert target.read_bytes() == BODY


def test_a_part_that_is_complete_needs_no_request(s3, bucket, target):
    item = bucket.head("a/x.bin")
    _leave_part(target, item, BODY)
    fetch(bucket, item, target, md5=MD5)
    assert not s3.gets("x.bin") and target.read_bytes() == BODY


def _leave_part(target, item, content):
    target.parent.mkdir()
    part = target.with_name(target.name + ".part")
    part.write_bytes(content)
    stamp = {"key": item.key, "size": item.size, "etag": item.etag}
    part.with_name(part.name + ".json").write_text(json.dumps(stamp))


def test_a_changed_object_starts_anew(s3, bucket, target):
    _leave_part(target, bucket.head("a/x.bin"), BODY[:1000])
    other = BODY[::-1]
    s3.put("a/x.bin", other)
    fetch(bucket, bucket.head("a/x.bin"), target)
    assert s3.gets("x.bin")[-1].sent == len(other)
    assert target.read_bytes() == other


def test_an_object_that_changes_meanwhile_is_not_pieced_together(s3, bucket, target):
    item = bucket.head("a/x.bin")
    s3.put("a/x.bin", BODY[::-1])
    with pytest.raises(DownloadError, match="changed during the download"):
        fetch(bucket, item, target)
    assert not target.exists()


def test_another_md5_is_refused_and_the_file_removed(bucket, target):
    with pytest.raises(DownloadError, match=f"has md5 {MD5}, expected {'0' * 32}"):
        fetch(bucket, bucket.head("a/x.bin"), target, md5="0" * 32)
    assert list(target.parent.iterdir()) == []


def test_the_md5_in_an_etag_is_checked(bucket, target):
    item = bucket.head("a/x.bin")
    assert item.md5 == MD5
    _leave_part(target, item, bytes(len(BODY)))
    with pytest.raises(DownloadError, match=f"expected {MD5}"):
        fetch(bucket, item, target)


def test_an_etag_of_several_parts_is_no_md5():
    assert RemoteObject("k", 1, f'"{MD5}-3"').md5 is None
    assert RemoteObject("k", 1, None).md5 is None


def test_connections_that_drop_half_way_are_taken_up_again(s3, bucket, target):
    s3.cuts.extend([400_000] * 6)
    fetch(bucket, bucket.head("a/x.bin"), target, md5=MD5, pause_s=0)
    assert target.read_bytes() == BODY
    asked = s3.gets("x.bin")
    assert len(asked) == 7
    # what had come when the last of obstore's own tries failed may come twice
    assert sum(request.sent for request in asked) < len(BODY) + 2**17


def test_a_server_that_sends_nothing_is_given_up(s3, bucket, target, monkeypatch):
    monkeypatch.setattr("geoseg.geo.tiles.transfer.TRIES", 2)
    item = bucket.head("a/x.bin")
    s3.cuts.extend([0] * 100)
    with pytest.raises(DroppedError, match="the same command continues"):
        fetch(bucket, item, target, pause_s=0)
    assert TRIES >= 3  # outside tests there are some


def test_a_refused_connection_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="cannot be reached") as caught:
        Bucket("b", f"http://127.0.0.1:{port}").head("k")
    assert "\n" not in str(caught.value)


def test_absent_and_private_objects_are_told_apart(s3, bucket):
    s3.put("a/private", b"x", public=False)
    with pytest.raises(DownloadError, match="does not exist"):
        bucket.head("a/none")
    with pytest.raises(DownloadError, match="without credentials"):
        bucket.head("a/private")
    for ask in (Bucket("absent", s3.url).head, Bucket("absent", s3.url).list):
        with pytest.raises(DownloadError, match="/absent/k does not exist"):
            ask("k")


@pytest.mark.slow
def test_listing_goes_past_a_thousand_objects(s3, bucket):
    for number in range(1003):
        s3.put(f"many/{number}", b"")
    assert len(bucket.list("many")) == 1003
    assert [item.key for item in bucket.list("a")] == ["a/x.bin"]


def test_a_full_disk_is_one_line_and_keeps_what_fitted(bucket, s3, target):
    code = (
        "import resource, signal, sys, pathlib\n"
        "from geoseg.geo.tiles.transfer import Bucket, fetch\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        "bucket = Bucket(sys.argv[1], sys.argv[2])\n"
        "try:\n"
        "    fetch(bucket, bucket.head('a/x.bin'), pathlib.Path(sys.argv[3]))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, s3.bucket, s3.url, str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("DownloadError")
    assert "cannot be written" in done.stdout and "make room" in done.stdout
    part = target.with_name("x.bin.part")
    assert part.stat().st_size == 2**20
    s3.requests.clear()
    fetch(bucket, bucket.head("a/x.bin"), target, md5=MD5)
    assert sum(asked.sent for asked in s3.gets("x.bin")) == len(BODY) - 2**20
