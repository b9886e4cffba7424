"""Which virtual rasters are read: mosaics of images, nothing that runs or reaches out.

A VRT is a small XML text that names other files and says how to combine them. One that
came with somebody's data could make GDAL read any file byte by byte, fetch addresses or
start any of its drivers. So GDAL never sees the text: it opens one that is written anew
from the parts that are allowed (``vrt_elements.py``), with sources that were checked.
"""

import os
import posixpath
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import rasterio
from rasterio.env import env_ctx_if_needed

from geoseg.core.addresses import file_name, is_remote
from geoseg.core.errors import RasterError
from geoseg.geo.sources.remote import is_own_network_vrt, on_network
from geoseg.geo.sources.sidecars import check_sidecars, is_tiff
from geoseg.geo.sources.vrt_elements import copy

#: Larger texts are not parsed, in bytes; a mosaic of 10 000 tiles takes about 10 MB.
LARGEST = 64 * 2**20
#: VRTs may name VRTs so many times over.
DEEPEST = 4
_SOURCES = (".tif", ".tiff", ".vrt")
#: File systems of GDAL that read a file of this disk, and nothing else.
_ARCHIVE = re.compile(r"/vsi(zip|tar|gzip|7z|rar|subfile)/")


class Mosaic(NamedTuple):
    """A virtual raster as GDAL gets to see it.

    Attributes:
        text: Written anew.
        files: All that it is made of: itself, its sources, theirs.
    """

    text: str
    files: tuple[str, ...]


class MosaicReader(rasterio.DatasetReader):  # type: ignore[misc]  # untyped
    """A virtual raster that goes by the name of its file, opened from a text of ours."""

    def __init__(self, name: str, mosaic: Mosaic) -> None:
        self._place = name
        self._sources = mosaic.files
        super().__init__(mosaic.text, driver="VRT")

    @property
    def name(self) -> str:
        """The file's name."""
        return self._place

    @property
    def files(self) -> list[str]:
        """The file and all its sources."""
        return list(self._sources)


def open_vrt(name: str) -> MosaicReader:
    """Open a virtual raster.

    Those on this disk may name GeoTIFFs and VRTs on this disk, wherever they lie; those
    in an archive, files in archives; those on a network, files there.

    Args:
        name: GDAL's.

    Raises:
        RasterError: If it is malformed or holds what geoseg does not read; names it.
        rasterio.errors.RasterioError: If GDAL cannot open it.
    """
    with env_ctx_if_needed():
        return MosaicReader(name, _fetched(name) if is_remote(name) else _local(name))


def _local(name: str, depth: int = DEEPEST) -> Mosaic:
    state = os.stat(name)
    return _read(name, state.st_mtime_ns, state.st_size, depth, os.getcwd())


@lru_cache(maxsize=64)
def _read(name: str, changed: int, size: int, depth: int, folder: str) -> Mosaic:
    """Read a file in the state that the time of its change and its size stand for."""
    if size > LARGEST:
        raise _too_large(name, size)
    return _rewrite(name, Path(name).read_bytes(), _LocalSources(name, depth))


def _fetched(name: str, depth: int = DEEPEST) -> Mosaic:
    """Read a VRT that GDAL fetches: opening it, GDAL reads the text alone."""
    with rasterio.open(name, driver="VRT") as dataset:
        text = dataset.tags(ns="xml:VRT")["xml:VRT"]
    return _rewrite(name, text.encode(), _FetchedSources(name, depth))


def _rewrite(
    name: str, data: bytes, sources: "_LocalSources | _FetchedSources"
) -> Mosaic:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise RasterError(
            f"{name} declares XML entities, expected what gdalbuildvrt writes"
        )
    try:
        tree = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RasterError(
            f"{name} is no VRT ({error}), expected the XML that gdalbuildvrt writes"
        ) from error
    made = copy(name, tree, sources.resolve)
    sources.add_mask(made)
    text = ElementTree.tostring(made, encoding="unicode")
    if len(text) > LARGEST:
        raise _too_large(name, len(text))
    return Mosaic(text, (name, *dict.fromkeys(sources.files)))


def _too_large(name: str, size: int) -> RasterError:
    return RasterError(
        f"{name} has {size} bytes with the VRTs that it names, expected at most "
        f"{LARGEST} of a virtual raster: make a mosaic of fewer tiles with gdalbuildvrt"
    )


def _too_deep(name: str) -> RasterError:
    return RasterError(
        f"{name} is a VRT of VRTs, more than {DEEPEST} deep: make one of the images"
    )


