"""Base class of methods that assign features of a trunk to the nearest centroid."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.methods.bases.method import Batches, Method, check_heads
from geoseg.methods.clustering.kmeans import kmeans
from geoseg.methods.losses.prototypes import prototype_logits
from geoseg.methods.networks import build_trunk
from geoseg.methods.networks.gradients import (
    check_sobel,
    sobel_channels,
    with_gradients,
)
from geoseg.methods.networks.heads import upsample
from geoseg.methods.pixels import one_hot_planes, sample_pixels, shrink_valid


class CentroidMethod(Method):
    """Predicts the nearest of K centroids, which :meth:`finish` fits.

    A subclass calls :meth:`build` in its ``__init__``.

    Attributes:
        unit_length: Whether features are scaled to length 1.
        final: Similarity of features and centroids in prediction, see
            :func:`geoseg.methods.losses.prototypes.prototype_logits`.
    """

    has_features = True
    has_probabilities = False
    jumps = True
    unit_length: ClassVar[bool] = True
    final: str = "distance"

    def build(
        self,
        heads: dict[str, int],
        *,
        trunk: str,
        width: int,
        sobel: str,
        pixels: int,
        seed: int,
    ) -> None:
        """Build the trunk and a table of centroids for each head.

        Args:
            heads: Name of each head → its K; the last one predicts.
            trunk: One of :data:`geoseg.methods.networks.TRUNKS`.
            width: Width of the trunk.
            sobel: Gradient channels: left out, after the bands, or in their place.
            pixels: Largest number of features in the final k-means.
            seed: Seed of k-means.

        Raises:
            ParameterError: If a value is not among its choices or out of range.
        """
        check_heads(heads)
        check_sobel(sobel)
        self.heads, self.default_head = heads, list(heads)[-1]
        self.sobel, self.pixels, self.seed = sobel, pixels, seed
        channels = sobel_channels(self.in_channels, sobel)
        self.trunk = build_trunk(trunk, channels, width=width)
        self.divisor = self.trunk.divisor
        for head, count in heads.items():
            self.register_buffer(
                f"centroids_{head}", torch.zeros(count, self.trunk.out_channels)
            )

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the trunk's ``(N, D, h, w)`` features."""
        bands = self.whitened(image)
        features: Tensor = self.trunk(
            with_gradients(image, valid, self.sobel, bands=bands)
        )
        return F.normalize(features.float(), dim=1) if self.unit_length else features

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)``: 1 for the nearest centroid, 0 for the others."""
        return self.head_probabilities(image, valid, (head,))[head]

    def head_probabilities(
        self, image: Tensor, valid: Tensor, heads: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return the probabilities of several heads from one set of features."""
        features, size = self.features(image, valid), (image.shape[2], image.shape[3])
        planes = {}
        for head in heads:
            centroids = self.get_buffer(f"centroids_{head}")
            # Logits are linear in the features, so upsampling either is the same.
            logits = prototype_logits(features, centroids, self.final)
            ids = upsample(logits, size).argmax(dim=1)
            planes[head] = one_hot_planes(ids, self.heads[head], image.dtype)
        return planes

    @torch.no_grad()
    def finish(self, batches: Batches) -> None:
        """Cluster the features of the unchanged images."""
        self.eval()
        maps = (
            (
                features := self.features(batch.image, batch.valid),
                shrink_valid(batch.valid, features),
            )
            for batch in batches()
        )
        sample = sample_pixels(maps, self.pixels)
        for head, count in self.heads.items():
            result = kmeans(lambda: [sample], count, seed=self.seed)
            self.get_buffer(f"centroids_{head}").copy_(result.centroids)
