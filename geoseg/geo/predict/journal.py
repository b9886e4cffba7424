"""Journal of a map: a folder beside the output, from which a stopped run continues.

It holds a manifest with the identity of the map and a file for each finished block. A
run of the same identity reads the existing blocks and computes the others. When the map
is complete, the folder is removed.
"""

import logging
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from geoseg.core.aside import own_folder
from geoseg.core.errors import OutputError, OutputExistsError
from geoseg.core.outputs import remove_stale, witnessed
from geoseg.core.words import counted
from geoseg.geo.predict.blocks import Block, read_block, write_block
from geoseg.geo.predict.identity import signature_of
from geoseg.geo.predict.stitching import WindowRow
from geoseg.geo.predict.unfinished import (
    MADE,
    MANIFEST,
    Manifest,
    made_outputs,
    note_made,
    parts_folder,
    read_manifest,
    write_manifest,
)

log = logging.getLogger(__name__)

#: Names of geoseg's files in the folder of a map's parts, finished or temporary.
_OURS = re.compile(
    rf"\d+-\d+\.block(\..*\.aside)?|(mosaic|network)(-\d+)?\.vrt(\.aside)?|{re.escape(MADE)}"
    rf"|model\.safetensors|\.(model\.safetensors|{re.escape(MANIFEST)})\..*\.aside"
)


class Stretch(NamedTuple):
    """Consecutive blocks of an image that are either finished or missing.

    Attributes:
        blocks: a finished block, or all missing blocks before the next finished one.
        kept: rows of the finished block; None: the rows must be predicted.
    """

    blocks: Sequence[Block]
    kept: Sequence[WindowRow] | None

    @property
    def rows(self) -> range:
        """Return the rows of windows of the blocks."""
        return range(self.blocks[0].rows.start, self.blocks[-1].rows.stop)


@dataclass(frozen=True)
class Journal:
    """The finished blocks of a map.

    Attributes:
        folder: Folder of their files.
        signature: Hash of the map's identity.
    """

    folder: Path
    signature: str

    def has(self, block: Block) -> bool:
        """Tell whether the file of a block exists, damaged or not."""
        return self._path(block).is_file()

    def write(self, block: Block, rows: Sequence[WindowRow]) -> None:
        """Write a block.

        Raises:
            OutputError: If it cannot be written.
        """
        write_block(self._path(block), rows, self.signature)

    def read(self, block: Block) -> list[WindowRow] | None:
        """Return the rows of a block; None if its file is damaged."""
        rows = read_block(self._path(block), self.signature)
        if rows is None or [row.row for row in rows] != list(block.rows):
            log.debug("%s is damaged: computed again", self._path(block))
            return None
        return rows

    def stretches(self, blocks: Iterable[Block]) -> Iterator[Stretch]:
        """Tell finished blocks of an image from stretches of missing ones.

        Args:
            blocks: blocks of the image, from top to bottom. A block may come late, when
                a worker has finished it: none is asked for before it is needed.
        """
        for finished, group in groupby(blocks, self.has):
            if not finished:
                yield Stretch(list(group), None)
                continue
            for block in group:
                yield Stretch([block], self.read(block))

    def keeping(
        self, blocks: Sequence[Block], rows: Generator[WindowRow]
    ) -> Generator[WindowRow]:
        """Yield predicted rows, and write their blocks in a thread.

        Args:
            blocks: consecutive blocks.
            rows: all rows of the blocks, from top to bottom; closed at the end.
        """
        pending: Future[None] | None = None
        with (
            ThreadPoolExecutor(1, thread_name_prefix="journal") as thread,
            closing(rows),
        ):
            for block in blocks:
                complete: list[WindowRow] = []
                for row in rows:
                    complete.append(row)
                    if len(complete) == len(block.rows):
                        break
                    yield row
                if pending is not None:
                    # wait for the block before, which bounds memory and raises early
                    pending.result()
                pending = thread.submit(self.write, block, complete)
                yield complete[-1]
            if pending is not None:
                pending.result()

    def _path(self, block: Block) -> Path:
        return self.folder / block.name


