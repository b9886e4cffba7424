"""Which virtual rasters are read: mosaics of images, nothing that runs or reaches out.

A VRT is a small XML text that names other files and says how to combine them. One that
came with somebody's data could make GDAL call Python, read any file byte by byte, fetch
URLs or start any of its hundred drivers, so what geoseg reads of them is a short list.
"""

from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import rasterio

from geoseg.errors import RasterError

#: Larger texts are not parsed, in bytes; a mosaic of 10 000 tiles takes about 10 MB.
LARGEST = 64 * 2**20
#: VRTs may name VRTs so many times over.
DEEPEST = 4
_SOURCES = (".tif", ".tiff", ".vrt")
#: How TIFF and BigTIFF begin, in either byte order.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def check_vrt(path: Path) -> None:
    """Check a virtual raster on disk, and those that it names, before GDAL opens it.

    Sources may be GeoTIFFs and VRTs on this disk, wherever they lie.

    Raises:
        RasterError: If it is malformed or holds what geoseg does not read; names it.
    """
    state = path.stat()
    _check_file(str(path), state.st_mtime_ns, state.st_size, DEEPEST)


def check_open_vrt(dataset: rasterio.DatasetReader) -> None:
    """Check a virtual raster that GDAL fetched: opening it read the text alone.

    Its sources may be remote themselves.

    Raises:
        RasterError: If it holds what geoseg does not read.
    """
    text = dataset.tags(ns="xml:VRT")["xml:VRT"]
    _check_tree(dataset.name, ElementTree.fromstring(text))


@lru_cache(maxsize=1024)
def _check_file(name: str, changed: int, size: int, depth: int) -> None:
    """Check a file in the state that the time of its change and its size stand for."""
    if size > LARGEST:
        raise RasterError(
            f"{name} has {size} bytes, expected at most {LARGEST} of a virtual raster: "
            "make a mosaic of fewer tiles with gdalbuildvrt"
        )
    data = Path(name).read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise RasterError(
            f"{name} declares XML entities, expected what gdalbuildvrt writes"
        )
    try:
        tree = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise RasterError(
            f"{name} is no VRT ({error}), expected the XML that gdalbuildvrt writes"
        ) from error
    for source in _check_tree(name, tree):
        _check_source(Path(name), source, depth)


def _check_tree(name: str, tree: ElementTree.Element) -> list[ElementTree.Element]:
    """Refuse bands that are more than images put together; return the sources."""
    if tree.tag != "VRTDataset":
        raise RasterError(f"{name} holds <{tree.tag}>, expected a <VRTDataset>")
    language = tree.find(".//PixelFunctionLanguage")
    if language is not None or tree.find(".//PixelFunctionCode") is not None:
        raise RasterError(
            f"{name} computes its pixels by code of its own, which geoseg does not run: "
            "make a GeoTIFF of it where you trust it, with gdal_translate"
        )
    for band in tree.iter("VRTRasterBand"):
        if band.get("subClass") == "VRTRawRasterBand":
            raise RasterError(
                f"{name} reads the bytes of any file as pixels, which geoseg does not "
                "do: make a GeoTIFF of it with gdal_translate"
            )
    return [*tree.iter("SourceFilename"), *tree.iter("SourceDataset")]


def _check_source(owner: Path, source: ElementTree.Element, depth: int) -> None:
    text = (source.text or "").strip()
    # a colon beyond that of a drive: a URL, or the name of a driver
    if (
        Path(text).suffix.lower() not in _SOURCES
        or ":" in text[2:]
        or text.startswith("/vsi")
    ):
        raise RasterError(
            f"{owner} reads {text!r}, expected GeoTIFF or VRT files on this disk alone: "
            "copy them here and make the mosaic again with gdalbuildvrt"
        )
    relative = source.get("relativeToVRT", source.get("relativetoVRT")) == "1"
    path = owner.parent / text if relative else Path(text)
    if not path.is_file():  # GDAL says so when it reads
        return
    if path.suffix.lower() != ".vrt":
        _check_tiff(owner, path)
    elif depth == 0:
        raise RasterError(
            f"{owner} is a VRT of VRTs, more than {DEEPEST} deep: make one of the images"
        )
    else:
        state = path.stat()
        _check_file(str(path), state.st_mtime_ns, state.st_size, depth - 1)


def _check_tiff(owner: Path, path: Path) -> None:
    """Refuse a file that only calls itself a TIFF: GDAL goes by what it holds."""
    with path.open("rb") as file:
        start = file.read(4)
    if start not in _TIFF:
        raise RasterError(
            f"{owner} reads {path}, which is no TIFF, expected GeoTIFF or VRT files: "
            "convert it with gdal_translate"
        )
