"""Archives of known content unpacked: regular files of one tree, within limits."""

import gzip
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geoseg.core.errors import ArchiveError, OutputExistsError


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most; the largest SpaceNet one has a tenth of it.

    Attributes:
        members: Files and folders.
        unpacked_bytes: Bytes of all files together.
        ratio: Bytes unpacked per byte of the archive. Deflate cannot do more than 1032;
            imagery does 1 to 4, GeoJSON 20.
    """

    members: int = 500_000
    unpacked_bytes: int = 500 * 10**9
    ratio: float = 60.0


def unpack(
    archive: Path,
    folder: Path,
    tree: re.Pattern[str],
    *,
    limits: Limits = Limits(),
    overwrite: bool = False,
) -> list[Path]:
    """Unpack the folders of a ``.tar.gz`` whose names match into a folder.

    Everything is unpacked aside and renamed when complete. Members outside the tree are
    left out; any that is no regular file or folder, or that leads out of the tree,
    condemns the archive: those that we download, whose md5 is known, have none.

    Args:
        archive: The file.
        folder: Where the folders appear; made if absent.
        tree: Matches the whole name of a folder to unpack, at any depth; what is above
            it in the archive is dropped.
        limits: What the archive may hold.
        overwrite: Replace folders that exist.

    Returns:
        The folders, sorted.

    Raises:
        ArchiveError: If the archive is damaged or hostile, holds no such folder, or
            cannot be written, for instance to a full disk; nothing remains of it.
        OutputExistsError: If a folder exists and ``overwrite`` is False.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as aside:
        draft = Path(aside) / "draft"
        draft.mkdir()
        try:
            with (
                gzip.open(archive) as stream,
                tarfile.open(fileobj=stream, mode="r:") as tar,
            ):
                members = _members(tar, archive, tree, limits)
                tar.extractall(draft, members, filter="data")
                while stream.read(2**20):  # to the end, where gzip's checksum is
                    pass
        except tarfile.FilterError as error:
            raise ArchiveError(
                f"{archive} leads out of its folder ({error}): it is not unpacked"
            ) from error
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ArchiveError(
                f"{archive} is damaged ({error}), expected a .tar.gz: remove it and "
                "download it again"
            ) from error
        except OSError as error:
            raise ArchiveError(
                f"{archive} cannot be unpacked into {folder} ({error}): make room and "
                "run the same command again"
            ) from error
        return _publish(archive, draft, folder, tree, overwrite)


def _members(
    tar: tarfile.TarFile, archive: Path, tree: re.Pattern[str], limits: Limits
) -> Iterator[tarfile.TarInfo]:
    """Yield the members of the tree, renamed to begin with it."""
    most = min(
        limits.unpacked_bytes, int(limits.ratio * archive.stat().st_size) + 2**20
    )
    unpacked = 0
    for count, member in enumerate(tar, start=1):
        unpacked += member.size
        if count > limits.members:
            raise ArchiveError(
                f"{archive} has more than {limits.members} members: it is not unpacked"
            )
        if unpacked > most:
            raise ArchiveError(
                f"{archive.name} unpacks to more than {most} bytes, the most that "
                "an archive of its size may: it is not unpacked"
            )
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise ArchiveError(
                f"{archive} has a member {member.name!r} that is a link, device or "
                "sparse file, expected regular files and folders: it is not unpacked"
            )
        parts = PurePosixPath(member.name).parts
        root = next((i for i, part in enumerate(parts) if tree.fullmatch(part)), None)
        if root is not None and not parts[-1].startswith("."):
            member.name = "/".join(parts[root:])
            yield member


def _publish(
    archive: Path, draft: Path, folder: Path, tree: re.Pattern[str], overwrite: bool
) -> list[Path]:
    """Give the unpacked folders their names."""
    made = sorted(path for path in draft.iterdir() if path.is_dir())
    if not made:
        raise ArchiveError(
            f"{archive} holds no folder {tree.pattern}, expected one: is it the tarball "
            "of another area?"
        )
    targets = [folder / path.name for path in made]
    for target in targets:
        if target.exists() and not overwrite:
            raise OutputExistsError(
                f"{target} exists already: give --overwrite to replace it"
            )
    for path, target in zip(made, targets, strict=True):
        if target.exists():
            target.rename(draft.parent / f"replaced-{target.name}")
        os.replace(path, target)
    return targets


def free_bytes(folder: Path) -> int:
    """Bytes that a user may write on the disk of a folder, which need not exist yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
