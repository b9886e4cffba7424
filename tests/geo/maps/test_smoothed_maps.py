"""Maps of models named by share: the same bytes however they are made."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from pixel_models import map_everything

from geoseg.core.errors import ParameterError
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.predict import journal as journals
from geoseg.model.decisions import Decision, Smoothing

SMALL = MapOptions(window=64, overlap=16, min_area_m2=0.0, style=False)


@pytest.fixture
def named(bright_model):
    """A model whose scores of dark and bright pixels overlap."""
    model = bright_model()
    matching = replace(
        model.card.matchings["main"],
        naming="share",
        scores=((0.8, 0.2), (0.35, 0.65)),
        smoothing=Smoothing(5),
        smoothed=Decision(1.4, 0.3, 0.4),
        plain=Decision(1.0, 0.0, 0.5),
    )
    return model.with_card(matchings={"main": matching})


def picture(side=230) -> np.ndarray:
    """Blocks of brightness with noise, and a part without data."""
    draws = np.random.default_rng(5)
    blocks = draws.integers(300, 700, (side // 20 + 1,) * 2).repeat(20, 0).repeat(20, 1)
    pixels = blocks[:side, :side] + draws.normal(0, 120, (3, side, side))
    pixels = pixels.clip(1, 1000).astype(np.uint16)
    pixels[:, 90:130, 40:100] = 0
    return pixels


def rasters(folder) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as file:
            found[path.name] = file.read()
    return found


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def straight(named, write_tiff, tmp_path):
    image = write_tiff("image.tif", picture(), nodata=0)
    map_everything(named, [image], tmp_path / "straight", SMALL)
    return image, tmp_path / "straight"


def test_smoothing_changes_a_map_and_no_smooth_leaves_it_out(
    named, straight, tmp_path
) -> None:
    image, folder = straight
    map_everything(named, [image], tmp_path / "raw", replace(SMALL, smooth=False))
    smooth, raw = rasters(folder), rasters(tmp_path / "raw")
    assert np.array_equal(smooth["k.tif"], raw["k.tif"])
    assert 0.05 < np.mean(smooth["c.tif"] != raw["c.tif"]) < 0.5
    assert set(np.unique(raw["p.tif"])) <= {20, 65, 255}
    assert len(np.unique(smooth["p.tif"])) > 30


def test_a_turned_image_gives_the_turned_map(
    named, straight, write_tiff, tmp_path
) -> None:
    expected = rasters(straight[1])
    for name, move in {
        "turned": lambda x: np.rot90(x, axes=(-2, -1)),
        "mirrored": lambda x: x[..., ::-1],
    }.items():
        moved = np.ascontiguousarray(move(picture()))
        image = write_tiff(f"{name}.tif", moved, nodata=0)
        map_everything(named, [image], tmp_path / name, SMALL)
        for kind, values in rasters(tmp_path / name).items():
            np.testing.assert_array_equal(values, move(expected[kind]))


def test_a_stopped_map_goes_on_to_the_same_bytes_smoothed_or_not(
    named, straight, tmp_path, monkeypatch
) -> None:
    image, folder = straight
    monkeypatch.setattr("geoseg.geo.predict.blocks.WINDOWS", 4)
    write, written = journals.write_block, []

    def stop_at_third(path, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(journals, "write_block", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        map_everything(named, [image], tmp_path / "b", replace(SMALL, smooth=False))
    monkeypatch.setattr(journals, "write_block", write)
    map_everything(named, [image], tmp_path / "b", SMALL)
    assert contents(tmp_path / "b") == contents(folder)


@pytest.mark.slow
def test_workers_give_the_same_bytes(named, straight, tmp_path) -> None:
    image, folder = straight
    pytest.importorskip("dask")
    map_everything(named, [image], tmp_path / "two", replace(SMALL, workers=2))
    assert contents(tmp_path / "two") == contents(folder)


def test_a_threshold_moves_the_balance(named, straight, tmp_path) -> None:
    image, folder = straight
    areas = []
    for threshold in (0.2, 0.4, 0.7):
        own = tmp_path / f"t{threshold}"
        map_everything(named, [image], own, replace(SMALL, threshold=threshold))
        areas.append((rasters(own)["c.tif"] == 1).sum())
        assert np.array_equal(rasters(own)["p.tif"], rasters(folder)["p.tif"])
    assert areas[0] > areas[1] > areas[2] > 0
    assert contents(tmp_path / "t0.4")["b.geojson"] == contents(folder)["b.geojson"]


def test_a_threshold_where_none_decides_is_refused(
    bright_model, write_tiff, tmp_path
) -> None:
    image = write_tiff("image.tif", picture())
    with pytest.raises(ParameterError, match="leave out --threshold"):
        map_everything(
            bright_model(), [image], tmp_path / "a", replace(SMALL, threshold=0.3)
        )
