"""The network control: k-means of what an untrained network sees."""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.clustering import kmeans
from geoseg.methods.base import Batches, Method, check_heads
from geoseg.networks import TRUNKS, build_trunk
from geoseg.networks.gradients import (
    SobelMode,
    check_sobel,
    sobel_channels,
    with_gradients,
)
from geoseg.networks.heads import upsample
from geoseg.pixels import one_hot_planes, sample_pixels, shrink_valid


class RandomTrunk(Method):
    """Clusters the features of a network with random weights by k-means.

    What its architecture alone gives, without any training: a trained network has to
    beat it. Only the batch normalisation sees the images, once, to scale its outputs.

    Args:
        in_channels: Channels of the image.
        trunk: Network that computes the features.
        width: Of the trunk.
        clusters: K.
        sobel: Gradient channels: left out, after the bands, or in their place.
        pixels: Number of feature vectors that k-means sees, at most.
        seed: Of the k-means++ start.
    """

    gradient = False
    has_features = True
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
        self.heads = {"main": clusters}
        check_heads(self.heads)
        self.default_head = "main"
        self.pixels = pixels
        self.seed = seed
        check_sobel(sobel)
        self.sobel = sobel
        channels = sobel_channels(in_channels, sobel)
        self.trunk = build_trunk(trunk, channels, width=width)
        self.divisor = self.trunk.divisor
        self.register_buffer(
            "centroids", torch.zeros(clusters, self.trunk.out_channels)
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
        self.trunk.eval()
        sample = sample_pixels(
            (
                (
                    features := self.features(batch.image, batch.valid),
                    shrink_valid(batch.valid, features),
                )
                for batch in batches()
            ),
            self.pixels,
        )
        result = kmeans(lambda: [sample], self.heads["main"], seed=self.seed)
        self.get_buffer("centroids").copy_(result.centroids)

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the untrained trunk's ``(N, D, h, w)`` features."""
        bands = self.whitened(image)
        inputs = with_gradients(image, valid, self.sobel, bands=bands)
        features: Tensor = self.trunk(inputs)
        return features

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)`` ones at the nearest centroid, zeros elsewhere."""
        centroids = self.get_buffer("centroids")
        # argmin |z - c|^2 = argmax z.c - |c|^2 / 2, which is linear in z and so
        # commutes with the upsampling.
        scores = F.conv2d(
            self.features(image, valid),
            centroids[:, :, None, None],
            bias=-centroids.square().sum(dim=1) / 2,
        )
        ids = upsample(scores, (image.shape[2], image.shape[3])).argmax(dim=1)
        return one_hot_planes(ids, self.heads[head], image.dtype)
