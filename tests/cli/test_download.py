"""``geoseg download`` as a user calls it, kills included."""

import os
import signal
import time

import pytest

TARBALL = "SN2_buildings_train_AOI_2_Vegas.tar.gz"


@pytest.fixture
def slow_tarball(s3):
    """8 MiB at 2 MiB/s: time enough to kill its download."""
    content = os.urandom(2**23)
    s3.put(f"spacenet/SN2_buildings/tarballs/{TARBALL}", content)
    s3.pause_s = 0.03
    s3.requests.clear()
    return content


def part_of(tmp_path):
    return tmp_path / "SN2_buildings/tarballs" / (TARBALL + ".part")


def wait_for(part, process) -> None:
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 2**20:
        assert process.poll() is None, process.stderr_path.read_text()
        assert time.monotonic() < deadline, "nothing comes"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_asks_for_the_rest_alone(
    spawn, geoseg, s3, slow_tarball, tmp_path, number
):
    words = ("download", "--aoi", "las_vegas", "--data", tmp_path)
    process = spawn(*words)
    part = part_of(tmp_path)
    wait_for(part, process)
    process.send_signal(number)
    code = process.wait(timeout=30)
    kept = part.stat().st_size
    assert 2**20 <= kept < 2**23
    if number == signal.SIGINT:
        assert code == 130
        stderr = process.stderr_path.read_text()
        assert "keeps the downloaded part; the same command continues" in stderr
        assert "Traceback" not in stderr
    s3.pause_s = 0
    s3.requests.clear()
    result = geoseg(*words)
    # it is no tarball: complete, it fails its md5
    assert result.exit_code == 1 and "expected 307da318" in result.stderr
    # the server may record the killed process's request only now
    rest = [
        asked for asked in s3.gets(TARBALL) if not asked.range.startswith("bytes=0-")
    ]
    assert [asked.sent for asked in rest] == [2**23 - kept]


def test_no_network_is_one_line(geoseg, tmp_path):
    result = geoseg(
        *("download", "--aoi", "rio", "--data", tmp_path, "--tiles", 1),
        *("--endpoint", "http://127.0.0.1:9"),
    )
    assert result.exit_code == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: http://127.0.0.1:9/spacenet-dataset/")
    assert "cannot be reached" in line


@pytest.mark.parametrize(
    "words, message",
    [
        (("--aoi", "rio"), "give --data DIR or set GEOSEG_DATA"),
        (("--aoi", "oz", "--data", "d"), "AOI 'oz' is unknown"),
        (("--aoi", "rio", "--data", "d", "--endpoint", "s3://x"), "is not an https://"),
        (("--aoi", "rio", "--data", "d", "--products", ","), "names no product"),
        (("--aoi", "rio", "--data", "d", "--products", "PAN"), "unknown for rio"),
    ],
)
def test_wrong_usage_is_told_before_any_request(
    geoseg, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GEOSEG_DATA", raising=False)
    result = geoseg("download", *words)
    assert result.exit_code == 2 and message in result.stderr
    assert list(tmp_path.iterdir()) == []
