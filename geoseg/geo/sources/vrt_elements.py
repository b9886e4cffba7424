"""The allowed elements of a virtual raster: those of mosaics.

GDAL compares names without regard to case and ignores unknown ones. So the tree is
copied by the table below, under the names that GDAL documents, and GDAL opens the copy.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement

from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoseg.core.errors import RasterError


class Kind(NamedTuple):
    """An allowed element: its attributes and children by lower-case name."""

    name: str
    attributes: Mapping[str, str]
    children: Mapping[str, "Kind"]


def _kind(name: str, attributes: str = "", *children: "Kind | str") -> Kind:
    """Return an allowed element; plain names declare children without content."""
    kinds = [
        kind
        for child in children
        for kind in ([child] if isinstance(child, Kind) else map(_kind, child.split()))
    ]
    return Kind(
        name,
        {word.lower(): word for word in attributes.split()},
        {kind.name.lower(): kind for kind in kinds},
    )


#: The element whose text names a file.
SOURCE = "SourceFilename"
_FILE = _kind(SOURCE, "relativeToVRT shared")
_METADATA = _kind("Metadata", "domain format", _kind("MDI", "key"))
_RECTANGLE = "xOff yOff xSize ySize"
_SIMPLE = (
    _FILE,
    "SourceBand",
    _kind("SourceProperties", "RasterXSize RasterYSize DataType BlockXSize BlockYSize"),
    _kind("SrcRect", _RECTANGLE),
    _kind("DstRect", _RECTANGLE),
    _kind("OpenOptions", "", _kind("OOI", "key")),
)
_SOURCE_ATTRIBUTES = "name resampling"
_SOURCES = (
    _kind("SimpleSource", _SOURCE_ATTRIBUTES, *_SIMPLE),
    _kind("AveragedSource", _SOURCE_ATTRIBUTES, *_SIMPLE),
    _kind(
        "ComplexSource",
        _SOURCE_ATTRIBUTES,
        *_SIMPLE,
        "NODATA UseMaskBand ScaleOffset ScaleRatio ColorTableComponent Exponent SrcMin "
        "SrcMax DstMin DstMax Clamp LUT",
    ),
    _kind(
        "NoDataFromMaskSource",
        _SOURCE_ATTRIBUTES,
        *_SIMPLE,
        "MaskValueThreshold NODATA RemappedValue",
    ),
)
_BAND = "VRTRasterBand"
_BAND_ATTRIBUTES = "dataType band subClass blockXSize blockYSize"
_BAND_PARTS = (
    "Description UnitType Offset Scale ColorInterp NoDataValue HideNoDataValue",
    _kind("CategoryNames", "", "Category"),
    _kind("ColorTable", "", _kind("Entry", "c1 c2 c3 c4")),
    _METADATA,
    _kind("Overview", "", _FILE, "SourceBand"),
    *_SOURCES,
)
_MASK = _kind("MaskBand", "", _kind(_BAND, _BAND_ATTRIBUTES, *_BAND_PARTS))
_CRS = "dataAxisToSRSAxisMapping coordinateEpoch"
#: The whole tree.
DATASET = _kind(
    "VRTDataset",
    "rasterXSize rasterYSize subClass",
    _kind("SRS", _CRS),
    "GeoTransform BlockXSize BlockYSize",
    _kind(
        "GCPList",
        f"Projection {_CRS}",
        _kind("GCP", "Id Info Pixel Line X Y Z"),
    ),
    _METADATA,
    _kind("OverviewList", "resampling"),
    _kind(_BAND, _BAND_ATTRIBUTES, *_BAND_PARTS, _MASK),
    _MASK,
)
#: Statistics and elements for display only, which are not copied.
_LEFT_OUT = {"histograms", "gdalrasterattributetable"}
#: Codes, URNs, PROJ strings, WKT and PROJJSON; GDAL takes addresses and files as well.
_CRS_TEXT = re.compile(
    r"[a-z]+:[\w+]+|urn:[\w:,.-]+|WGS84|\+.+|\{.+|[a-z_]+\s*\[.+", re.I | re.S
)
#: Metadata domains that name no files.
_DOMAINS = {"", "image_structure", "rpc"}
_PLAIN = {"", "vrtsourcedrasterband"}
#: Kinds of bands that do more than combine sources → what they do.
_REFUSED_BANDS = {
    "vrtrawrasterband": "reads the bytes of any file as pixels, which geoseg does not do",
    "vrtderivedrasterband": (
        "computes its pixels by code of its own, which geoseg does not run"
    ),
}


def copy(name: str, tree: Element, resolve: Callable[[str, bool], str]) -> Element:
    """Copy the allowed elements of a virtual raster.

    Args:
        name: Name of the file, for messages.
        tree: The parsed VRT.
        resolve: Takes the name of a source and whether it is relative to the VRT;
            returns the name to write, or raises.

    Raises:
        RasterError: If an element, an attribute or a kind of band is not allowed.
    """
    if _lower(tree.tag) != DATASET.name.lower():
        raise RasterError(f"{name} holds <{tree.tag}>, expected a <VRTDataset>")
    return _copy(name, tree, DATASET, resolve)


def _copy(
    name: str, element: Element, kind: Kind, resolve: Callable[[str, bool], str]
) -> Element:
    made = Element(kind.name)
    values = _attributes(name, element, kind)
    _check_class(name, kind, values.pop("subClass", ""))
    if kind.name == SOURCE:
        relative = values.pop("relativeToVRT", "0").strip() == "1"
        made.text = resolve((element.text or "").strip(), relative)
        values["relativeToVRT"] = "0"
    elif not kind.children:
        made.text = element.text
    if kind.name == "SRS":
        _check_crs(name, element.text or "")
    made.attrib.update(values)
    for child in element:
        lower = _lower(child.tag)
        if lower in _LEFT_OUT or (lower == "metadata" and not _is_plain(child)):
            continue
        if lower not in kind.children:
            raise _unknown(name, f"<{child.tag}> in <{kind.name}>")
        if lower != "openoptions":
            made.append(_copy(name, child, kind.children[lower], resolve))
        else:
            _check_open_options(name, child)
    if SOURCE.lower() in kind.children and kind.name != "Overview":
        # otherwise GDAL opens overviews that the metadata of a source name
        options = SubElement(made, "OpenOptions")
        SubElement(options, "OOI", {"key": "OVERVIEW_LEVEL"}).text = "NONE"
    return made


def _attributes(name: str, element: Element, kind: Kind) -> dict[str, str]:
    """Return attributes under their documented names; of duplicates, the first."""
    values: dict[str, str] = {}
    for key, value in element.attrib.items():
        if key.lower() not in kind.attributes:
            raise _unknown(name, f"{key}={value!r} in <{kind.name}>")
        values.setdefault(kind.attributes[key.lower()], value)
    return values


def _check_class(name: str, kind: Kind, value: str) -> None:
    """Raise if a band or dataset does more than combine sources."""
    lower = value.strip().lower()
    if kind.name == _BAND and lower in _REFUSED_BANDS:
        raise RasterError(
            f"{name} {_REFUSED_BANDS[lower]}: make a GeoTIFF of it where you trust it, "
            "with gdal_translate"
        )
    if lower not in (_PLAIN if kind.name == _BAND else {""}):
        raise _unknown(name, f"subClass={value!r} in <{kind.name}>")


def _check_crs(name: str, text: str) -> None:
    """Raise if the CRS is unknown; GDAL would report it only when it reads pixels."""
    text = text.strip()
    if not text:
        return
    wrong = RasterError(
        f"{name} has the CRS {text[:60]!r}, which is unknown, expected an EPSG code or "
        "WKT: set it with gdal_edit.py -a_srs"
    )
    if not _CRS_TEXT.fullmatch(text):
        raise wrong
    try:
        CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise wrong from error


def _check_open_options(name: str, element: Element) -> None:
    """Raise on any open option but ``OVERVIEW_LEVEL=NONE``, which the copy sets too."""
    for child in element:
        key = next(iter(child.attrib.values()), "").lower()
        if (key, (child.text or "").strip().lower()) != ("overview_level", "none"):
            raise _unknown(name, f"the open option {key}={child.text}")


def _is_plain(metadata: Element) -> bool:
    """Tell whether metadata belong to a domain that names no files."""
    values = {key.lower(): value.lower() for key, value in metadata.attrib.items()}
    return values.get("domain", "") in _DOMAINS and "format" not in values


def _lower(tag: object) -> str:
    return tag.lower() if isinstance(tag, str) else ""


def _unknown(name: str, what: str) -> RasterError:
    return RasterError(
        f"{name} holds {what}, expected a mosaic as gdalbuildvrt makes it: make a "
        "GeoTIFF of it where you trust it, with gdal_translate"
    )
