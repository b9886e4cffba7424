"""Output rasters are cloud-optimised GeoTIFFs, by an outside validator and in detail."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pixel_models import random_image, write_image
from rio_cogeo.cogeo import cog_validate

from geoseg.geo.formats.class_rasters import (
    RasterTags,
    class_raster,
    probability_raster,
)
from geoseg.geo.formats.cogs import is_cog
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.legend import class_legend
from geoseg.geo.rasters.strips import Strip, classify

NAMES = ("background", "building", "road")
HEIGHT, WIDTH = 1300, 1100


def probabilities() -> Strip:
    """Blocks of 8 × 8 pixels; the left 256 columns have no data."""
    rng = np.random.default_rng(3)
    coarse = rng.random((3, HEIGHT // 8 + 1, WIDTH // 8 + 1), dtype=np.float32)
    fine = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :HEIGHT, :WIDTH]
    fine /= fine.sum(0)
    valid = np.ones((HEIGHT, WIDTH), dtype=bool)
    valid[:, :256] = False
    return Strip(0, fine * valid, valid, valid.astype(np.uint8))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A class and a probability raster, and nothing else in their folder."""
    folder = tmp_path_factory.mktemp("cogs")
    image = write_image(folder / "image.tif", random_image(HEIGHT, WIDTH)[:1])
    grid = raster.describe(image)
    Path(image).unlink()
    tags = RasterTags(method="iic", model_sha256="ab")
    classes, probability = folder / "classes.tif", folder / "probability.tif"
    whole = probabilities()
    with (
        class_raster(classes, grid, legend=class_legend(NAMES), tags=tags) as first,
        probability_raster(probability, grid, class_names=NAMES, tags=tags) as second,
    ):
        for row in range(0, HEIGHT, 100):
            rows = np.s_[row : row + 100]
            strip = Strip(
                row, whole.probability[:, rows], whole.valid[rows], whole.guide[rows]
            )
            first(classify(strip))
            second(strip)
    return classes, probability


@pytest.mark.parametrize("which", [0, 1])
def test_an_outside_validator_finds_no_fault(written, which: int) -> None:
    valid, errors, warnings = cog_validate(written[which], strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    assert is_cog(written[which])


def test_nothing_else_is_left(written) -> None:
    names = sorted(item.name for item in written[0].parent.iterdir())
    rasters = ["classes.tif", "probability.tif"]
    assert names == sorted(rasters + [f"{name}.aux.xml" for name in rasters])


@pytest.mark.parametrize("which", [0, 1])
def test_tiles_and_overviews_go_down_to_one_tile(written, which: int) -> None:
    with rasterio.open(written[which]) as dataset:
        assert set(dataset.block_shapes) == {(512, 512)}
        assert dataset.compression.name == "deflate"
        assert [dataset.overviews(band) for band in dataset.indexes] == [
            [2, 4]
        ] * dataset.count


def test_an_overview_of_classes_holds_the_most_frequent(written) -> None:
    with rasterio.open(written[0]) as dataset:
        full = dataset.read(1)
    with rasterio.open(written[0], overview_level=1) as dataset:
        small = dataset.read(1)
    # Blocks of 8 × 8 pixels: 4 × 4 of them are alike, whatever is made of them.
    assert small.shape == (HEIGHT // 4, WIDTH // 4)
    np.testing.assert_array_equal(small, full[::4, ::4])
    assert set(np.unique(small)) == {0, 1, 2, 255}


def test_an_overview_of_probability_is_the_mean_of_what_has_data(
    tmp_path: Path,
) -> None:
    image = write_image(tmp_path / "image.tif", random_image(600, 600)[:1])
    building = np.tile(np.array([0.1, 0.3], dtype=np.float32), (600, 300))
    valid = np.ones((600, 600), dtype=bool)
    valid[:, :3] = False
    path = tmp_path / "p.tif"
    with probability_raster(
        path, raster.describe(image), class_names=NAMES[:2]
    ) as write:
        write(
            Strip(
                0,
                np.stack((1 - building, building)) * valid,
                valid,
                valid.astype(np.uint8),
            )
        )
    with rasterio.open(path, overview_level=0) as dataset:
        first = dataset.read(1)[0]
    # Columns 0 and 1 have no data; of 2 and 3 the second alone; then 10 and 30 %.
    assert first[:4].tolist() == [255, 30, 20, 20]


def test_what_describes_the_bands_survives_the_copy(written) -> None:
    with rasterio.open(written[0]) as dataset:
        assert dataset.nodata == 255
        assert dataset.descriptions == ("class",)
        colours = {it.value: (*it.colour, 255) for it in class_legend(NAMES)}
        palette = dataset.colormap(1)
        assert {value: palette[value] for value in colours} == colours
        tags = dataset.tags()
        assert tags["GEOSEG_METHOD"] == "iic"
        assert tags["GEOSEG_MODEL_SHA256"] == "ab"
        assert [tags[f"CLASS_{value}"] for value in range(3)] == list(NAMES)
    with rasterio.open(written[1]) as dataset:
        assert dataset.nodata == 255
        assert dataset.descriptions == ("building probability", "road probability")
        assert dataset.scales == (0.01, 0.01)
        assert dataset.units == ("1", "1")
        assert dataset.tags()["GEOSEG_METHOD"] == "iic"


def test_the_pixels_are_those_of_the_strips(written) -> None:
    whole = probabilities()
    with rasterio.open(written[0]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), classify(whole).classes)
    with rasterio.open(written[1]) as dataset:
        percent = np.rint(whole.probability[1:] * np.float32(100))
        expected = np.where(whole.valid, percent, 255)
        np.testing.assert_array_equal(dataset.read(), expected)


FULL_DISK = """
import logging, resource, sys
from pathlib import Path
import numpy as np
from geoseg.core.errors import OutputError
from geoseg.geo.formats.class_rasters import probability_raster
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import Strip

logging.lastResort = None  # what GDAL says reaches loggers, as on the command line
# Room for the rows, which are written first, but not for the copy with overviews.
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
building = np.random.default_rng(1).random((1200, 1400), dtype=np.float32)
both = np.stack((1 - building, building))
try:
    with probability_raster(
        Path(sys.argv[2]), describe(sys.argv[1]), class_names=("a", "b")
    ) as write:
        valid = np.ones((1200, 1400), dtype=bool)
        write(Strip(0, both, valid, valid.astype(np.uint8)))
except OutputError as error:
    print("refused", error)
"""


def test_a_disk_that_is_full_when_rows_are_copied_is_one_line(tmp_path: Path) -> None:
    image = write_image(
        tmp_path / "image.tif", np.ones((1, 1200, 1400), np.uint8), compress="deflate"
    )
    output = tmp_path / "p.tif"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL_DISK, image, output, "1700000"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("refused")
    assert "free space" in done.stdout
    assert done.stdout.count("\n") == 1
    # libtiff has no other way to tell of the limit
    assert set(done.stderr.splitlines()) <= {"_tiffWriteProc: File too large."}
    assert [item.name for item in tmp_path.iterdir()] == ["image.tif"]
