"""Colour control: k-means of pixel values."""

import torch
from torch import Tensor

from geoseg.methods.bases.method import Batches, Method, check_heads
from geoseg.methods.clustering.kmeans import kmeans
from geoseg.methods.clustering.nearest import assign
from geoseg.methods.losses.prototypes import prototype_logits
from geoseg.methods.pixels import one_hot_planes, sample_pixels


class ColorKMeans(Method):
    """Clusters pixels only by their channel values.

    Any method that claims to use more than colour has to beat it, with the same number of
    clusters and the same matching.

    Args:
        in_channels: Channels of the image.
        clusters: K.
        pixels: Largest number of pixels in k-means.
        seed: Seed of the k-means++ start.
    """

    gradient = False
    hard = True
    has_probabilities = False
    jumps = True

    def __init__(
        self,
        in_channels: int,
        *,
        clusters: int = 24,
        pixels: int = 262144,
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        self.heads = {"main": clusters}
        check_heads(self.heads)
        self.default_head = "main"
        self.pixels = pixels
        self.seed = seed
        self.register_buffer("centroids", torch.zeros(clusters, in_channels))

    def finish(self, batches: Batches) -> None:
        """Fit the centroids."""
        sample = sample_pixels(
            ((self.whitened(batch.image), batch.valid) for batch in batches()),
            self.pixels,
        )
        result = kmeans(lambda: [sample], self.heads["main"], seed=self.seed)
        self.get_buffer("centroids").copy_(result.centroids)

    def cluster_ids(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the ``(N, H, W)`` ids of the nearest centroids."""
        n, c, h, w = image.shape
        pixels = self.whitened(image).permute(0, 2, 3, 1).reshape(-1, c)
        return assign(pixels, self.get_buffer("centroids")).reshape(n, h, w)

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)``: 1 for the nearest centroid, 0 for the others."""
        ids = self.cluster_ids(image, valid, head)
        return one_hot_planes(ids, self.heads[head], image.dtype)

    def traced_probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the nearest centroids by a 1×1 convolution with all of them."""
        pixels = self.whitened(image)
        ids = prototype_logits(pixels, self.get_buffer("centroids")).argmax(dim=1)
        return one_hot_planes(ids, self.heads[head], image.dtype)
