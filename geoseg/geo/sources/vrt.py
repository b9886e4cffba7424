"""Safe reading of virtual rasters (VRTs): only mosaics of checked images.

A VRT is a small XML text that names other files and says how to combine them. A VRT
from others could make GDAL read any file byte by byte, fetch addresses or start any
driver. So GDAL opens a new text, made of the allowed elements (``vrt_elements.py``)
with checked sources.
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

#: Largest text to parse, in bytes; a mosaic of 10 000 tiles takes about 10 MB.
LARGEST = 64 * 2**20
#: Most levels of VRTs inside VRTs.
DEEPEST = 4
_SOURCES = (".tif", ".tiff", ".vrt")
#: GDAL's virtual file systems that read only a local file.
_ARCHIVE = re.compile(r"/vsi(zip|tar|gzip|7z|rar|subfile)/")


class Mosaic(NamedTuple):
    """The text that GDAL opens in place of a virtual raster.

    Attributes:
        text: XML of allowed elements and checked sources.
        files: The VRT, its sources, and their sources.
    """

    text: str
    files: tuple[str, ...]


class MosaicReader(rasterio.DatasetReader):  # type: ignore[misc]  # untyped
    """A virtual raster opened from its checked text, under the name of its file."""

    def __init__(self, name: str, mosaic: Mosaic) -> None:
        self._place = name
        self._sources = mosaic.files
        super().__init__(mosaic.text, driver="VRT")

    @property
    def name(self) -> str:
        """Return the name of the VRT file."""
        return self._place

    @property
    def files(self) -> list[str]:
        """Return the VRT file and all its sources."""
        return list(self._sources)


def open_vrt(name: str) -> MosaicReader:
    """Open a virtual raster.

    A VRT on this disk may name GeoTIFFs and VRTs anywhere on this disk; one in an
    archive, files in archives; one on a network, files on that network.

    Args:
        name: GDAL's name of the VRT.

    Raises:
        RasterError: If it is malformed or has elements or sources that are not allowed.
        rasterio.errors.RasterioError: If GDAL cannot open it.
    """
    with env_ctx_if_needed():
        return MosaicReader(name, _fetched(name) if is_remote(name) else _local(name))


def _local(name: str, depth: int = DEEPEST) -> Mosaic:
    state = os.stat(name)
    return _read(name, state.st_mtime_ns, state.st_size, depth, os.getcwd())


@lru_cache(maxsize=64)
def _read(name: str, changed: int, size: int, depth: int, folder: str) -> Mosaic:
    """Read a local VRT; its time of change and size are part of the cache's key."""
    if size > LARGEST:
        raise _too_large(name, size)
    return _rewrite(name, Path(name).read_bytes(), _LocalSources(name, depth))


def _fetched(name: str, depth: int = DEEPEST) -> Mosaic:
    """Read a VRT through GDAL, which opens no source when it opens the VRT."""
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
            f"{name} is not a VRT ({error}), expected the XML that gdalbuildvrt writes"
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
        """Return the absolute path of a source, or the text of a VRT.

        Raises:
            RasterError: If the source is not allowed.
        """
        if Path(text).suffix.lower() not in _SOURCES or "\0" in text:
            raise self._refusal(text)
        folder = os.path.dirname(self._owner) if relative else ""
        path = os.path.abspath(os.path.join(folder, text))
        # A colon after a drive's means an address or a driver, unless a file has that
        # name. GDAL gets the absolute path, which cannot begin with a driver's name.
        reaches_out = ":" in text[2:] and not os.path.isfile(path)
        if reaches_out or re.match(r"[/\\]+vsi", path):
            raise self._refusal(text)
        if path not in self._names:
            self._names[path] = self._check(path)
        return self._names[path]

    def add_mask(self, tree: ElementTree.Element) -> None:
        """Add the mask file beside the VRT, which GDAL cannot find from a text."""
        check_sidecars(self._owner)
        mask = f"{os.path.abspath(self._owner)}.msk"
        if tree.find("MaskBand") is None and os.path.exists(mask):
            tree.append(_mask_of(mask, tree))
            self.files.append(mask)

    def _check(self, path: str) -> str:
        """Check a source and the files beside it.

        Raises:
            RasterError: If it is not allowed, or absent, which GDAL would report only
                when it reads pixels.
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
            # GDAL chooses the driver by the content, not by the suffix
            raise RasterError(
                f"{self._owner} reads {path}, which is not a TIFF, expected GeoTIFF or "
                "VRT files: convert it with gdal_translate"
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
        """Return the path of a source, or the text of a VRT.

        Raises:
            RasterError: If the source is not allowed.
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
        """Add no mask: GDAL looks for none over a network."""


def _mask_of(path: str, tree: ElementTree.Element) -> ElementTree.Element:
    """Return a mask element for a mask file of the VRT's size."""
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
