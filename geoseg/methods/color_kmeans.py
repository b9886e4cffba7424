"""The colour control: k-means of pixel values."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.clustering import assign, kmeans
from geoseg.errors import TrainingError
from geoseg.methods.base import Batches, Method, check_heads
from geoseg.patches import PatchBatch


class ColorKMeans(Method):
    """Clusters pixels by their channel values alone: what colour can tell.

    Any method that claims to see more than colour has to beat it, with as many clusters
    and the same matching.

    Args:
        in_channels: Channels of the image.
        clusters: K.
        pixels: Number of pixels that k-means sees, at most.
        seed: Of the k-means++ start.
    """

    gradient = False

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
            ((batch.image, batch.valid) for batch in batches()), self.pixels
        )
        result = kmeans(lambda: [sample], self.heads["main"], seed=self.seed)
        self.get_buffer("centroids").copy_(result.centroids)

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)`` ones at the nearest centroid, zeros elsewhere."""
        n, c, h, w = image.shape
        pixels = image.permute(0, 2, 3, 1).reshape(-1, c)
        ids = assign(pixels, self.get_buffer("centroids")).reshape(n, h, w)
        return one_hot_planes(ids, self.heads[head], image.dtype)


def one_hot_planes(ids: Tensor, clusters: int, dtype: torch.dtype) -> Tensor:
    """Turn ``(N, H, W)`` cluster ids into ``(N, K, H, W)`` certain probabilities."""
    return F.one_hot(ids, clusters).permute(0, 3, 1, 2).to(dtype)


def sample_pixels(maps: Iterable[tuple[Tensor, Tensor]], pixels: int) -> Tensor:
    """Gather evenly spaced valid pixels of feature maps.

    Args:
        maps: Pairs of features ``(N, D, H, W)`` and valid ``(N, H, W)``.
        pixels: How many to return at most.

    Returns:
        ``(M, D)`` features, M at most ``pixels``.

    Raises:
        TrainingError: If no pixel is valid.
    """
    chosen: list[Tensor] = []
    stride, count = 1, 0
    for features, valid in maps:
        flat = features.permute(0, 2, 3, 1)[valid]  # (M, D)
        chosen.append(flat[::stride].detach().cpu())
        count += len(chosen[-1])
        while count > pixels:
            # Thin out evenly: keep every other pixel, and take half of what follows.
            chosen = [block[::2] for block in chosen]
            stride, count = stride * 2, sum(map(len, chosen))
    if not count:
        raise TrainingError(
            "no pixel of the training patches is valid: check the nodata rule "
            "(--nodata) and the images"
        )
    return torch.cat(chosen)