class _LocalSources:
    """The sources of a VRT on this disk."""

    def __init__(self, owner: str, depth: int) -> None:
        self._owner = owner
        self._depth = depth
        self._names: dict[str, str] = {}
        self.files: list[str] = []

    def resolve(self, text: str, relative: bool) -> str:
        """Return what GDAL opens: an absolute path, or the text of a VRT.

        Raises:
            RasterError: If the source is not one that may be opened.
        """
        if Path(text).suffix.lower() not in _SOURCES or "\0" in text:
            raise self._refusal(text)
        folder = os.path.dirname(self._owner) if relative else ""
        path = os.path.abspath(os.path.join(folder, text))
        # A colon beyond that of a drive: an address or the name of a driver, unless a
        # file has that name. GDAL gets the absolute path, which begins with no driver's.
        named = ":" in text[2:] and not os.path.isfile(path)
        if named or re.match(r"[/\\]+vsi", path):
            raise self._refusal(text)
        if path not in self._names:
            self._names[path] = self._check(path)
        return self._names[path]

    def add_mask(self, tree: ElementTree.Element) -> None:
        """Have GDAL take the mask beside the VRT, which it looks for beside files."""
        check_sidecars(self._owner)
        mask = f"{os.path.abspath(self._owner)}.msk"
        if tree.find("MaskBand") is None and os.path.exists(mask):
            tree.append(_mask_of(mask, tree))
            self.files.append(mask)

    def _check(self, path: str) -> str:
        """Check a source and the files beside it.

        Raises:
            RasterError: If it is absent, of which GDAL would say nothing before it reads
                there; or if it may not be opened.
        """
        self.files.append(path)
        if not os.path.exists(path):
            raise RasterError(
                f"{self._owner} reads {path}, which does not exist: put it there, or "
                "make the mosaic again with gdalbuildvrt"
            )
        if not os.path.isfile(path):
            raise self._refusal(path)  # a pipe would never end
        if path.lower().endswith(".vrt"):
            if self._depth == 0:
                raise _too_deep(self._owner)
            inner = _local(path, self._depth - 1)
            self.files.extend(inner.files)
            return inner.text
        if not is_tiff(path):
            # GDAL goes by what a file holds, not by what it calls itself
            raise RasterError(
                f"{self._owner} reads {path}, which is no TIFF, expected GeoTIFF or VRT "
                "files: convert it with gdal_translate"
            )
        check_sidecars(path)
        return path

    def _refusal(self, text: str) -> RasterError:
        return RasterError(
            f"{self._owner} reads {text!r}, expected GeoTIFF or VRT files on this disk "
            "alone: copy them here and make the mosaic again with gdalbuildvrt"
        )


class _FetchedSources:
    """The sources of a VRT in an archive or on a network."""

    def __init__(self, owner: str, depth: int) -> None:
        self._owner = owner
        self._depth = depth
        own = is_own_network_vrt(owner)
        self._network = own or on_network(owner)
        self._archives = own or not self._network
        self.files: list[str] = []

    def resolve(self, text: str, relative: bool) -> str:
        """Return what GDAL opens.

        Raises:
            RasterError: If the source is not one that may be opened.
        """
        inside = relative and not text.startswith("/") and "://" not in text
        path = posixpath.join(posixpath.dirname(self._owner), text) if inside else text
        suffix = file_name(path).suffix.lower()
        in_archive = _ARCHIVE.match(path) and not on_network(path)
        if not (
            (self._network and on_network(path))
            or (self._archives and in_archive and suffix in _SOURCES)
        ):
            where = (
                "where the VRT lies" if self._network else "in archives on this disk"
            )
            raise RasterError(
                f"{self._owner} reads {text!r}, expected GeoTIFF or VRT files {where}: "
                "make the mosaic again with gdalbuildvrt"
            )
        self.files.append(path)
        if suffix != ".vrt":
            return path
        if self._depth == 0:
            raise _too_deep(self._owner)
        return _fetched(path, self._depth - 1).text

    def add_mask(self, tree: ElementTree.Element) -> None:
        """Take no mask beside it: GDAL looks for none over a network."""


def _mask_of(path: str, tree: ElementTree.Element) -> ElementTree.Element:
    """Make a mask of a whole file that has the size of the VRT."""
    mask = ElementTree.Element("MaskBand")
    band = ElementTree.SubElement(mask, "VRTRasterBand", {"dataType": "Byte"})
    source = ElementTree.SubElement(band, "SimpleSource")
    ElementTree.SubElement(source, "SourceFilename", {"relativeToVRT": "0"}).text = path
    ElementTree.SubElement(source, "SourceBand").text = "1"
    size = {
        "xOff": "0",
        "yOff": "0",
        "xSize": tree.get("rasterXSize", ""),
        "ySize": tree.get("rasterYSize", ""),
    }
    ElementTree.SubElement(source, "SrcRect", size)
    ElementTree.SubElement(source, "DstRect", size)
    return mask
