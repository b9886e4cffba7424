"""Rasters of every kind and height through a model, in memory that does not grow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pixel_models import (
    PixelModel,
    network_model,
    random_image,
    whole,
    write_image,
)

from geoseg.core.errors import ParameterError
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.rasters.raster import describe
from geoseg.model.inference import Inference

OPTIONS = {"window": 64, "overlap": 16}


def mapped(model, path, **more):
    return whole(predict_strips(model, describe(path), **OPTIONS, **more))


def test_a_mirrored_or_turned_raster_gives_the_mirrored_or_turned_map(
    tmp_path: Path,
) -> None:
    model = network_model().with_inference(Inference(symmetries=True))
    # 3 × 3 windows that fit without a rest; batches are filled in another order.
    pixels = random_image(160, 160)
    pixels[:, 20:70, 100:150] = 0
    straight = mapped(model, write_image(tmp_path / "a.tif", pixels), batch_size=3)
    assert 0 < straight.probability.std()
    moves = {
        "mirrored": lambda x: x[..., ::-1],
        "upside-down": lambda x: x[..., ::-1, :],
        "transposed": lambda x: x.swapaxes(-1, -2),
    }
    for name, move in moves.items():
        path = write_image(tmp_path / f"{name}.tif", np.ascontiguousarray(move(pixels)))
        found = mapped(model, path, batch_size=3)
        np.testing.assert_array_equal(found.valid, move(straight.valid))
        np.testing.assert_array_equal(found.probability, move(straight.probability))


def test_a_network_is_asked_as_the_options_say(
    write_tiff, bright_model, tmp_path, monkeypatch
):
    image = write_tiff("a.tif", np.full((3, 40, 40), 850, np.uint16))
    model = bright_model()
    views = []
    cluster_ids = model.method.cluster_ids

    def counted(image, valid, head):
        views.append(image)
        return cluster_ids(image, valid, head)

    monkeypatch.setattr(model.method, "cluster_ids", counted)
    map_buildings(model, [image], tmp_path / "a.gpkg")
    assert len(views) == 1
    options = MapOptions(symmetries=True)
    map_buildings(model, [image], tmp_path / "b.gpkg", options=options)
    assert len(views) == 1 + 8
    with pytest.raises(ParameterError, match="expected a GPU"):
        half = MapOptions(precision="bf16-mixed")
        map_buildings(model, [image], tmp_path / "c.gpkg", options=half)
    assert not (tmp_path / "c.gpkg").exists()


def test_a_mosaic_gives_the_map_of_its_whole(tmp_path: Path) -> None:
    pixels = random_image(150, 200)
    path = write_image(tmp_path / "whole.tif", pixels)
    sources = []
    for number, (left, width) in enumerate([(0, 90), (90, 110)]):
        name = f"part{number}.tif"
        write_image(tmp_path / name, pixels[:, :, left : left + width])
        size = f'yOff="0" xSize="{width}" ySize="150"'
        sources.append(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
            f'<SourceBand>@</SourceBand><SrcRect xOff="0" {size}/>'
            f'<DstRect xOff="{left}" {size}/></SimpleSource>'
        )
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{number}">'
        f'{"".join(sources).replace("@", str(number))}</VRTRasterBand>'
        for number in range(1, 5)
    )
    mosaic = tmp_path / "mosaic.vrt"
    mosaic.write_text(
        '<VRTDataset rasterXSize="200" rasterYSize="150"><SRS>EPSG:32611</SRS>'
        "<GeoTransform>600000, 0.5, 0, 4000000, 0, -0.5</GeoTransform>"
        f"{bands}</VRTDataset>"
    )
    one, other = (mapped(PixelModel(), name) for name in (path, mosaic))
    np.testing.assert_array_equal(one.probability, other.probability)
    assert one.probability.any()


def test_blocks_that_a_sparse_file_leaves_out_are_not_computed(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    pixels = random_image(64, 64)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=4,
        height=640,
        width=640,
        dtype="uint16",
        nodata=0,
        crs="EPSG:32611",
        transform=rasterio.Affine(0.5, 0, 600000, 0, -0.5, 4000000),
        tiled=True,
        blockxsize=64,
        blockysize=64,
        SPARSE_OK=True,
    ) as dataset:
        dataset.write(pixels, window=rasterio.windows.Window(128, 320, 64, 64))
    assert path.stat().st_size < 2 * pixels.nbytes
    model = PixelModel()
    found = whole(predict_strips(model, describe(path), window=64, overlap=0))
    # All windows but one are empty; it goes in a batch of one shape.
    assert len(model.batches) == 1
    assert found.valid.sum() == 64 * 64
    assert found.valid[320:384, 128:192].all()


MEMORY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pixel_models import PixelModel
from geoseg.geo.maps.rasters import predict_raster

folder = Path(sys.argv[2])
for name in ("short", "tall"):
    strips = predict_raster(
        PixelModel(),
        str(folder / f"{name}.tif"),
        classes=folder / f"{name}_classes.tif",
        probability=folder / f"{name}_probability.tif",
        window=64,
        overlap=16,
    )
    rows = sum(len(strip.classes) for strip in strips)
    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_times_the_height_takes_the_same_memory(tmp_path: Path) -> None:
    for name, height in (("short", 3000), ("tall", 30_000)):
        pixels = np.tile(random_image(1000, 500), (1, height // 1000, 1))
        write_image(tmp_path / f"{name}.tif", pixels, tiled=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY, str(Path(__file__).parents[1])]
        + [str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    (short, before), (tall, after) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert (short, tall) == (3000, 30_000)
    # In KiB; the tall raster has 120 MB of pixels, and its probabilities as many.
    assert after - before < 20_000
