"""Outputs appear complete or not at all: written aside, verified, renamed."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from geoseg.core.aside import flush
from geoseg.core.errors import OutputError, OutputExistsError, ParameterError
from geoseg.core.locks import locked

#: Extensions of rasters.
GEOTIFF = (".tif", ".tiff")

# What GDAL keeps beside a raster and SQLite beside a database that is open.
_SIDECARS = (".aux.xml", ".ovr", ".msk")
_JOURNALS = ("-wal", "-journal")

#: Takes a complete file, and the path of the output that it is about to become.
Witness = Callable[[Path, Path], None]
_witnesses: ContextVar[tuple[Witness, ...]] = ContextVar("witnesses", default=())
#: What the temporary names of a run have in common, so that it knows them again.
_mark: ContextVar[str] = ContextVar("mark", default="")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse an output that exists, unless it may be replaced.

    Raises:
        OutputExistsError: If it exists and ``overwrite`` is False.
    """
    if os.path.lexists(path) and not overwrite:
        raise OutputExistsError(
            f"{path} exists already: give --overwrite or another name"
        )


def with_sidecars(path: Path) -> tuple[Path, ...]:
    """Return an output, and what GDAL would take for a part of it if it lay beside it."""
    return (path, *(_beside(path, suffix) for suffix in _SIDECARS))


def check_raster_format(path: Path) -> None:
    """Refuse a raster whose extension is not a GeoTIFF's; a folder has none.

    Raises:
        ParameterError: If it has another.
    """
    if path.suffix.lower() not in ("", *GEOTIFF):
        raise ParameterError(
            f"{path.name} ends in {path.suffix!r}, expected one of "
            f"{', '.join(GEOTIFF)}; rename the output"
        )


def check_one_file(path: Path, images: int) -> None:
    """Refuse a file for the rasters of several images: they go into a folder.

    Raises:
        ParameterError: If it is one.
    """
    if images > 1 and path.suffix:
        raise ParameterError(
            f"{path} is one file for {images} images: name a folder for the rasters"
        )


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that exists or whose folder does not, before any work is done.

    So are files beside it that would be taken for a part of it.

    Raises:
        OutputExistsError: If a file exists and ``overwrite`` is False.
        OutputError: If its folder is absent, or the path is a folder.
    """
    if not path.name:
        raise OutputError("the name of the output is empty: give one with -o")
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected a file name; add one")
    if not path.parent.is_dir():
        raise OutputError(
            f"folder {path.parent} does not exist, expected one for {path.name}; create "
            "it"
        )
    for output in with_sidecars(path):
        refuse_existing(output, overwrite)
    for suffix in _JOURNALS:
        journal = _beside(path, suffix)
        if journal.exists():
            # SQLite would play it into the new file and so destroy it.
            raise OutputError(
                f"{journal.name} lies beside {path}, expected a closed file; close it "
                "in the program that has it open (QGIS?), or remove the journal"
            )


@contextmanager
def write_aside(
    path: Path,
    *,
    verify: Callable[[Path], None],
    overwrite: bool = False,
    sidecar: str | None = None,
) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it becomes ``path``.

    Whatever happens in between (a full disk, Ctrl-C), the old file stays untouched and
    the temporary one goes away. What GDAL or QGIS kept beside an old file (statistics,
    overviews) goes with it: it would be taken for the new one's.

    Args:
        path: the output.
        verify: opens the closed temporary file and raises if it is not right.
        overwrite: replace an existing output.
        sidecar: what is appended to the name of a file that belongs to the output; it
            is written beside the temporary path and appears with the output.

    Yields:
        The path to write to. It must be closed when the block ends.

    Raises:
        OutputExistsError: If the output exists and ``overwrite`` is False.
        OutputError: If the file cannot be written or does not verify.
    """
    outputs = [path] if sidecar is None else [path, _beside(path, sidecar)]
    for output in outputs:
        check_output(output, overwrite=overwrite)
    token = _mark.get() + secrets.token_hex(4)
    temporary = path.with_name(f".{path.stem}.{token}{path.suffix}")
    try:
        try:
            yield temporary
            verify(temporary)
            complete = [temporary]
            if sidecar is not None:
                complete.append(_beside(temporary, sidecar))
            for file in complete:
                flush(file)
            for output in outputs:
                check_output(output, overwrite=overwrite)
            for witness in _witnesses.get():
                for file, output in zip(complete, outputs, strict=True):
                    witness(file, output)
            for suffix in _SIDECARS if overwrite else ():
                # Before the rename: at no time does an old one describe the new file.
                _beside(path, suffix).unlink(missing_ok=True)
            for file, output in zip(complete, outputs, strict=True):
                os.replace(file, output)
        except OSError as error:
            raise OutputError.unwritable(path, error) from error
    finally:
        # Drivers leave journals and sidecars next to the file they write.
        for left in path.parent.glob(f".{_escape(path.stem)}.{token}*"):
            left.unlink(missing_ok=True)


@contextmanager
def witnessed(witness: Witness, mark: str = "") -> Iterator[None]:
    """Let all outputs be seen as they are complete, before they take their places.

    Args:
        witness: is shown each of them.
        mark: hexadecimal digits in the names of what is written aside meanwhile.
    """
    watching = _witnesses.set((*_witnesses.get(), witness))
    marking = _mark.set(mark or _mark.get())
    try:
        yield
    finally:
        _mark.reset(marking)
        _witnesses.reset(watching)


@contextmanager
def all_or_none(paths: Sequence[Path], own: Sequence[Path] = ()) -> Iterator[None]:
    """Make the folders of outputs, and keep other runs off them.

    When the block fails, the outputs go away that it has put where nothing was, and so do
    the folders that were made for them. What was replaced stays replaced; what somebody
    else has put there meanwhile stays too.

    Args:
        paths: all outputs.
        own: what no other run may write meanwhile: some of the outputs, or folders that
            hold them; the first output always is.

    Raises:
        OutputError: If a folder cannot be made, or another run writes what is ours.
    """
    new: list[tuple[Path, os.stat_result]] = []

    def note(file: Path, output: Path) -> None:
        if not os.path.lexists(output):
            new.append((output, file.stat()))

    with folders([path.parent for path in paths]), ExitStack() as locks:
        for path in dict.fromkeys((paths[0], *own)):
            locks.enter_context(locked(path))
        try:
            with witnessed(note):
                yield
        except BaseException:
            for path, made in new:
                if os.path.lexists(path) and os.path.samestat(path.lstat(), made):
                    path.unlink()
            raise


def remove_stale(paths: Sequence[Path], mark: str) -> None:
    """Remove what a killed run wrote aside on the way to its outputs.

    Args:
        paths: the outputs, which nobody writes but us.
        mark: of the names that the run gave.
    """
    # FlatGeobuf's features wait in a file of _temp until they are sorted
    aside = re.compile(rf"\.(.+)\.{re.escape(mark)}[0-9a-f]{{8}}(?:_temp)?(\..*)")
    suffixes: dict[tuple[Path, str], list[str]] = {}
    for path in paths:
        suffixes.setdefault((path.parent, path.stem), []).append(path.suffix)
    for folder in {path.parent for path in paths}:
        for left in folder.iterdir():
            if not (found := aside.fullmatch(left.name)):
                continue
            # drivers leave journals and sidecars, whose names go on
            if found[2].startswith(tuple(suffixes.get((folder, found[1]), ()))):
                left.unlink(missing_ok=True)


@contextmanager
def folders(wanted: Sequence[Path]) -> Iterator[None]:
    """Make folders; those that were not there and are empty at the end go away.

    Raises:
        OutputError: If one cannot be made.
    """
    made: list[Path] = []
    try:
        for folder in wanted:
            made += make_folder(folder)
        yield
    finally:
        for folder in reversed(made):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; return the ones that were not there.

    Raises:
        OutputError: If it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be made ({error.strerror}): choose another one"
        ) from error
    return missing[::-1]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
