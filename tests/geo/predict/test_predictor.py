"""Stitching: every pixel once, the same as without windows, and nothing half-written."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pixel_models import (
    ROUNDED,
    CornerModel,
    NetModel,
    PixelModel,
    random_image,
    whole,
    write_image,
)
from torch import Tensor

from geoseg.core.errors import (
    BandMismatchError,
    OutputExistsError,
    ParameterError,
    RasterError,
)
from geoseg.geo.footprints.vectorize import footprints
from geoseg.geo.formats.class_rasters import RasterTags
from geoseg.geo.formats.writer import write_footprints
from geoseg.geo.maps.rasters import predict_raster
from geoseg.geo.predict import predictor
from geoseg.geo.predict.predictor import predict_rows, predict_strips
from geoseg.geo.predict.stitching import lay_windows
from geoseg.geo.predict.window_rows import MARGIN
from geoseg.geo.predict.windows import blend_profile, window_starts
from geoseg.geo.rasters import raster
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import Strip, classify


@pytest.mark.parametrize(
    "shape", [(150, 97), (64, 64), (65, 200), (1, 1), (20, 300), (300, 20)]
)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_stitching_a_pixelwise_model_changes_nothing(
    tmp_path: Path, shape: tuple[int, int], batch_size: int
) -> None:
    pixels = random_image(*shape)
    path = write_image(tmp_path / "image.tif", pixels)
    result = whole(
        predict_strips(
            PixelModel(), describe(path), window=64, overlap=16, batch_size=batch_size
        )
    )
    expected = pixels[0].astype(np.float32) / 1000
    assert result.probability.shape == (2, *shape)
    np.testing.assert_allclose(result.probability[1], expected, atol=ROUNDED)
    np.testing.assert_allclose(result.probability.sum(0), 1, atol=2 * ROUNDED)
    assert result.valid.all()


def test_blending_is_the_weighted_mean_of_all_windows(tmp_path: Path) -> None:
    shape, size = (100, 90), 32
    path = write_image(tmp_path / "image.tif", random_image(*shape))
    result = whole(
        predict_strips(CornerModel(), describe(path), window=size, overlap=12)
    )
    # The same by an explicit loop over windows and pixels' sums of weights.
    profile = blend_profile(size, 12).astype(float)
    weight = np.outer(profile, profile)
    corner = np.zeros((size, size))
    corner[:16, :16] = 1
    total, sums = np.zeros(shape), np.zeros(shape)
    for row in reversed(window_starts(shape[0], size, 12)):
        for column in reversed(window_starts(shape[1], size, 12)):
            here = np.s_[row : row + size, column : column + size]
            total[here] += weight
            sums[here] += weight * corner
    np.testing.assert_allclose(result.probability[1], sums / total, atol=1e-6)


def test_batches_have_one_shape(tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.tif", random_image(250, 200))
    model = PixelModel()
    list(predict_strips(model, describe(path), window=64, overlap=16, batch_size=4))
    # 5 rows of windows (0, 48, … 186) by 4 columns: of 20 windows 6 lie inside, so that
    # they fill 2 batches of 3; the 14 at the border are larger and take 4 batches of 4.
    side = 64 + 2 * MARGIN
    assert sorted(model.batches) == [(3, 4, 64, 64)] * 2 + [(4, 4, side, side)] * 4


@pytest.mark.parametrize("cuts", [(1,), (3,), (1, 2, 3, 4), (4, 7)])
def test_rows_of_windows_predicted_apart_are_the_same_bits(
    tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    pixels = random_image(330, 200)
    pixels[:, 100:180, :90] = 0  # some windows are left out
    path = write_image(tmp_path / "image.tif", pixels)
    tiling = lay_windows(330, 200, window=64, overlap=24)
    count = len(tiling.rows)
    whole_rows = list(predict_rows(NetModel(), describe(path), tiling, batch_size=3))
    apart = [
        row
        for start, stop in pairwise((0, *cuts, count))
        for row in predict_rows(
            NetModel(), describe(path), tiling, batch_size=3, rows=range(start, stop)
        )
    ]
    assert [row.row for row in apart] == list(range(count))
    for one, other in zip(whole_rows, apart, strict=True):
        assert one.columns == other.columns
        np.testing.assert_array_equal(one.valid, other.valid)
        np.testing.assert_array_equal(one.probability, other.probability)


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_the_size_of_a_batch_does_not_change_a_bit(
    tmp_path: Path, batch_size: int
) -> None:
    # Four windows and more lie over a pixel: the order of the sum tells.
    path = write_image(tmp_path / "image.tif", random_image(250, 200))
    one, other = (
        whole(
            predict_strips(
                NetModel(), describe(path), window=64, overlap=40, batch_size=size
            )
        ).probability
        for size in (1, batch_size)
    )
    np.testing.assert_array_equal(one, other)


def test_windows_without_data_are_not_computed(tmp_path: Path) -> None:
    pixels = random_image(640, 128)
    pixels[:, 64:576] = 0
    path = write_image(tmp_path / "image.tif", pixels)
    model = PixelModel()
    result = whole(
        predict_strips(model, describe(path), window=64, overlap=0, batch_size=1)
    )
    assert len(model.batches) == 2 * 2
    assert not result.valid[64:576].any()
    assert not result.probability[:, 64:576].any()
    assert result.valid[:64].all() and result.valid[576:].all()


def test_a_raster_without_any_data_is_all_nodata(tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.tif", np.zeros((4, 100, 70), np.uint16))
    model = PixelModel()
    result = whole(predict_strips(model, describe(path), window=64, overlap=8))
    assert model.batches == []
    assert (classify(result).classes == 255).all()


def test_strips_of_a_region_are_those_of_the_region_cut_out(tmp_path: Path) -> None:
    pixels = random_image(200, 150)
    path = write_image(tmp_path / "image.tif", pixels)
    region = PixelWindow(30, 20, 110, 90)
    result = whole(
        predict_strips(
            PixelModel(), describe(path), window=64, overlap=8, region=region
        )
    )
    expected = pixels[0, 30:140, 20:110].astype(np.float32) / 1000
    np.testing.assert_allclose(result.probability[1], expected, atol=ROUNDED)


def test_every_row_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_image(tmp_path / "image.tif", random_image(300, 80))
    rows: list[int] = []
    original = raster.read_window

    def read(dataset, numbers, window, **options):  # type: ignore[no-untyped-def]
        rows.extend(range(window.row, window.row + window.height))
        return original(dataset, numbers, window, **options)

    monkeypatch.setattr(raster, "read_window", read)
    list(predict_strips(PixelModel(), describe(path), window=64, overlap=16))
    assert rows == list(range(300))


def test_strips_come_before_the_raster_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_image(tmp_path / "image.tif", random_image(2000, 64))
    last = [0]
    original = raster.read_window

    def read(dataset, numbers, window, **options):  # type: ignore[no-untyped-def]
        last[0] = window.row + window.height
        return original(dataset, numbers, window, **options)

    monkeypatch.setattr(raster, "read_window", read)
    for strip in predict_strips(
        PixelModel(), describe(path), window=64, overlap=16, batch_size=2
    ):
        # Two windows in the batch, one row of windows summed, the rest read ahead.
        assert last[0] - strip.row <= (predictor._AHEAD + 4) * 64 < 2000


def test_a_truncated_file_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    write_image(path, random_image(400, 300))
    path.write_bytes(path.read_bytes()[:300_000])
    with pytest.raises(RasterError) as caught:
        list(predict_strips(PixelModel(), describe(path), window=64, overlap=8))
    assert "\n" not in str(caught.value)


def test_missing_bands_are_named(tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.tif", random_image(20, 20)[:3])
    with pytest.raises(BandMismatchError, match="nir"):
        predict_strips(PixelModel(), describe(path))


def test_an_overlap_as_large_as_the_window_is_refused() -> None:
    with pytest.raises(ParameterError, match="overlap 64"):
        lay_windows(100, 100, window=64, overlap=64)


def test_ties_are_background() -> None:
    half = np.full((2, 1, 3), 0.5, dtype=np.float32)
    half[:, 0, 1] = (0.49, 0.51)
    valid = np.array([[True, True, False]])
    strip = Strip(0, half, valid, valid.astype(np.uint8))
    assert classify(strip).classes.tolist() == [[0, 1, 255]]


def building_image(path: Path) -> str:
    """A bright rectangle (rows 40-140, columns 30-130) and 20 nodata columns."""
    pixels = np.full((4, 230, 210), 100, dtype=np.uint16)
    pixels[0, 40:140, 30:130] = 900
    pixels[:, :, 190:] = 0
    return write_image(path, pixels)


def test_one_pass_writes_classes_probability_and_footprints(tmp_path: Path) -> None:
    path = building_image(tmp_path / "image.tif")
    model = PixelModel()
    classes, probability = tmp_path / "classes.tif", tmp_path / "probability.tif"
    grid = raster.describe(path)
    strips = predict_raster(
        model,
        path,
        classes=classes,
        probability=probability,
        tags=RasterTags(method="iic"),
        window=64,
        overlap=16,
    )
    (building,) = footprints(strips, grid, class_names=model.card.class_names)
    assert building.area_m2 == pytest.approx(50 * 50)
    assert building.score == pytest.approx(0.9, abs=ROUNDED)
    assert building.geometry.bounds == (600015, 3999930, 600065, 3999980)
    with rasterio.open(classes) as dataset:
        expected = np.zeros((230, 210), dtype=np.uint8)
        expected[40:140, 30:130] = 1
        expected[:, 190:] = 255
        np.testing.assert_array_equal(dataset.read(1), expected)
        assert dataset.nodata == 255
        assert dataset.crs.to_epsg() == 32611
        assert dataset.transform == grid.transform
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.colormap(1)[1] != dataset.colormap(1)[0]
        assert dataset.tags()["GEOSEG_METHOD"] == "iic"
        assert "GEOSEG_VERSION" in dataset.tags()
    with rasterio.open(probability) as dataset:
        percent = dataset.read(1)
        assert np.unique(percent).tolist() == [10, 90, 255]
        assert dataset.scales == (0.01,)
        assert dataset.descriptions == ("building probability",)


def test_rasters_taller_than_a_row_of_tiles_are_complete(tmp_path: Path) -> None:
    pixels = random_image(1300, 40)
    path = write_image(tmp_path / "image.tif", pixels)
    classes = tmp_path / "classes.tif"
    list(predict_raster(PixelModel(), path, classes=classes, window=64, overlap=16))
    with rasterio.open(classes) as dataset:
        np.testing.assert_array_equal(dataset.read(1), pixels[0] > 500)


def test_an_existing_raster_is_refused_before_any_work(tmp_path: Path) -> None:
    path = building_image(tmp_path / "image.tif")
    model = PixelModel()
    (tmp_path / "classes.tif").write_text("mine")
    with pytest.raises(OutputExistsError, match="classes.tif"):
        list(predict_raster(model, path, classes=tmp_path / "classes.tif"))
    assert model.batches == []


def test_a_consumer_that_fails_leaves_no_raster_behind(tmp_path: Path) -> None:
    path = building_image(tmp_path / "image.tif")
    strips = predict_raster(
        PixelModel(), path, classes=tmp_path / "c.tif", window=64, overlap=16
    )
    next(strips)
    strips.close()
    assert [item.name for item in tmp_path.iterdir()] == ["image.tif"]


def test_a_model_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = building_image(tmp_path / "image.tif")

    class Broken(PixelModel):
        def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().class_probabilities(image, valid)

    model = Broken()
    grid = raster.describe(path)
    strips = predict_raster(
        model,
        path,
        classes=tmp_path / "c.tif",
        probability=tmp_path / "p.tif",
        window=64,
        overlap=16,
        batch_size=2,
    )
    found = footprints(strips, grid, class_names=model.card.class_names)
    with pytest.raises(KeyboardInterrupt):
        write_footprints(tmp_path / "b.geojson", found, crs=grid.crs)
    assert [item.name for item in tmp_path.iterdir()] == ["image.tif"]


FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from geoseg.core.errors import OutputError
from geoseg.geo.formats.class_rasters import probability_raster
from geoseg.geo.rasters.raster import describe
from geoseg.geo.predict.stitching import lay_windows
from geoseg.geo.rasters.strips import Strip

image, output = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(1)
try:
    with probability_raster(
        Path(output), describe(image), class_names=("a", "b"), overwrite=True
    ) as write:
        for row in range(0, 1200, 100):
            building = rng.random((100, 700), dtype=np.float32)
            both = np.stack((1 - building, building))
            valid = np.ones((100, 700), dtype=bool)
            write(Strip(row, both, valid, valid.astype(np.uint8)))
except OutputError as error:
    print("refused", error)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_raster_and_nothing_else(tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", random_image(1200, 700)[:1])
    output = tmp_path / "p.tif"
    output.write_text("old")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL_DISK, image, str(output)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("refused")
    assert output.read_text() == "old"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["image.tif", "p.tif"]


def test_predicting_imports_nothing_slow() -> None:
    code = (
        "import sys, geoseg.geo.predict.predictor, geoseg.geo.footprints.vectorize, geoseg.geo.formats.writer\n"
        "slow = {'lightning', 'torchvision', 'torchgeo', 'geopandas', 'pandas',"
        " 'matplotlib', 'segmentation_models_pytorch', 'torchmetrics'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
