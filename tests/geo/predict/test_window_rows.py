"""What windows at the border see: the raster around them, and its last pixels again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pixel_models import (
    ROUNDED,
    NetModel,
    PixelModel,
    random_image,
    whole,
    write_image,
)
from torch import Tensor

from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.stitching import lay_windows
from geoseg.geo.predict.window_rows import MARGIN
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe


def test_a_roof_cut_by_the_border_reaches_it(tmp_path: Path) -> None:
    pixels = np.full((4, 90, 80), 100, dtype=np.uint16)
    pixels[0, :30, 20:50] = 900
    path = write_image(tmp_path / "image.tif", pixels)
    for window in (32, 64, 256):
        strips = predict_strips(NetModel(), describe(path), window=window, overlap=8)
        building = whole(strips).probability[1]
        # The border changes nothing: the first row is like the tenth.
        np.testing.assert_allclose(
            building[:10], building[:1].repeat(10, 0), atol=ROUNDED
        )
        assert building[0, 35] == pytest.approx(0.9, abs=ROUNDED)
        assert building[-1, -1] == pytest.approx(0.1, abs=ROUNDED)


def test_a_region_sees_the_raster_s_pixels_around_it(tmp_path: Path) -> None:
    pixels = random_image(120, 110)
    path = write_image(tmp_path / "image.tif", pixels)
    model = NetModel()
    bands = torch.from_numpy(pixels / 1000).float()[None]
    every = torch.ones((1, 120, 110), dtype=torch.bool)
    expected = model.class_probabilities(bands, every)[0, 1].numpy()
    region = PixelWindow(30, 20, 60, 50)
    for window in (40, 256):
        strips = predict_strips(
            model, describe(path), window=window, overlap=20, region=region
        )
        found = whole(strips).probability[1]
        border = np.ones(found.shape, dtype=bool)
        border[4:-4, 4:-4] = False
        np.testing.assert_allclose(
            found[border], expected[30:90, 20:70][border], atol=2 * ROUNDED
        )


def test_windows_inside_are_computed_without_a_margin(tmp_path: Path) -> None:
    pixels, size = random_image(300, 280), 64
    path = write_image(tmp_path / "image.tif", pixels)
    model = NetModel()
    found = whole(
        predict_strips(model, describe(path), window=size, overlap=16, batch_size=1)
    )
    tiling = lay_windows(300, 280, window=size, overlap=16)
    bands = torch.from_numpy(pixels.astype(np.float32) / 1000)
    every = torch.ones((1, size, size), dtype=torch.bool)
    expected = np.zeros((300, 280), dtype=np.float32)
    for row, top in enumerate(tiling.rows):
        for column, left in enumerate(tiling.columns):
            here = np.s_[top : top + size, left : left + size]
            window = bands[None, :, here[0], here[1]].contiguous()
            weight = np.outer(tiling.row_weights[row], tiling.column_weights[column])
            with torch.no_grad():
                building = model.class_probabilities(window, every)[0, 1]
            expected[here] += building.numpy() * weight
    inside = np.s_[size : tiling.rows[-1], size : tiling.columns[-1]]
    np.testing.assert_allclose(
        found.probability[1][inside], expected[inside], atol=2 * ROUNDED
    )


def test_beyond_the_raster_its_outermost_pixels_are_repeated_and_not_valid(
    tmp_path: Path,
) -> None:
    pixels = random_image(3, 2)
    pixels[:, 0, 0] = 0  # without data
    path = write_image(tmp_path / "image.tif", pixels)
    seen: list[tuple[Tensor, Tensor]] = []

    class Witness(PixelModel):
        def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
            seen.append((image[0, 0], valid[0]))
            return super().class_probabilities(image, valid)

    list(predict_strips(Witness(), describe(path), window=4, overlap=1))
    ((image, valid),) = seen
    known = np.where(pixels[0] > 0, pixels[0] / 1000, 0.5)  # 0.5 fills in
    widths = ((MARGIN, MARGIN + 1), (MARGIN, MARGIN + 2))
    np.testing.assert_allclose(image.numpy(), np.pad(known, widths, "edge"), atol=1e-6)
    np.testing.assert_array_equal(valid.numpy(), np.pad(pixels[0] > 0, widths))
