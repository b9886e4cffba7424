"""Journal of a map: a folder beside the output, from which a stopped run continues.

It holds a manifest with the identity of the map and a file for each finished block. A
run of the same identity reads the existing blocks and computes the others. When the map
is complete, the folder is removed.
"""

import logging
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
#: Predicts rows of windows of an image.
Predict = Callable[[range], Generator[WindowRow]]


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

    def rows(
        self,
        blocks: Sequence[Block],
        predict: Predict,
        ready: Callable[[Block], None],
    ) -> Generator[WindowRow]:
        """Yield all rows of an image: read finished blocks, predict and write others.

        Args:
            blocks: blocks of the image, from top to bottom.
            predict: predicts a range of consecutive missing rows.
            ready: waits for a block that a worker may be computing.
        """
        at = 0
        while at < len(blocks):
            ready(blocks[at])
            if self.has(blocks[at]):
                kept = self.read(blocks[at])
                yield from kept or self._predict(blocks[at : at + 1], predict)
                at += 1
                continue
            missing = at
            while missing < len(blocks) and not self.has(blocks[missing]):
                missing += 1
            yield from self._predict(blocks[at:missing], predict)
            at = missing

    def _predict(
        self, blocks: Sequence[Block], predict: Predict
    ) -> Iterator[WindowRow]:
        """Predict and yield rows, and write their blocks in a thread."""
        coming = predict(range(blocks[0].rows.start, blocks[-1].rows.stop))
        pending: Future[None] | None = None
        with (
            ThreadPoolExecutor(1, thread_name_prefix="journal") as thread,
            closing(coming),
        ):
            for block in blocks:
                rows: list[WindowRow] = []
                for row in coming:
                    rows.append(row)
                    if len(rows) == len(block.rows):
                        break
                    yield row
                if pending is not None:
                    # wait for the block before, which bounds memory and raises early
                    pending.result()
                pending = thread.submit(self.write, block, rows)
                yield rows[-1]
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
