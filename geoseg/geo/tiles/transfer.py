"""Objects of an S3 bucket fetched to disk: anonymous, resumable, checked."""

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

#: Where SpaceNet's bucket lives; an option or ``$GEOSEG_S3_ENDPOINT`` names a mirror.
ENDPOINT = "https://s3.us-east-1.amazonaws.com"

#: Tries in a row that bring no byte before a transfer is given up.
TRIES = 5

#: Bytes per range request: a dropped connection costs little, a round trip less.
_RANGE = 64 * 2**20
#: Bytes that come before any are written: as many are lost when the line breaks.
_CHUNK = 2**16


class DroppedError(DownloadError):
    """The connection failed or was cut; another try may succeed."""


class StoppedError(DownloadError):
    """A transfer was told to stop."""


@dataclass(frozen=True)
class RemoteObject:
    """An object of a bucket.

    Attributes:
        key: Its name in the bucket.
        size: Bytes.
        etag: Changes when the object does; None if the server gives none.
    """

    key: str
    size: int
    etag: str | None

    @property
    def md5(self) -> str | None:
        """The md5 that the ETag of an object uploaded in one piece is; else None."""
        plain = (self.etag or "").strip('"')
        return plain if re.fullmatch("[0-9a-f]{32}", plain) else None


class Bucket:
    """A public bucket, read without credentials.

    Args:
        name: The bucket.
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
            # the limit of 30 s on a whole request would cut every large range
            client_options={
                "allow_http": True,
                "connect_timeout": "10s",
                "read_timeout": "30s",
                "timeout": "1h",
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
        )

    def head(self, key: str) -> RemoteObject:
        """Ask for an object's size and ETag.

        Raises:
            DownloadError: If it is absent or private, or the server is out of reach.
        """
        try:
            meta = obstore.head(self._store, key)
        except (BaseError, OSError) as error:
            raise self._error(key, error) from error
        return RemoteObject(key, meta["size"], meta["e_tag"])

    def list(self, prefix: str) -> list[RemoteObject]:
        """Objects whose key begins with ``prefix/``, sorted by key.

        Raises:
            DownloadError: As :meth:`head`.
        """
        try:
            found = obstore.list(self._store, prefix).collect()
        except (BaseError, OSError) as error:
            raise self._error(prefix, error) from error
        objects = [RemoteObject(o["path"], o["size"], o["e_tag"]) for o in found]
        return sorted(objects, key=lambda item: item.key)

    def read(self, item: RemoteObject, start: int) -> Iterator[memoryview]:
        """Yield an object's bytes from ``start`` on, a range request at a time.

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
        """Put one of obstore's many-lined errors into one line."""
        where = f"{self.endpoint}/{self.name}/{key}"
        text = str(error)
        if isinstance(error, PreconditionError):
            return DownloadError(
                f"{where} changed while it was downloaded: run the same command again, "
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
            "the same command goes on where this one ended"
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
    """Fetch an object to a file, which appears only when complete and checked.

    What has come so far lies in ``TARGET.part``, beside the size and ETag of the object
    it belongs to; a later call asks for the rest alone, unless the object has changed.

    Args:
        bucket: Where the object is.
        item: The object.
        target: The file; its folder is made.
        md5: What the file must hash to; None: the md5 in the ETag, if it is one.
        received: Called with the number of bytes that came, or lay there already.
        stop: Set it to end the transfer early.
        pause_s: Wait before the second try; doubled for each further one.

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
                "command again, it goes on from there"
            ) from error
    check_md5(part, md5 or item.md5, discard=True)
    os.replace(part, target)
    _stamp(part).unlink()


def check_md5(path: Path, expected: str | None, *, discard: bool = False) -> None:
    """Compare a file with its md5; None: nothing is known, nothing is compared.

    Args:
        path: The file.
        expected: 32 hexadecimal digits.
        discard: Remove a file that is not right.

    Raises:
        DownloadError: If it differs.
    """
    if expected is None:
        log.debug("%s: no md5 is known, its size alone was checked", path)
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found == expected:
        return
    if discard:
        path.unlink()
        _stamp(path).unlink(missing_ok=True)
    todo = (
        "it was removed: run the same command again; if that ends alike, the server "
        "holds another file: check --endpoint"
        if discard
        else "remove it and run the same command again"
    )
    raise DownloadError(f"{path} has md5 {found}, expected {expected}; {todo}")


def _stamp(part: Path) -> Path:
    """Says which object a ``.part`` file is a part of."""
    return part.with_name(part.name + ".json")


def _prepare(part: Path, item: RemoteObject) -> int:
    """Keep what is there of the same object, else begin; return the bytes kept."""
    stamp, wanted = _stamp(part), json.dumps(asdict(item))
    try:
        for path in (part, stamp):
            if path.is_symlink():  # of somebody else: what it points to is not ours
                path.unlink()
        known = item.etag is not None and stamp.read_text() == wanted
        if known and 0 < part.stat().st_size <= item.size:
            log.debug("%s: %d bytes are there", part, part.stat().st_size)
            return part.stat().st_size
        log.info("%s belongs to another version: it is downloaded anew", part)
    except FileNotFoundError:
        pass
    with open_in_place(part, "wb"):
        pass
    replace_text(stamp, wanted)
    return 0


def _append(
    bucket: Bucket,
    item: RemoteObject,
    part: Path,
    received: Callable[[int], object],
    stop: Event,
) -> None:
    # unbuffered: what was counted as received is in the file when something fails
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
    """Bytes for people, in powers of a thousand as disks and servers count.

    Example:
        >>> readable(23_000_000_000), readable(999), readable(1_250_000)
        ('23.0 GB', '999 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
