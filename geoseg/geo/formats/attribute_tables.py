"""GDAL's sidecar file of a raster: statistics, categories, raster attribute table.

The sidecar file ``NAME.tif.aux.xml`` is GDAL's persistent auxiliary metadata (PAM):
GDAL writes it for metadata that a GeoTIFF cannot hold, and reads it beside any raster.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from geoseg.geo.rasters.legend import Legend

#: Suffix appended to the name of the raster.
SUFFIX = ".aux.xml"

# Name, GDAL's type (0 integer, 2 string) and usage (GDALRATFieldUsage) of the columns.
_COLUMNS = (
    ("Value", 0, 5),
    ("Class", 2, 2),
    ("Count", 0, 1),
    ("Red", 0, 6),
    ("Green", 0, 7),
    ("Blue", 0, 8),
    ("Alpha", 0, 9),
)


def auxiliary_xml(
    counts: npt.NDArray[np.int64], *, nodata: int, legend: Legend | None = None
) -> str:
    """Return the text of the sidecar file of a raster of bytes.

    Args:
        counts: ``(bands, 256)`` number of pixels of each value in each band.
        nodata: The value that the statistics leave out.
        legend: Legend for the categories and the attribute table of the first band;
            None: write neither.
    """
    root = ET.Element("PAMDataset")
    for number, row in enumerate(counts, start=1):
        band = ET.SubElement(root, "PAMRasterBand", band=str(number))
        if legend is not None and number == 1:
            names = ET.SubElement(band, "CategoryNames")
            for entry in legend:
                ET.SubElement(names, "Category").text = entry.name
            band.append(_table(legend, row))
        known = row.copy()
        known[nodata] = 0
        if known.any():  # GDAL writes no statistics without valid pixels either
            band.append(_statistics(known, row.sum()))
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"


def _statistics(known: npt.NDArray[np.int64], pixels: int) -> ET.Element:
    values, total = np.arange(len(known)), known.sum()
    mean = float((values * known).sum() / total)
    deviation = float(np.sqrt(((values - mean) ** 2 * known).sum() / total))
    (present,) = known.nonzero()
    metadata = ET.Element("Metadata")
    for name, text in (
        ("MAXIMUM", str(present.max())),
        ("MEAN", repr(mean)),
        ("MINIMUM", str(present.min())),
        ("STDDEV", repr(deviation)),
        ("VALID_PERCENT", f"{100 * total / pixels:.4g}"),
    ):
        ET.SubElement(metadata, "MDI", key=f"STATISTICS_{name}").text = text
    return metadata


def _table(legend: Legend, counts: npt.NDArray[np.int64]) -> ET.Element:
    table = ET.Element("GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = str(value)
    for index, entry in enumerate(legend):
        alpha = 255 if entry.shown else 0
        cells = (entry.value, entry.name, counts[entry.value], *entry.colour, alpha)
        _add_row(table, index, cells)
    return table


def _add_row(table: ET.Element, index: int, cells: Sequence[object]) -> None:
    row = ET.SubElement(table, "Row", index=str(index))
    for cell in cells:
        ET.SubElement(row, "F").text = str(cell)
