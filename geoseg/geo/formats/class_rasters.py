"""Writing of class and probability rasters as COGs, strip by strip in a thread."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

import geoseg
from geoseg.core.errors import OutputError
from geoseg.core.outputs import write_aside
from geoseg.core.palette import NODATA
from geoseg.core.patches import IGNORE
from geoseg.geo.formats.attribute_tables import SUFFIX, auxiliary_xml
from geoseg.geo.formats.cogs import BLOCK, CACHE, Overviews, is_cog, optimise
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.legend import Legend
from geoseg.geo.rasters.raster import block_cache
from geoseg.geo.rasters.strips import ClassStrip, Strip, byte_histogram


class RasterTags(NamedTuple):
    """Provenance in the metadata of output rasters; None is not written."""

    method: str | None = None
    model_sha256: str | None = None

    def items(self) -> dict[str, str]:
        """Return the GeoTIFF tags, including the version of geoseg."""
        tags = {
            "GEOSEG_VERSION": geoseg.__version__,
            "GEOSEG_METHOD": self.method,
            "GEOSEG_MODEL_SHA256": self.model_sha256,
        }
        return {name: value for name, value in tags.items() if value is not None}


@contextmanager
def class_raster(
    path: Path,
    grid: RasterDescription,
    *,
    legend: Legend,
    tags: RasterTags = RasterTags(),
    overwrite: bool = False,
) -> Iterator[Callable[[ClassStrip], None]]:
    """Open a class raster for strips: a COG of uint8, 255 nodata, with a palette.

    A sidecar file ``.tif.aux.xml`` holds the names of the values, an attribute table
    and exact statistics, for which a GeoTIFF has no place.

    Args:
        path: the output.
        grid: size, CRS and transform of the raster.
        legend: names and colours of the values.
        tags: provenance.
        overwrite: replace an existing output.

    Yields:
        A function that takes the strips in order.

    Raises:
        OutputExistsError: If the output exists and ``overwrite`` is False.
        OutputError: If it cannot be written or does not verify.
    """

    def describe(dataset: Any) -> None:
        colours = {entry.value: entry.colour for entry in legend}
        dataset.write_colormap(1, colours | {IGNORE: NODATA})
        dataset.set_band_description(1, "class")
        names = {f"CLASS_{entry.value}": entry.name for entry in legend}
        dataset.update_tags(**tags.items(), **names)

    with _strip_writer(
        path, grid, 1, describe, overwrite, overviews="mode", legend=legend
    ) as write:
        yield lambda strip: write(strip.classes[np.newaxis])


@contextmanager
def probability_raster(
    path: Path,
    grid: RasterDescription,
    *,
    class_names: tuple[str, ...],
    tags: RasterTags = RasterTags(),
    overwrite: bool = False,
) -> Iterator[Callable[[Strip], None]]:
    """Open a probability raster for strips: a COG with one band per foreground class.

    The values are whole percent (uint8, 0 to 100, 255 nodata) with a GDAL scale of
    0.01, so that software that applies it shows 0 to 1. This is a quarter of float32's
    size and fast to compress. Arguments and errors as :func:`class_raster`.

    Yields:
        A function that takes the strips in order.
    """
    bands = len(class_names) - 1

    def describe(dataset: Any) -> None:
        for number, name in enumerate(class_names[1:], start=1):
            dataset.set_band_description(number, f"{name} probability")
        dataset.scales = (0.01,) * bands
        dataset.units = ("1",) * bands
        dataset.update_tags(**tags.items())

    with _strip_writer(
        path, grid, bands, describe, overwrite, overviews="average"
    ) as write:
        yield lambda strip: write(_percent(strip))


def _percent(strip: Strip) -> npt.NDArray[np.uint8]:
    percent = strip.probability[1:] * np.float32(100)
    np.rint(percent, out=percent)
    values: npt.NDArray[np.uint8] = np.clip(percent, 0, 100, out=percent).astype(
        np.uint8
    )
    values[:, ~strip.valid] = IGNORE
    return values


@contextmanager
def _strip_writer(
    path: Path,
    grid: RasterDescription,
    bands: int,
    describe: Callable[[Any], None],
    overwrite: bool,
    *,
    overviews: Overviews,
    legend: Legend | None = None,
) -> Iterator[Callable[[npt.NDArray[np.uint8]], None]]:
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": bands,
        "width": grid.width,
        "height": grid.height,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": IGNORE,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        # this file is temporary, so compress fast
        "compress": "deflate",
        "ZLEVEL": 1,
        "SPARSE_OK": True,
        "BIGTIFF": "IF_SAFER",
    }
    stored = _Stored(np.zeros((bands, 256), dtype=np.int64), [])
    verify = partial(_verify, grid=grid, bands=bands, sums=stored.sums)
    with write_aside(
        path, verify=verify, overwrite=overwrite, sidecar=SUFFIX
    ) as temporary:
        rows = temporary.with_name(f"{temporary.name}.rows.tif")
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as thread:
            dataset = thread.submit(rasterio.open, rows, "w", **profile).result()
            blocks = _BlockRows(dataset, thread, stored)
            try:
                thread.submit(describe, dataset).result()
                yield blocks.write
                blocks.finish()
            finally:
                thread.submit(_close, dataset).result()
        optimise(rows, temporary, overviews)
        rows.unlink()
        table = auxiliary_xml(stored.counts, nodata=IGNORE, legend=legend)
        temporary.with_name(temporary.name + SUFFIX).write_text(table, encoding="utf-8")


class _Stored(NamedTuple):
    """Value counts by band, and sums of block rows, of the pixels written so far."""

    counts: npt.NDArray[np.int64]
    sums: list[int]


def _close(dataset: Any) -> None:
    # outside rasterio's environment GDAL writes errors to standard error
    with rasterio.Env():
        dataset.close()


class _BlockRows:
    """Collects strips into whole rows of blocks, so that each block is written once."""

    def __init__(self, dataset: Any, thread: ThreadPoolExecutor, stored: _Stored):
        self._dataset = dataset
        self._thread = thread
        self._stored = stored
        self._row = 0
        self._parts: list[npt.NDArray[np.uint8]] = []
        self._pending: Future[None] | None = None

    def write(self, values: npt.NDArray[np.uint8]) -> None:
        """Add the next rows, ``(bands, h, W)``."""
        self._parts.append(values)
        while sum(part.shape[1] for part in self._parts) >= BLOCK:
            rows = np.concatenate(self._parts, axis=1)
            self._parts = [rows[:, BLOCK:]]
            self._submit(rows[:, :BLOCK])

    def finish(self) -> None:
        """Write the remaining rows and wait."""
        if self._parts and (rows := np.concatenate(self._parts, axis=1)).shape[1]:
            self._submit(rows)
        if self._pending is not None:
            self._pending.result()

    def _submit(self, rows: npt.NDArray[np.uint8]) -> None:
        if self._pending is not None:
            # wait for the row before, which bounds memory and raises errors early
            self._pending.result()
        self._pending = self._thread.submit(self._store, self._row, rows)
        self._row += rows.shape[1]

    def _store(self, row: int, rows: npt.NDArray[np.uint8]) -> None:
        window = Window(0, row, rows.shape[2], rows.shape[1])
        self._dataset.write(rows, window=window)
        for band, values in enumerate(rows):
            self._stored.counts[band] += byte_histogram(values)
        self._stored.sums.append(int(rows.sum(dtype=np.int64)))


def _verify(
    path: Path, *, grid: RasterDescription, bands: int, sums: list[int]
) -> None:
    """Raise if the raster reads back different.

    GDAL may not report a full disk, and missing blocks read as 0.
    """
    try:
        with block_cache(CACHE), rasterio.open(path) as dataset:
            shape = (dataset.width, dataset.height, dataset.count)
            read_sums = [
                int(
                    dataset.read(
                        window=Window(
                            0,
                            row,
                            grid.width,
                            min(BLOCK, grid.height - row),
                        )
                    ).sum(dtype=np.int64)
                )
                for row in range(0, grid.height, BLOCK)
            ]
    except rasterio.errors.RasterioError as error:
        raise OutputError(
            f"the raster just written does not open ({error}); check the free space"
        ) from error
    expected = (grid.width, grid.height, bands)
    if shape != expected or read_sums != sums or not is_cog(path):
        raise OutputError(
            f"the raster just written reads back different from what was written "
            f"({shape[0]} by {shape[1]} pixels); check the free space"
        )
