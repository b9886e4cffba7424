"""Probe: a linear or nearest-neighbour classifier of a model's frozen features."""

from collections.abc import Iterator
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.patches import IGNORE
from geoseg.methods.bases.classes import ClassMethod
from geoseg.methods.bases.method import Batches, Start
from geoseg.methods.networks import TRUNKS
from geoseg.methods.networks.gradients import SobelMode
from geoseg.methods.networks.heads import PixelHead, softmax, upsample
from geoseg.methods.pixels import draw_pixels, one_hot_planes

Kind = Literal["linear", "knn"]

#: Number of features whose neighbours are searched at once; bounds the memory.
_CHUNK = 4096
#: Differences smaller than this, of a feature that hardly varies, are not blown up.
_LEAST_SPREAD = 1e-6


class Probe(ClassMethod):
    """Classifies the frozen features of a trained model, to measure their quality.

    ``kind=linear`` is multinomial logistic regression with an L2 penalty; ``kind=knn``
    lets the nearest labelled pixels vote, by the cosine of their features. Both see
    single features of the trunk as the model left it, scaled to mean 0 and variance 1
    over the labelled pixels; neither moves any of its weights. They are fitted once, on
    labelled pixels drawn evenly from the patches of the matching tiles.

    Differs from what is usual: the votes' features are centred and scaled before the
    cosine is taken. Those of a ReLU all point into one corner of the space, where raw
    cosines hardly differ.

    Logs nothing: there are no steps.

    Label-free choice of a checkpoint: nothing to choose.

    Args:
        in_channels: Channels of the image.
        kind: Logistic regression, or nearest neighbours.
        trunk: Network that computes the features; it must be the model's.
        width: Width of the trunk; it must be the model's.
        classes: Number of classes C; by default that of the labels.
        penalty: Factor of the squared weights of the regression, added to the mean loss.
        neighbours: Number of nearest pixels that vote for a pixel.
        temperature: Weight of a vote: ``exp(cosine / temperature)``.
        pixels: Largest number of labelled pixels that the regression sees.
        bank: Largest number of labelled pixels that can be neighbours.
        sobel: Gradient channels; they must be the model's.
        seed: Seed of the choice of pixels.

    References:
        Alain, Bengio. Understanding Intermediate Layers Using Linear Classifier Probes.
        2016. https://arxiv.org/abs/1610.01644. Wu, Xiong, Yu, Lin. Unsupervised Feature
        Learning via Non-Parametric Instance Discrimination. CVPR 2018, section 3.4.
        https://arxiv.org/abs/1805.01978
    """

    gradient = False
    start: ClassVar[Start] = "must"
    label_free_choice = "nothing to choose"
    choices = {
        "kind": get_args(Kind),
        "trunk": tuple(TRUNKS),
        "sobel": get_args(SobelMode),
    }

    def __init__(
        self,
        in_channels: int,
        *,
        kind: str = "linear",
        trunk: str = "vgg",
        width: int = 16,
        classes: int = 2,
        penalty: float = 1e-4,
        neighbours: int = 20,
        temperature: float = 0.07,
        pixels: int = 65536,
        bank: int = 4096,
        sobel: str = "none",
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        if kind not in get_args(Kind):
            raise ParameterError(f"kind is {kind!r}, expected one of {get_args(Kind)}")
        _check_numbers(penalty, temperature, neighbours, bank, pixels)
        self.jumps = kind == "knn"  # who the last of the neighbours is
        self.kind, self.penalty, self.pixels, self.seed = kind, penalty, pixels, seed
        self.neighbours, self.temperature, self.bank = neighbours, temperature, bank
        self.build(classes, trunk=trunk, width=width, sobel=sobel)
        depth = self.trunk.out_channels
        if kind == "linear":
            self.head = PixelHead(depth, classes)
        else:
            self.register_buffer("mean", torch.zeros(depth))
            self.register_buffer("spread", torch.ones(depth))
            # of unit length; IGNORE fills what too few labelled pixels leave empty
            self.register_buffer("keys", torch.zeros(bank, depth))
            self.register_buffer("votes", torch.full((bank,), IGNORE))

    def finish(self, batches: Batches) -> None:
        """Fit the classifier on labelled pixels of the patches as they are."""
        self.eval()
        most = self.pixels if self.kind == "linear" else self.bank
        with torch.no_grad():
            rows, labels = draw_pixels(self._labelled(batches), most, seed=self.seed)
        if not len(rows):
            raise TrainingError(
                "no pixel of the training patches has a label and data, expected some "
                "to learn from: check the labels and the nodata rule (--nodata)"
            )
        mean = rows.mean(0)
        spread = rows.std(0, unbiased=False).clamp(min=_LEAST_SPREAD)
        rows = (rows - mean) / spread
        if self.kind == "linear":
            weights, bias = fit_logistic(
                rows, labels, self.heads["classes"], penalty=self.penalty
            )
            self._set_head(weights / spread, bias - weights @ (mean / spread).double())
        else:
            self._set_bank(mean, spread, F.normalize(rows, dim=1), labels)

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, C, H, W)`` class probabilities."""
        features, size = self.features(image, valid), (image.shape[2], image.shape[3])
        if self.kind == "linear":
            return softmax(upsample(self.head(features), size))
        return upsample(self._vote(features), size)

    def traced_probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return class probabilities; all features look for neighbours at once."""
        if self.kind == "linear":
            return self.probabilities(image, valid, head)
        features, size = self.features(image, valid), (image.shape[2], image.shape[3])
        return upsample(self._vote(features, chunk=None), size)

    def _labelled(self, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the features of labelled pixels at full size, patch by patch."""
        for batch in batches():
            size = (batch.image.shape[2], batch.image.shape[3])
            for n in range(len(batch)):
                one = slice(n, n + 1)
                known = batch.valid[one] & (batch.mask[one] != IGNORE)
                features = self.features(batch.image[one], batch.valid[one])
                # Bilinear, as logits are: a linear classifier sees what it will predict.
                rows = upsample(features, size).permute(0, 2, 3, 1)[known]
                yield rows, batch.mask[one][known]

    @torch.no_grad()
    def _set_head(self, weights: Tensor, bias: Tensor) -> None:
        convolution = self.head.convolution
        convolution.weight.copy_(weights[:, :, None, None])
        assert convolution.bias is not None
        convolution.bias.copy_(bias)

    def _set_bank(
        self, mean: Tensor, spread: Tensor, keys: Tensor, labels: Tensor
    ) -> None:
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("spread").copy_(spread)
        self.get_buffer("keys").zero_()[: len(keys)] = keys.to(self.get_buffer("keys"))
        self.get_buffer("votes").fill_(IGNORE)[: len(labels)] = labels

    def _vote(self, features: Tensor, chunk: int | None = _CHUNK) -> Tensor:
        """Return ``(N, C, h, w)`` shares of the votes of ``(N, D, h, w)`` features.

        Args:
            features: Of the trunk.
            chunk: How many look for their neighbours at once; None for all.
        """
        n, depth, h, w = features.shape
        keys, votes = self.get_buffer("keys"), self.get_buffer("votes")
        classes = self.heads["classes"]
        known = votes != IGNORE
        table = one_hot_planes(
            votes.masked_fill(~known, 0)[None, None], classes, keys.dtype
        )[
            0, :, 0
        ].t()  # (bank, C)
        rows = features.float().permute(0, 2, 3, 1).reshape(-1, depth)
        rows = (rows - self.get_buffer("mean")) / self.get_buffer("spread")
        neighbours = min(self.neighbours, max(int(known.sum()), 1))
        rows = F.normalize(rows, dim=1)
        shares = []
        for part in (rows,) if chunk is None else torch.split(rows, chunk):
            cosines = (part @ keys.t()).masked_fill(~known, -2.0)
            nearest, which = cosines.topk(neighbours, dim=1)
            weights = (nearest / self.temperature).softmax(dim=1)
            shares.append((weights[:, :, None] * table[which]).sum(1))
        return torch.cat(shares).view(n, h, w, classes).permute(0, 3, 1, 2)


def fit_logistic(
    rows: Tensor, labels: Tensor, classes: int, *, penalty: float
) -> tuple[Tensor, Tensor]:
    """Fit multinomial logistic regression by L-BFGS from zeros.

    Minimises the mean cross-entropy plus ``penalty / 2`` times the sum of the squared
    weights; the bias is free. The minimum is the only one, up to a number added to
    every class's bias.

    Args:
        rows: ``(M, D)`` float features of about equal scale.
        labels: ``(M,)`` long in [0, C).
        classes: ``C``.
        penalty: At least 0; above it the minimum exists even where the classes can be
            told apart without error.

    Returns:
        ``(C, D)`` weights and ``(C,)`` bias, float64.
    """
    rows = rows.double()
    weights = rows.new_zeros(classes, rows.shape[1]).requires_grad_()
    bias = rows.new_zeros(classes).requires_grad_()
    optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
        [weights, bias],
        max_iter=500,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(rows @ weights.t() + bias, labels)
        loss = loss + penalty / 2 * weights.square().sum()
        torch.autograd.backward(loss)
        return float(loss.detach())

    with torch.enable_grad():
        optimizer.step(closure)
    return weights.detach(), bias.detach()


def _check_numbers(
    penalty: float, temperature: float, neighbours: int, bank: int, pixels: int
) -> None:
    if penalty < 0 or temperature <= 0:
        raise ParameterError(
            f"penalty is {penalty} and temperature {temperature}, expected at least 0 "
            "and more than 0"
        )
    if not 1 <= neighbours <= bank or pixels < 1:
        raise ParameterError(
            f"neighbours is {neighbours}, bank {bank} and pixels {pixels}, expected 1 or "
            "more, and neighbours enough in the bank"
        )
