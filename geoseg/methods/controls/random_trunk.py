"""Network control: k-means of an untrained network's features."""

from typing import get_args

import torch
from torch import nn

from geoseg.methods.bases.centroids import CentroidMethod
from geoseg.methods.bases.method import Batches
from geoseg.methods.networks import TRUNKS
from geoseg.methods.networks.gradients import SobelMode


class RandomTrunk(CentroidMethod):
    """Clusters the features of a network with random weights by k-means.

    It shows the effect of the architecture alone, which a trained network has to beat.
    Only the batch normalisation uses the images, once, to scale its outputs.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features.
        width: Width of the trunk.
        clusters: K.
        sobel: Gradient channels: left out, after the bands, or in their place.
        pixels: Largest number of feature vectors in k-means.
        seed: Seed of the k-means++ start.
    """

    gradient = False
    unit_length = False
    choices = {"trunk": tuple(TRUNKS), "sobel": get_args(SobelMode)}

    def __init__(
        self,
        in_channels: int,
        *,
        trunk: str = "vgg",
        width: int = 16,
        clusters: int = 24,
        sobel: str = "none",
        pixels: int = 65536,
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        self.build(
            {"main": clusters},
            trunk=trunk,
            width=width,
            sobel=sobel,
            pixels=pixels,
            seed=seed,
        )

    @torch.no_grad()
    def finish(self, batches: Batches) -> None:
        """Scale the batch normalisation, then fit the centroids."""
        norms = [m for m in self.trunk.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
        self.trunk.train()
        for batch in batches():
            self.features(batch.image, batch.valid)
        super().finish(batches)
