"""Whitened k-means patches: a codebook of shapes and textures around pixels."""

from collections.abc import Callable
from functools import partial
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError
from geoseg.methods.bases.method import Batches, Method, check_heads
from geoseg.methods.clustering.kmeans import kmeans
from geoseg.methods.clustering.nearest import assign
from geoseg.methods.losses.prototypes import prototype_logits
from geoseg.methods.pixels import one_hot_planes, sample_pixels

# Added to the variance of a patch, of values in [0, 1], so that flat ones stay flat.
_FLAT = (10 / 255) ** 2
# Added to the variances of whitened components.
_WEAK = 0.1
# Batches that a fit reads at most: half a million pixels or more.
_BATCHES = 8


class Patches(Method):
    """Clusters pixels by the patches around them, at several scales.

    Small patches are normalised, whitened and compared with atoms, which k-means finds.
    The response of an atom is how much nearer it is than the mean atom. Responses are
    averaged over a small square, reduced to some principal components, and clustered.
    The features move with the image: they do not depend on where a window begins.

    Args:
        in_channels: Channels of the image.
        clusters: K.
        atoms: Atoms of a scale.
        scales: Number of scales; each is twice as coarse as the one before.
        size: Side of a patch in pixels of its scale, odd.
        whitened: Components of a whitened patch, at most.
        components: Components of the features, at most.
        pixels: Largest number of pixels, and of patches of a scale, in k-means.
        seed: Seed of the k-means++ starts.

    References:
        A. Coates, H. Lee, A. Ng, An Analysis of Single-Layer Networks in Unsupervised
        Feature Learning, AISTATS 2011,
        https://proceedings.mlr.press/v15/coates11a.html: whitening, k-means and the
        triangle code (equation 2). Scales, dilated patches and the last k-means are
        not in the paper.
    """

    gradient = False
    hard = True
    has_probabilities = False
    jumps = True

    def __init__(
        self,
        in_channels: int,
        *,
        clusters: int = 192,
        atoms: int = 64,
        scales: int = 3,
        size: int = 5,
        whitened: int = 32,
        components: int = 12,
        pixels: int = 65536,
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        self.heads = {"main": clusters}
        check_heads(self.heads)
        self.default_head = "main"
        if size < 1 or size % 2 == 0 or scales < 1 or min(atoms, components) < 2:
            raise ParameterError(
                f"patches have size {size}, {scales} scales, {atoms} atoms and "
                f"{components} components, expected an odd size, a scale or more and 2 "
                "or more of the others"
            )
        self.scales, self.size, self.pixels, self.seed = scales, size, pixels, seed
        values = in_channels * size**2
        kept, components = min(whitened, values), min(components, scales * atoms)
        self.register_buffer("offsets", torch.zeros(scales, values))
        self.register_buffer("whiteners", torch.zeros(scales, kept, values))
        self.register_buffer("atoms", torch.zeros(scales, atoms, kept))
        self.register_buffer("mean", torch.zeros(components))
        self.register_buffer("axes", torch.zeros(components, scales * atoms))
        self.register_buffer("centroids", torch.zeros(clusters, components))

    def finish(self, batches: Batches) -> None:
        """Fit whitening, atoms, components and centroids, one after another."""

        def drawn(values: Callable[[Tensor], Tensor]) -> Tensor:
            maps = (
                (values(self.whitened(batch.image)), batch.valid)
                for batch in islice(batches(), _BATCHES)
            )
            return sample_pixels(maps, self.pixels, seed=self.seed)

        for scale in range(self.scales):
            self._fit_scale(scale, drawn(partial(self._patches, scale=scale)).double())
        codes = drawn(self._codes)
        mean, axes = _principal(codes.double(), len(self.get_buffer("mean")))
        self.get_buffer("axes").copy_(axes)
        self.get_buffer("mean").copy_(axes @ mean)
        features = codes @ self.get_buffer("axes").T - self.get_buffer("mean")
        result = kmeans(lambda: [features], self.heads["main"], seed=self.seed)
        self.get_buffer("centroids").copy_(result.centroids)

    def _fit_scale(self, scale: int, patches: Tensor) -> None:
        """Fit the whitening and the atoms of a scale to ``(M, values)`` patches."""
        kept = self.get_buffer("whiteners").shape[1]
        mean, axes = _principal(patches, kept)
        variance = ((patches - mean) @ axes.T).var(dim=0)
        whitener = axes / (variance + _WEAK).sqrt()[:, None]
        self.get_buffer("offsets")[scale] = mean
        self.get_buffer("whiteners")[scale] = whitener
        white = ((patches - mean) @ whitener.T).float()
        atoms = self.get_buffer("atoms").shape[1]
        result = kmeans(lambda: [white], atoms, seed=self.seed)
        self.get_buffer("atoms")[scale] = result.centroids

    def _patches(self, image: Tensor, scale: int) -> Tensor:
        """Return ``(N, values, H, W)`` normalised patches of a scale."""
        n, c, h, w = image.shape
        spread = self._padded_scale(image, scale)
        patches = F.unfold(spread, self.size, dilation=2**scale).reshape(n, -1, h, w)
        return (patches - patches.mean(dim=1, keepdim=True)) / (
            patches.var(dim=1, keepdim=True, unbiased=False) + _FLAT
        ).sqrt()

    def _padded_scale(self, image: Tensor, scale: int) -> Tensor:
        """Return the image of a scale, with room for the patches of its border."""
        channels = self.in_channels
        blur = torch.tensor([0.25, 0.5, 0.25], device=image.device)
        across = blur.repeat(channels, 1, 1, 1)  # (C, 1, 1, 3)
        down = across.reshape(channels, 1, 3, 1)
        for step in (2**i for i in range(scale)):
            image = F.pad(image, (step,) * 4, mode="replicate")
            image = F.conv2d(image, across, dilation=(1, step), groups=channels)
            image = F.conv2d(image, down, dilation=(step, 1), groups=channels)
        return F.pad(image, (self.size // 2 * 2**scale,) * 4, mode="replicate")

    def _scale_codes(self, image: Tensor, scale: int) -> Tensor:
        """Return ``(N, atoms, H, W)`` responses of a scale's atoms."""
        white = self._whitened_patches(image, scale)
        atoms = self.get_buffer("atoms")[scale].to(image)  # (A, kept)
        squares = white.square().sum(dim=1, keepdim=True)
        squares = squares + atoms.square().sum(dim=1)[:, None, None]
        products = F.conv2d(white, atoms[:, :, None, None])
        distances = (squares - 2 * products).clamp(min=0).sqrt()
        return F.relu(distances.mean(dim=1, keepdim=True) - distances)

    def _whitened_patches(self, image: Tensor, scale: int) -> Tensor:
        """Return ``(N, kept, H, W)`` whitened patches, without unfolding them.

        With p the patch, m and s its mean and spread, o the offset and W the whitener:
        W ((p - m) / s - o) = (W p - m W 1) / s - W o.
        """
        spread, step = self._padded_scale(image, scale), 2**scale
        whitener = self.get_buffer("whiteners")[scale].to(image)  # (kept, values)
        shape = (self.in_channels, self.size, self.size)
        kernels = whitener.reshape(-1, *shape)
        even = torch.full((1, *shape), 1 / whitener.shape[1], device=image.device)
        mean = F.conv2d(spread, even, dilation=step)
        square = F.conv2d(spread.square(), even, dilation=step)
        deviation = ((square - mean.square()).clamp(min=0) + _FLAT).sqrt()
        projected = F.conv2d(spread, kernels, dilation=step)
        projected = projected - mean * whitener.sum(dim=1)[:, None, None]
        offset = whitener @ self.get_buffer("offsets")[scale].to(image)
        return projected / deviation - offset[:, None, None]

    def _codes(self, image: Tensor) -> Tensor:
        """Return ``(N, scales · atoms, H, W)`` averaged responses."""
        scales = range(self.scales)
        codes = [self._scale_codes(image, scale) for scale in scales]
        return _averaged(torch.cat(codes, dim=1))

    def patch_features(self, image: Tensor) -> Tensor:
        """Return the ``(N, components, H, W)`` features that are clustered."""
        axes = self.get_buffer("axes").to(image)[:, :, None, None]
        parts = [
            F.conv2d(self._scale_codes(image, scale), part)
            for scale, part in enumerate(axes.chunk(self.scales, dim=1))
        ]
        # averaging a dozen components is cheaper than averaging all responses
        features = _averaged(torch.stack(parts).sum(dim=0))
        return features - self.get_buffer("mean").to(image)[:, None, None]

    def cluster_ids(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the ``(N, H, W)`` ids of the nearest centroids."""
        features = self.patch_features(self.whitened(image)).permute(0, 2, 3, 1)
        ids = assign(features.flatten(0, 2), self.get_buffer("centroids"))
        return ids.reshape(features.shape[:3])

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, K, H, W)``: 1 for the nearest centroid, 0 for the others."""
        ids = self.cluster_ids(image, valid, head)
        return one_hot_planes(ids, self.heads[head], image.dtype)

    def traced_probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return the nearest centroids by a 1×1 convolution with all of them."""
        features = self.patch_features(self.whitened(image))
        ids = prototype_logits(features, self.get_buffer("centroids")).argmax(dim=1)
        return one_hot_planes(ids, self.heads[head], image.dtype)


def _averaged(planes: Tensor) -> Tensor:
    """Average planes over squares of 5 pixels."""
    return F.avg_pool2d(F.pad(planes, (2,) * 4, mode="replicate"), 5, stride=1)


def _principal(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the first principal axes of ``(M, D)`` rows.

    The sign of an axis is that of its largest entry, so that it does not depend on the
    library.
    """
    mean = rows.mean(dim=0)
    centred = rows - mean
    _, vectors = torch.linalg.eigh(centred.T @ centred / max(len(rows) - 1, 1))
    axes = vectors.flip(1).T[:count]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return mean, axes * largest.sign()
