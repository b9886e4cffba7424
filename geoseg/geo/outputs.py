"""Outputs appear complete or not at all: written aside, verified, renamed."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from geoseg.errors import OutputError, OutputExistsError, ParameterError
from geoseg.geo.locks import locked

#: Extensions of rasters.
GEOTIFF = (".tif", ".tiff")

# What GDAL keeps beside a raster and SQLite beside a database that is open.
_SIDECARS = (".aux.xml", ".ovr", ".msk")
_JOURNALS = ("-wal", "-journal")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse an output that exists, unless it may be replaced.

    Raises:
        OutputExistsError: If it exists and ``overwrite`` is False.
    """
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists already: give --overwrite or another name"
        )


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

    Raises:
        OutputExistsError: If the file exists and ``overwrite`` is False.
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
    refuse_existing(path, overwrite)
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
    token = secrets.token_hex(4)
    temporary = path.with_name(f".{path.stem}.{token}{path.suffix}")
    try:
        try:
            yield temporary
            verify(temporary)
            _flush(temporary)
            if sidecar is not None:
                _flush(_beside(temporary, sidecar))
            for output in outputs:
                check_output(output, overwrite=overwrite)
            for suffix in _SIDECARS:
                # Before the rename: at no time does an old one describe the new file.
                _beside(path, suffix).unlink(missing_ok=True)
            os.replace(temporary, path)
            if sidecar is not None:
                os.replace(_beside(temporary, sidecar), _beside(path, sidecar))
        except OSError as error:
            raise OutputError.unwritable(path, error) from error
    finally:
        # Drivers leave journals and sidecars next to the file they write.
        for left in path.parent.glob(f".{_escape(path.stem)}.{token}*"):
            left.unlink(missing_ok=True)


@contextmanager
def all_or_none(paths: Sequence[Path], own: Sequence[Path] = ()) -> Iterator[None]:
    """Make the folders of outputs, and keep other runs off them.

    When the block fails, the outputs that were not there before go away, and so do the
    folders that were made for them. What was replaced stays replaced.

    Args:
        paths: all outputs.
        own: what no other run may write meanwhile: some of the outputs, or folders that
            hold them; the first output always is.

    Raises:
        OutputError: If a folder cannot be made, or another run writes what is ours.
    """
    new = [path for path in paths if not path.exists()]
    with folders([path.parent for path in paths]), ExitStack() as locks:
        for path in dict.fromkeys((paths[0], *own)):
            locks.enter_context(locked(path))
        _remove_stale(paths)
        try:
            yield
        except BaseException:
            for path in new:
                path.unlink(missing_ok=True)
            raise


def _remove_stale(paths: Sequence[Path]) -> None:
    """Remove what a killed run wrote aside; nobody writes the paths but us."""
    # FlatGeobuf's features wait in a file of _temp until they are sorted
    aside = re.compile(r"\.(.+)\.[0-9a-f]{8}(?:_temp)?(\..*)")
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


def _flush(path: Path) -> None:
    """Make the file survive a power cut before it takes the place of another."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
