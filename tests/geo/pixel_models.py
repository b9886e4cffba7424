"""Models whose maps can be told in advance, images, and strips put together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from torch import Tensor
from torch.nn.functional import avg_pool2d

from geoseg.core.normalization import Normalization
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.predict.stitching import STEPS
from geoseg.geo.rasters.strips import Strip
from geoseg.methods import build_method
from geoseg.model.card import ModelCard
from geoseg.model.file import Model
from geoseg.model.matching import match_clusters

BANDS = ("red", "green", "blue", "nir")
#: How far probabilities lie off that are kept in steps, and their weights in float32.
ROUNDED = 0.5 / STEPS + 2e-7


@dataclass(frozen=True)
class Card:
    normalization: Normalization
    nodata: str = "auto"
    class_names: tuple[str, ...] = ("background", "building")


class PixelModel:
    """The probability of a building is the normalised red band; counts its windows."""

    def __init__(self) -> None:
        count = len(BANDS)
        self.card = Card(
            Normalization(BANDS, (0.0,) * count, (1000.0,) * count, (0.5,) * count)
        )
        self.batches: list[tuple[int, ...]] = []

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        self.batches.append(tuple(image.shape))
        assert not torch.is_grad_enabled()
        building = image[:, 0]
        return torch.stack((1 - building, building), dim=1)


class CornerModel(PixelModel):
    """Not pixel-wise: 1 in the window's upper left quarter."""

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        half = image.shape[-1] // 2
        building = torch.zeros_like(image[:, 0])
        building[:, :half, :half] = 1
        return torch.stack((1 - building, building), dim=1)


class NetModel(PixelModel):
    """As a network does: means of 9 × 9 pixels, with zeros beyond what it is given."""

    def class_probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        building = avg_pool2d(image[:, :1], 9, stride=1, padding=4)[:, 0]
        return torch.stack((1 - building, building), dim=1)


def network_model() -> Model:
    """A real network, untrained; every other cluster is a building."""
    torch.manual_seed(0)
    count = len(BANDS)
    parameters = {"width": 4, "over_clusters": 4}
    method = build_method("iic", count, parameters).eval().requires_grad_(False)
    card = ModelCard(
        method="iic",
        parameters=parameters,
        normalization=PixelModel().card.normalization,
        head="over",
        matchings={"over": match_clusters(torch.eye(2).repeat(2, 1).long()[None])},
    )
    return Model(method, card)


def write_image(path: Path, pixels: np.ndarray, **options: object) -> str:
    options = {
        "crs": "EPSG:32611",
        "transform": from_origin(600000, 4000000, 0.5, 0.5),
        **options,
    }
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(pixels),
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype,
        **options,
    ) as dataset:
        dataset.write(pixels)
    return str(path)


def random_image(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.integers(1, 1000, (4, height, width)).astype(np.uint16)


def whole(strips: Iterator[Strip]) -> Strip:
    """Put strips together; they must follow each other without gap."""
    parts = list(strips)
    ends = np.cumsum([0] + [len(part.valid) for part in parts])
    assert [part.row for part in parts] == ends[:-1].tolist()
    return Strip(
        0,
        np.concatenate([part.probability for part in parts], axis=1),
        np.concatenate([part.valid for part in parts]),
        np.concatenate([part.guide for part in parts]),
    )


def map_everything(model, images, folder, options):
    """Map images into a folder: footprints and all three rasters."""
    folder.mkdir(exist_ok=True)
    return map_buildings(
        model,
        images,
        folder / "b.geojson",
        classes=folder / "c.tif",
        probability=folder / "p.tif",
        clusters=folder / "k.tif",
        options=options,
    )