@contextmanager
def journal(
    output: Path,
    identity: Mapping[str, Any],
    outputs: Sequence[Path],
    *,
    overwrite: bool = False,
) -> Iterator[Journal]:
    """Begin a map or continue a stopped one; the caller must hold the output's lock.

    Outputs that the stopped run had finished are removed; this run writes equal ones.

    Args:
        output: the output; the folder is beside it.
        identity: identity of the map.
        outputs: all files of the map.
        overwrite: Discard a stopped run of another identity.

    Raises:
        OutputExistsError: If there is a stopped run of another identity and
            ``overwrite`` is False.
        OutputError: If the folder cannot be written, or its manifest is damaged and
            ``overwrite`` is False.
    """
    folder = parts_folder(output)
    stopped = _stopped(output, identity, outputs, overwrite=overwrite)
    mark = {} if stopped is None else {"mark": stopped.mark}
    manifest = Manifest(identity, tuple(map(str, outputs)), **mark)
    with _writable(output, folder):
        if stopped is None:
            _remove(folder)
        own_folder(folder)
        write_manifest(output, manifest)
        made = made_outputs(output)
        for path in outputs:
            if path in made:
                path.unlink()
    if stopped is not None:
        count = sum(1 for _ in folder.glob("*.block"))
        log.info("continuing %s: %s done", output, counted(count, "block"))
    try:
        with witnessed(lambda file, _: note_made(output, file), manifest.mark):
            yield Journal(folder, signature_of(identity))
    except BaseException as error:
        _leave(folder, error)
        raise
    _remove(folder)


def _stopped(
    output: Path,
    identity: Mapping[str, Any],
    outputs: Sequence[Path],
    *,
    overwrite: bool,
) -> Manifest | None:
    """Return the manifest of a stopped run to continue, and remove its temporary files.

    Raises:
        OutputExistsError: If it has another identity and ``overwrite`` is False.
        OutputError: If its manifest is damaged and ``overwrite`` is False.
    """
    try:
        stopped = read_manifest(output)
    except OutputError:
        if not overwrite:
            raise
        return None
    if stopped is None:
        return None
    if stopped.identity == identity:
        remove_stale(outputs, stopped.mark)
        return stopped
    if not overwrite:
        raise OutputExistsError(
            f"{output} was begun with {_differences(stopped.identity, identity)}: "
            "give the earlier command to continue, or --overwrite to start anew"
        )
    remove_stale(outputs, stopped.mark)
    return None


@contextmanager
def _writable(output: Path, folder: Path) -> Iterator[None]:
    """Convert an OSError to one of the output; remove a folder without blocks."""
    try:
        yield
    except OSError as error:
        if not any(folder.glob("*.block")):
            _remove(folder)
        reason = f"{error.strerror} in {folder.name}"
        raise OutputError.unwritable(output, reason) from error


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the values in which two identities differ."""
    words = []
    for name in sorted(then.keys() | now.keys()):
        old, new = then.get(name), now.get(name)
        if old == new:
            continue
        if name == "images":
            words.append(_changed_images(old or {}, new or {}))
        elif name == "model":
            words.append("another model")
        elif name == "mosaic":
            words.append(_changed_mosaic(old, new))
        else:
            words.append(f"{name.replace('_', ' ')} {old} (now {new})")
    return ", ".join(words)


def _changed_images(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = [path for path in now if path in then and then[path] != now[path]]
    if changed:
        return f"{changed[0]} as it was before it changed"
    return "other images"


def _changed_mosaic(then: str | None, now: str | None) -> str:
    if then is None:
        return "images that were not one mosaic"
    return "images as one mosaic" if now is None else "a mosaic in another order"


def _leave(folder: Path, error: BaseException) -> None:
    """Keep the finished blocks of a map and log it; remove a folder without blocks."""
    if not any(folder.glob("*.block")):
        _remove(folder)
        return
    note = (
        f"the same command continues; {folder} keeps the finished blocks: delete it to "
        "start anew"
    )
    if isinstance(error, KeyboardInterrupt | SystemExit):
        error.add_note(note)
    else:
        log.info("%s", note)


def _remove(folder: Path) -> None:
    """Remove geoseg's files in the folder of a map's parts, and the folder if empty."""
    if folder.is_symlink() or not folder.is_dir():
        return
    # remove the manifest first, so that no run continues from half a folder
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
