"""Archives: what is unpacked, and what is refused, leaving nothing behind."""

import io
import os
import re
import subprocess
import sys
import tarfile

import pytest

from geoseg.core.errors import ArchiveError, OutputExistsError
from geoseg.geo.tiles.archives import Limits, unpack

TREE = re.compile(r"AOI_2_Vegas\w*")
GOOD = "AOI_2_Vegas_Train/PAN/a.txt"


def regular(name, content=b"content"):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def special(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info, b""


@pytest.fixture
def pack(tmp_path):
    """Return ``pack(*members) -> path`` of a .tar.gz."""

    def write(*members):
        path = tmp_path / "a.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for info, content in members:
                tar.addfile(info, io.BytesIO(content))
        return path

    return write


def files_below(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("above", ["", "./", "SN2/train/"])
def test_the_tree_is_unpacked_and_nothing_else(pack, tmp_path, above):
    archive = pack(
        regular(above + GOOD),
        regular(above + "AOI_2_Vegas_Train/._a.txt"),
        regular(above + "AOI_3_Paris_Train/PAN/b.txt"),
        regular("readme.txt"),
    )
    made = unpack(archive, tmp_path / "out", TREE)
    assert made == [tmp_path / "out" / "AOI_2_Vegas_Train"]
    assert files_below(tmp_path / "out") == [GOOD]
    assert (tmp_path / "out" / GOOD).read_bytes() == b"content"


HOSTILE = {
    "parent": regular("AOI_2_Vegas_Train/../../evil"),
    "symlink out": special("AOI_2_Vegas_Train/x", tarfile.SYMTYPE, "/etc/passwd"),
    "symlink within": special("AOI_2_Vegas_Train/x", tarfile.SYMTYPE, "PAN/a.txt"),
    "hardlink out": special("AOI_2_Vegas_Train/x", tarfile.LNKTYPE, "../../etc/passwd"),
    "device": special("AOI_2_Vegas_Train/null", tarfile.CHRTYPE),
    "pipe": special("AOI_2_Vegas_Train/pipe", tarfile.FIFOTYPE),
    "bomb by ratio": regular("AOI_2_Vegas_Train/zeros", bytes(2**23)),
    "bomb beside the tree": regular("other/zeros", bytes(2**23)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_whole(pack, tmp_path, name):
    archive = pack(regular(GOOD), HOSTILE[name])
    before = files_below(tmp_path)
    with pytest.raises(ArchiveError, match="it is not unpacked"):
        unpack(archive, tmp_path / "out", TREE)
    assert files_below(tmp_path) == before
    assert list((tmp_path / "out").iterdir()) == []


def test_names_from_elsewhere_lead_nowhere_else(pack, tmp_path):
    archive = pack(
        regular("../evil"),
        regular("../../AOI_2_Vegas_Train/b.txt"),
        regular("/AOI_2_Vegas_Train/c.txt"),
    )
    unpack(archive, tmp_path / "a" / "out", TREE)
    assert files_below(tmp_path) == [
        "a.tar.gz",
        "a/out/AOI_2_Vegas_Train/b.txt",
        "a/out/AOI_2_Vegas_Train/c.txt",
    ]


def test_limits_on_members_and_size_hold(pack, tmp_path):
    archive = pack(*(regular(f"AOI_2_Vegas_Train/{n}", os.urandom(9)) for n in "abc"))
    with pytest.raises(ArchiveError, match="more than 2 members"):
        unpack(archive, tmp_path / "out", TREE, limits=Limits(members=2))
    many = pack(regular(GOOD, os.urandom(50_000)))
    with pytest.raises(ArchiveError, match="more than 20000 bytes"):
        unpack(many, tmp_path / "out", TREE, limits=Limits(unpacked_bytes=20_000))


def test_a_sparse_file_that_claims_gigabytes_is_refused(tmp_path):
    claimed = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    claimed |= {"GNU.sparse.name": GOOD, "GNU.sparse.realsize": str(2**40)}
    info, content = regular("x", b"0\n".ljust(512, b"\0"))
    info.pax_headers = claimed
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ArchiveError, match="sparse|unpacks to more"):
        unpack(archive, tmp_path / "out", TREE)


def test_damaged_archives_leave_nothing(pack, tmp_path):
    archive = pack(regular(GOOD, os.urandom(100_000)))
    whole = archive.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for content in (whole[:middle], flipped, b"no archive", b""):
        archive.write_bytes(content)
        with pytest.raises(ArchiveError, match="damaged|holds no folder"):
            unpack(archive, tmp_path / "out", TREE)
        assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_of_another_area_is_refused(pack, tmp_path):
    archive = pack(regular("AOI_3_Paris_Train/PAN/b.txt"))
    with pytest.raises(ArchiveError, match="holds no folder AOI_2_Vegas"):
        unpack(archive, tmp_path / "out", TREE)


def test_what_exists_is_replaced_only_on_demand(pack, tmp_path):
    old = tmp_path / "out" / "AOI_2_Vegas_Train" / "old.txt"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    archive = pack(regular(GOOD))
    with pytest.raises(OutputExistsError, match="--overwrite"):
        unpack(archive, tmp_path / "out", TREE)
    assert files_below(tmp_path / "out") == ["AOI_2_Vegas_Train/old.txt"]
    unpack(archive, tmp_path / "out", TREE, overwrite=True)
    assert files_below(tmp_path / "out") == [GOOD]


def test_a_full_disk_leaves_nothing(pack, tmp_path):
    archive = pack(regular(GOOD), regular("AOI_2_Vegas_Train/b", os.urandom(2**17)))
    code = (
        "import re, resource, signal, sys, pathlib\n"
        "from geoseg.geo.tiles.archives import unpack\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))\n"
        "try:\n"
        "    unpack(*map(pathlib.Path, sys.argv[1:3]), re.compile(sys.argv[3]))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)"
    )
    words = [sys.executable, "-c", code, archive, tmp_path / "out", TREE.pattern]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ArchiveError")
    assert "make room" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []
