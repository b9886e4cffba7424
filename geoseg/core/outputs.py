"""Write outputs completely or not at all: as temporary files, verified, renamed."""

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

# Files that GDAL keeps beside a raster and SQLite beside an open database.
_SIDECARS = (".aux.xml", ".ovr", ".msk")
_JOURNALS = ("-wal", "-journal")

#: Called with a complete temporary file and the output path that it will get.
Witness = Callable[[Path, Path], None]
_witnesses: ContextVar[tuple[Witness, ...]] = ContextVar("witnesses", default=())
#: Shared part of the names of a run's temporary files, by which it finds them again.
_mark: ContextVar[str] = ContextVar("mark", default="")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise if an output exists and may not be replaced.

    Raises:
        OutputExistsError: If it exists and ``overwrite`` is False.
    """
    if os.path.lexists(path) and not overwrite:
        raise OutputExistsError(
            f"{path} exists already: give --overwrite or another name"
        )


def with_sidecars(path: Path) -> tuple[Path, ...]:
    """Return an output path and those of the files that GDAL reads with it."""
    return (path, *(_beside(path, suffix) for suffix in _SIDECARS))


def check_raster_format(path: Path) -> None:
    """Raise if a raster's extension is not that of a GeoTIFF; a folder has none.

    Raises:
        ParameterError: If it has another extension.
    """
    if path.suffix.lower() not in ("", *GEOTIFF):
        raise ParameterError(
            f"{path.name} ends in {path.suffix!r}, expected one of "
            f"{', '.join(GEOTIFF)}; rename the output"
        )


def check_one_file(path: Path, images: int) -> None:
    """Raise if the rasters of several images would go into one file.

    Raises:
        ParameterError: If there are several images and the path is a file.
    """
    if images > 1 and path.suffix:
        raise ParameterError(
            f"{path} is one file for {images} images: name a folder for the rasters"
        )


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise if an output exists or its folder does not, before any work is done.

    Sidecar files that GDAL would read with the output are checked too.

    Raises:
        OutputExistsError: If a file exists and ``overwrite`` is False.
        OutputError: If the folder is absent, the path is a folder, or an open
            database's journal lies beside it.
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
            # SQLite would apply it to the new file and so destroy that.
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
    """Yield a temporary path in the same folder; on success rename it to ``path``.

    If the block fails (a full disk, Ctrl-C), the old file stays unchanged and the
    temporary one is removed. Sidecars of a replaced file (statistics, overviews) are
    removed, because they would be read with the new one.

    Args:
        path: The output.
        verify: Opens the closed temporary file and raises if it is wrong.
        overwrite: Replace an existing output.
        sidecar: Suffix of a second file that belongs to the output; the block writes it
            beside the temporary path, and it is renamed with the output.

    Yields:
        The path to write to. The file must be closed when the block ends.

    Raises:
        OutputExistsError: If the output exists and ``overwrite`` is False.
        OutputError: If the file cannot be written or fails its check.
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
                # Before the rename, so that an old one never describes the new file.
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
    """Call a witness with every complete output before it is renamed.

    Args:
        witness: Called with each temporary file and its output path.
        mark: Hexadecimal digits for the names of the temporary files in the block.
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
    """Create the folders of outputs and lock the outputs against other runs.

    If the block fails, outputs that it newly created and folders that were created for
    them are removed. Replaced outputs stay replaced; files of others stay too.

    Args:
        paths: All outputs.
        own: Paths that no other run may write meanwhile, beside the first output: other
            outputs, or folders that hold them.

    Raises:
        OutputError: If a folder cannot be created, or another run holds a lock.
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
    """Remove the temporary files that a killed run left.

    Args:
        paths: The outputs, which this run alone writes.
        mark: Part of the names of the killed run's temporary files.
    """
    # FlatGeobuf keeps features in a file ending in _temp until they are sorted
    aside = re.compile(rf"\.(.+)\.{re.escape(mark)}[0-9a-f]{{8}}(?:_temp)?(\..*)")
    suffixes: dict[tuple[Path, str], list[str]] = {}
    for path in paths:
        suffixes.setdefault((path.parent, path.stem), []).append(path.suffix)
    for folder in {path.parent for path in paths}:
        for left in folder.iterdir():
            if not (parts := aside.fullmatch(left.name)):
                continue
            # drivers leave journals and sidecars, whose names are longer
            if parts[2].startswith(tuple(suffixes.get((folder, parts[1]), ()))):
                left.unlink(missing_ok=True)


@contextmanager
def folders(wanted: Sequence[Path]) -> Iterator[None]:
    """Create folders, and remove those that are new and empty when the block ends.

    Raises:
        OutputError: If a folder cannot be created.
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
    """Create a folder with its parents, and return the new ones.

    Raises:
        OutputError: If the folder cannot be created.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"folder {folder} cannot be created ({error.strerror}): choose another one"
        ) from error
    return missing[::-1]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
