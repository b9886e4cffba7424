"""Resumable, checked download of objects of a public S3 bucket."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from geoseg.core.aside import open_in_place, replace_text
from geoseg.core.errors import DownloadError

log = logging.getLogger(__name__)

#: Endpoint of SpaceNet's bucket; an option or ``$GEOSEG_S3_ENDPOINT`` names a mirror.
ENDPOINT = "https://s3.us-east-1.amazonaws.com"

#: Most tries in a row without a byte received.
TRIES = 5

#: Bytes per range request: few round trips, and little lost by a dropped connection.
_RANGE = 64 * 2**20
#: Bytes received before each write; at most as many are lost by a dropped connection.
_CHUNK = 2**16


class DroppedError(DownloadError):
    """The connection failed or was cut; another try may succeed."""


class StoppedError(DownloadError):
    """The caller stopped the transfer."""


@dataclass(frozen=True)
class RemoteObject:
    """An object of a bucket.

    Attributes:
        key: Name in the bucket.
        size: Size in bytes.
        etag: Version of the object's content; None if the server gives none.
    """

    key: str
    size: int
    etag: str | None

    @property
    def md5(self) -> str | None:
        """Return the md5 in the ETag of an object uploaded in one part; else None."""
        plain = (self.etag or "").strip('"')
        return plain if re.fullmatch("[0-9a-f]{32}", plain) else None


class Bucket:
    """A public bucket, read without credentials.

    Args:
        name: Name of the bucket.
        endpoint: ``http(s)://host[:port]`` of an S3-compatible server.
        region: The bucket's region.
    """

    def __init__(
        self, name: str, endpoint: str = ENDPOINT, region: str = "us-east-1"
    ) -> None:
        self.name = name
        self.endpoint = endpoint.rstrip("/")
        self._store = S3Store(
            name,
            endpoint=self.endpoint,
            region=region,
            skip_signature=True,
            # the default limit of 30 s per request is too short for a large range
            client_options={
                "allow_http": True,
                "connect_timeout": "10s",
                "read_timeout": "30s",
                "timeout": "1h",
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
        )

    def head(self, key: str) -> RemoteObject:
        """Request an object's size and ETag.

        Raises:
            DownloadError: If it is absent or private, or the server cannot be reached.
        """
        try:
            meta = obstore.head(self._store, key)
        except (BaseError, OSError) as error:
            raise self._error(key, error) from error
        return RemoteObject(key, meta["size"], meta["e_tag"])

    def list(self, prefix: str) -> list[RemoteObject]:
        """List the objects whose key begins with ``prefix/``, sorted by key.

        Raises:
            DownloadError: As :meth:`head`.
        """
        try:
            entries = obstore.list(self._store, prefix).collect()
        except (BaseError, OSError) as error:
            raise self._error(prefix, error) from error
        objects = [RemoteObject(o["path"], o["size"], o["e_tag"]) for o in entries]
        return sorted(objects, key=lambda item: item.key)

    def read(self, item: RemoteObject, start: int) -> Iterator[memoryview]:
        """Yield an object's bytes from ``start`` on, by consecutive range requests.

        Raises:
            DroppedError: If the connection is cut.
            DownloadError: If the object has changed, or as :meth:`head`.
        """
        while start < item.size:
            stop = min(start + _RANGE, item.size)
            try:
                answer = obstore.get(
                    self._store,
                    item.key,
                    options={"range": (start, stop), "if_match": item.etag},
                )
                for chunk in answer.stream(min_chunk_size=_CHUNK):
                    start += len(chunk)
                    yield memoryview(chunk)
            except (BaseError, OSError) as error:
                raise self._error(item.key, error) from error

    def _error(self, key: str, error: Exception) -> DownloadError:
        """Return a one-line error for one of obstore's many-lined errors."""
        where = f"{self.endpoint}/{self.name}/{key}"
        text = str(error)
        if isinstance(error, PreconditionError):
            return DownloadError(
                f"{where} changed during the download: run the same command again, "
                "it starts that file anew"
            )
        if isinstance(error, FileNotFoundError) or "status code: 404" in text:
            return DownloadError(
                f"{where} does not exist (404), expected a mirror of bucket "
                f"{self.name}: check --endpoint"
            )
        denied = (PermissionDeniedError, UnauthenticatedError)
        if isinstance(error, denied) or re.search("status code: 40[13]", text):
            return DownloadError(
                f"{where} may not be read without credentials (403), expected a public "
                "bucket: check --endpoint"
            )
        reason = text.partition("\n")[0].rpartition(" - ")[2]
        return DroppedError(
            f"{where} cannot be reached ({reason}): check the network and --endpoint; "
            "the same command continues the download"
        )


