"""Download of areas of interest: whole tarballs, or some tiles of some products."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import TypedDict

from geoseg.core.aside import replace_text
from geoseg.core.errors import DownloadError, OutputExistsError, ParameterError
from geoseg.core.locks import locked
from geoseg.core.outputs import folders
from geoseg.core.progress import new_bar
from geoseg.core.stored import StoredError, read_json, typed
from geoseg.core.words import counted
from geoseg.geo.tiles.archives import free_bytes, unpack
from geoseg.geo.tiles.catalogue import (
    AOIS,
    BUCKET,
    PREFIX,
    PRODUCT_ALIASES,
    Aoi,
    Tarball,
)
from geoseg.geo.tiles.transfer import (
    ENDPOINT,
    Bucket,
    RemoteObject,
    check_md5,
    fetch,
    readable,
)

log = logging.getLogger(__name__)

#: Upper estimate of the unpacked size over the tarball's (11 bits of signal in 16), for
#: checking the free space before the download.
UNPACKED_PER_TARBALL = 2.0

#: Number of parallel downloads; label files are too small to use the bandwidth alone.
_WORKERS = 8
_NUMBER = re.compile(r"img(\d+)\.\w+$", re.IGNORECASE)


@dataclass(frozen=True)
class _Job:
    """An object to download and its target file."""

    item: RemoteObject
    target: Path
    md5: str | None = None


def download_aoi(
    name: str,
    data: Path,
    *,
    tiles: int | None = None,
    products: Sequence[str] = (),
    endpoint: str | None = None,
    keep_archive: bool = False,
    overwrite: bool = False,
) -> Path:
    """Download an area of interest to the folder where ``aoi_tiles`` looks for it.

    Without ``tiles`` and ``products`` the labelled part's tarballs are fetched, checked
    against their md5 and unpacked. With either, only those files are fetched from
    SpaceNet's bucket. Complete files are kept.

    Args:
        name: A name of :data:`geoseg.geo.tiles.catalogue.AOIS`.
        data: The data folder; made if absent.
        tiles: Number of tiles; None with ``products``: all. A larger number adds to a
            smaller one, because the order of tiles is fixed (and random in space).
        products: Image products such as ``PS-MS``; none: the pan-sharpened
            multispectral one (Rio: 3band). Labels are always downloaded.
        endpoint: Endpoint of an S3-compatible server; None: ``$GEOSEG_S3_ENDPOINT``,
            else AWS.
        keep_archive: Keep the tarballs.
        overwrite: Replace existing files.

    Returns:
        The folder that holds the area.

    Raises:
        ParameterError: If the name or a product is unknown.
        OutputExistsError: If the area's folder exists and geoseg did not make it.
        DownloadError: If a file cannot be fetched, the disk is too small, or the user
            stopped it; the same call continues an interrupted download.
        ArchiveError: If a tarball cannot be unpacked.
    """
    if name not in AOIS:
        raise ParameterError(f"AOI {name!r} is unknown, expected {', '.join(AOIS)}")
    aoi = AOIS[name]
    chosen = _known_products(name, aoi, products)
    bucket = Bucket(
        BUCKET, endpoint or os.environ.get("GEOSEG_S3_ENDPOINT") or ENDPOINT
    )
    root = data / aoi.dataset
    try:
        with folders([root]), locked(root):
            if tiles is None and not products:
                return _whole(bucket, aoi, root, keep_archive, overwrite)
            return _some(bucket, aoi, root, tiles, chosen, overwrite)
    except OSError as error:
        raise DownloadError(
            f"{root} cannot be written ({error}): choose another --data"
        ) from error


def _known_products(name: str, aoi: Aoi, products: Sequence[str]) -> tuple[str, ...]:
    requested = tuple(PRODUCT_ALIASES.get(product, product) for product in products)
    for product in requested:
        if product not in aoi.products:
            raise ParameterError(
                f"product {product!r} is unknown for {name}, expected some of "
                f"{', '.join(aoi.products)}"
            )
    return requested or aoi.products[:1]


def _whole(
    bucket: Bucket, aoi: Aoi, root: Path, keep_archive: bool, overwrite: bool
) -> Path:
    """Fetch and unpack the missing tarballs."""
    folder, archives = root / "train", root / "tarballs"
    missing = [
        tarball
        for tarball in aoi.tarballs
        if overwrite or not _is_unpacked(archives, tarball)
    ]
    place = folder if aoi.number == 1 else folder / Path(aoi.unpacked).name
    if not missing:
        log.info("%s is complete already: nothing to do", place)
        return place
    if not overwrite and aoi.number != 1 and place.exists():
        raise OutputExistsError(
            f"{place} exists already and was not made by geoseg download: use it as it "
            "is, or give --overwrite to replace it"
        )
    here = [archives / t.name for t in missing if (archives / t.name).exists()]
    jobs = [
        _Job(
            bucket.head(f"{PREFIX}/{aoi.dataset}/tarballs/{tarball.name}"),
            archives / tarball.name,
            tarball.md5,
        )
        for tarball in missing
        if archives / tarball.name not in here
    ]
    packed = sum(job.item.size for job in jobs) + sum(f.stat().st_size for f in here)
    _require_space(root, jobs, also=int(UNPACKED_PER_TARBALL * packed))
    _fetch_all(bucket, jobs)
    for tarball in missing:
        _unpack(archives, tarball, folder, aoi, keep_archive, overwrite)
    return place


def _unpack(
    archives: Path,
    tarball: Tarball,
    folder: Path,
    aoi: Aoi,
    keep_archive: bool,
    overwrite: bool,
) -> None:
    archive = archives / tarball.name
    log.info("unpacking %s (%s)", archive, readable(archive.stat().st_size))
    check_md5(archive, tarball.md5)
    made = unpack(archive, folder, aoi.tree, overwrite=overwrite)
    note = {"md5": tarball.md5, "folders": [str(path) for path in made]}
    replace_text(_receipt(archives, tarball), json.dumps(note))
    if not keep_archive:
        archive.unlink()


class _Receipt(TypedDict):
    md5: str | None
    folders: list[str]


def _receipt(archives: Path, tarball: Tarball) -> Path:
    return archives / (tarball.name + ".unpacked.json")


def _is_unpacked(archives: Path, tarball: Tarball) -> bool:
    try:
        note = typed(read_json(_receipt(archives, tarball)), _Receipt)
    except StoredError:
        return False
    made = map(Path, note["folders"])
    return note["md5"] == tarball.md5 and all(folder.is_dir() for folder in made)


def _some(
    bucket: Bucket,
    aoi: Aoi,
    root: Path,
    tiles: int | None,
    products: Sequence[str],
    overwrite: bool,
) -> Path:
    """Fetch some tiles of some products and their labels."""
    place = root / aoi.exploded
    prefix = f"{PREFIX}/{aoi.dataset}/{aoi.exploded}"
    folders = {
        folder: _by_number(bucket.list(f"{prefix}/{folder}"))
        for folder in (*products, aoi.labels)
    }
    for folder, items in folders.items():
        if not items:
            raise DownloadError(
                f"{bucket.endpoint}/{bucket.name}/{prefix}/{folder} holds no file, "
                "expected one per tile: name other --products, or download the tarball "
                "(without --tiles and --products)"
            )
    common = set.intersection(*map(set, folders.values()))
    numbers = sorted(common, key=_shuffled)[:tiles]
    if tiles is not None and len(numbers) < tiles:
        log.warning(
            "%s with labels in all, fewer than %d",
            counted(len(numbers), "tile"),
            tiles,
        )
    jobs = [
        _Job(items[number], place / folder / Path(items[number].key).name)
        for number in numbers
        for folder, items in folders.items()
    ]
    left = [job for job in jobs if overwrite or not _is_there(job)]
    if not left:
        log.info(
            "nothing to do: %s in %s already",
            counted(len(numbers), "tile"),
            place,
        )
        return place
    _require_space(root, left)
    _fetch_all(bucket, left)
    return place


def _by_number(items: Sequence[RemoteObject]) -> dict[int, RemoteObject]:
    matches = ((_NUMBER.search(item.key), item) for item in items)
    return {int(match[1]): item for match, item in matches if match}


def _shuffled(number: int) -> bytes:
    """Return the sort key of a fixed random order; numbers themselves follow space."""
    return hashlib.sha256(str(number).encode()).digest()


def _is_there(job: _Job) -> bool:
    return job.target.exists() and job.target.stat().st_size == job.item.size


def _require_space(root: Path, jobs: Sequence[_Job], *, also: int = 0) -> None:
    parts = [job.target.with_name(job.target.name + ".part") for job in jobs]
    there = sum(part.stat().st_size for part in parts if part.exists())
    needed = sum(job.item.size for job in jobs) - there + also
    free = free_bytes(root)
    if needed > free:
        what = f", {readable(also)} of it to unpack" if also else ""
        raise DownloadError(
            f"{root} has {readable(free)} free, expected {readable(needed)}{what}: make "
            "room, name another disk with --data, or fetch fewer with --tiles"
        )


def _fetch_all(bucket: Bucket, jobs: Sequence[_Job]) -> None:
    """Fetch files in parallel; the first failure, or Ctrl-C, stops all."""
    if not jobs:
        return
    total = sum(job.item.size for job in jobs)
    log.info(
        "downloading %s, %s, from %s",
        counted(len(jobs), "file"),
        readable(total),
        f"{bucket.endpoint}/{bucket.name}",
    )
    stop = Event()
    pool = ThreadPoolExecutor(min(_WORKERS, len(jobs)))
    with _progress(total) as received:
        futures = [
            pool.submit(
                fetch,
                bucket,
                job.item,
                job.target,
                md5=job.md5,
                received=received,
                stop=stop,
            )
            for job in jobs
        ]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except KeyboardInterrupt as stopped:
            # do not wait for stalled connections
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stopped.add_note(
                f"{jobs[0].target.parent.parent} keeps the downloaded part; the same "
                "command continues the download"
            )
            raise
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on standard error, if that is a terminal."""
    lock = Lock()
    with new_bar("download", total, unit="B", unit_scale=True) as bar:

        def received(count: int) -> None:
            with lock:
                bar.update(count)

        yield received