def fetch(
    bucket: Bucket,
    item: RemoteObject,
    target: Path,
    *,
    md5: str | None = None,
    received: Callable[[int], object] = lambda count: None,
    stop: Event | None = None,
    pause_s: float = 1.0,
) -> None:
    """Download an object to a file, which appears only when complete and checked.

    ``TARGET.part`` holds the bytes received so far, beside a file with the object's
    size and ETag. A later call requests only the rest, unless the object has changed.

    Args:
        bucket: Bucket of the object.
        item: The object.
        target: The file; its folder is made.
        md5: Expected md5; None: the md5 in the ETag, if it is one.
        received: Called with the number of bytes received, or received earlier.
        stop: Set it to end the transfer early.
        pause_s: Pause before the second try in seconds; doubled for each further one.

    Raises:
        DownloadError: If the object cannot be fetched, has another md5, or the disk is
            full.
        StoppedError: If ``stop`` was set.
    """
    stop = stop or Event()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    received(_prepare(part, item))
    tries = 0
    while True:
        before = part.stat().st_size
        try:
            _append(bucket, item, part, received, stop)
            break
        except DroppedError as error:
            tries = 0 if part.stat().st_size > before else tries + 1
            if tries >= TRIES:
                raise
            log.debug("%s; try %d of %d follows", error, tries + 1, TRIES)
            stop.wait(pause_s * 2**tries)
        except OSError as error:
            raise DownloadError(
                f"{part} cannot be written ({error}): make room and run the same "
                "command again, it continues"
            ) from error
    check_md5(part, md5 or item.md5, discard=True)
    os.replace(part, target)
    _stamp(part).unlink()


def check_md5(path: Path, expected: str | None, *, discard: bool = False) -> None:
    """Raise if a file's md5 differs from the expected one.

    Args:
        path: The file.
        expected: 32 hexadecimal digits; None: unknown, so nothing is compared.
        discard: Remove a file with another md5.

    Raises:
        DownloadError: If it differs.
    """
    if expected is None:
        log.debug("%s: no md5 is known, only the size was checked", path)
        return
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "md5").hexdigest()
    if actual == expected:
        return
    if discard:
        path.unlink()
        _stamp(path).unlink(missing_ok=True)
    todo = (
        "it was removed: run the same command again; if this happens again, the server "
        "has another file: check --endpoint"
        if discard
        else "remove it and run the same command again"
    )
    raise DownloadError(f"{path} has md5 {actual}, expected {expected}; {todo}")


def _stamp(part: Path) -> Path:
    """Return the file that names the object of a ``.part`` file."""
    return part.with_name(part.name + ".json")


def _prepare(part: Path, item: RemoteObject) -> int:
    """Keep a partial download of the same object, else begin; return the bytes kept."""
    stamp, version = _stamp(part), json.dumps(asdict(item))
    try:
        for path in (part, stamp):
            if path.is_symlink():  # geoseg makes no links, so do not write through one
                path.unlink()
        known = item.etag is not None and stamp.read_text() == version
        if known and 0 < part.stat().st_size <= item.size:
            log.debug("%s: %d bytes are there", part, part.stat().st_size)
            return part.stat().st_size
        log.info("%s belongs to another version: it is downloaded anew", part)
    except FileNotFoundError:
        pass
    with open_in_place(part, "wb"):
        pass
    replace_text(stamp, version)
    return 0


def _append(
    bucket: Bucket,
    item: RemoteObject,
    part: Path,
    received: Callable[[int], object],
    stop: Event,
) -> None:
    # unbuffered, so that after a failure the file holds all bytes counted as received
    with open_in_place(part, "ab", buffering=0) as file:
        for chunk in bucket.read(item, file.tell()):
            while chunk:
                written = file.write(chunk) or 0
                received(written)
                chunk = chunk[written:]
            if stop.is_set():
                raise StoppedError(f"{part} was stopped")
        os.fsync(file.fileno())


def readable(size: float) -> str:
    """Return a size in bytes with a decimal unit (kB, MB, GB).

    Example:
        >>> readable(23_000_000_000), readable(999), readable(1_250_000)
        ('23.0 GB', '999 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
