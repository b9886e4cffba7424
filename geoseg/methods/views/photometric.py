"""Changes of colour, for images of any number of bands."""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError, ShapeError
from geoseg.methods.views import hashing


@dataclass(frozen=True)
class Photometric:
    """Random changes of colour for images of any number of bands in [0, 1].

    In this order: every band is scaled and shifted by itself; brightness scales all
    bands by one factor; contrast scales the distance to the patch's mean; grey scales
    each pixel's distance to its mean over bands; gamma bends; then blur, noise, and
    dropped bands (set to the patch's mean of the band). A strength ``s`` stands for
    factors drawn evenly from ``[1 - s, 1 + s]``. The result is clipped to [0, 1].

    Attributes:
        brightness: Strength in [0, 1].
        contrast: Strength in [0, 1].
        grey: Strength in [0, 1]; what saturation is for RGB.
        gain: Strength in [0, 1], per band.
        offset: Per band, drawn from ``[-offset, offset]``.
        gamma: The exponent is ``exp`` of a number from ``[-gamma, gamma]``.
        drop: Probability in [0, 1] of dropping a band; one always stays.
        blur: Largest standard deviation of a Gaussian blur, in pixels.
        noise: Largest standard deviation of normal noise.

    Raises:
        ParameterError: If a strength is negative, or above 1 where that is the limit.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    grey: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    gamma: float = 0.0
    drop: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = math.inf if field.name in ("gamma", "blur", "noise") else 1.0
            if not 0 <= value <= most or not math.isfinite(value):
                limit = "at least 0" if most > 1 else "in [0, 1]"
                raise ParameterError(f"{field.name} is {value}, expected {limit}")

    @classmethod
    def of_strength(
        cls,
        strength: float,
        *,
        gain: float = 0.0,
        drop: float = 0.0,
        blur: float = 0.0,
        noise: float = 0.0,
    ) -> "Photometric":
        """Return the colour changes of one strength in [0, 1]; 0.1 is IIC's on Potsdam.

        Brightness, contrast, grey and gamma of that strength; gain and offset, which
        the published jitter lacks, of half and a quarter.

        Args:
            strength: In [0, 1].
            gain: Takes the place of half the strength if larger; the offset of half of
                it goes along.
            drop: As the attribute.
            blur: As the attribute.
            noise: As the attribute.
        """
        gain = max(gain, strength / 2)
        return cls(
            brightness=strength,
            contrast=strength,
            grey=strength,
            gain=gain,
            offset=gain / 2,
            gamma=strength,
            drop=drop,
            blur=blur,
            noise=noise,
        )

    def __call__(
        self,
        image: Tensor,
        valid: Tensor,
        index: Tensor,
        *,
        epoch: int,
        seed: int,
        stream: int = 0,
        channels: int | None = None,
    ) -> Tensor:
        """Change the colours of a batch.

        Args:
            image: ``(N, C, H, W)`` float in [0, 1].
            valid: ``(N, H, W)`` bool; other pixels keep their fill value.
            index: ``(N,)`` long, number of each patch within its epoch.
            epoch: Number of the epoch.
            seed: Of the run.
            stream: Number of the view, where several are drawn.
            channels: Change the first so many channels alone, where others (Sobel)
                follow that are no colours. Default: all.

        Returns:
            ``(N, C, H, W)`` of the image's dtype. Without strengths the image itself.

        Raises:
            ShapeError: If the shapes do not belong together.
        """
        n, _, h, w = image.shape
        if valid.shape != (n, h, w) or index.shape != (n,):
            raise ShapeError(
                f"valid has shape {tuple(valid.shape)} and index {tuple(index.shape)}, "
                f"expected {(n, h, w)} and {(n,)} beside an image of shape "
                f"{tuple(image.shape)}"
            )
        if self == Photometric():
            return image
        bands, rest = image[:, :channels], image[:, image[:, :channels].shape[1] :]
        keep = valid.unsqueeze(1)
        states = {
            use: hashing.states(index, epoch=epoch, seed=seed, view=stream, use=use)
            for use in (hashing.COLOR, hashing.DROP, hashing.NOISE)
        }
        changed = self._recolor(bands.float(), keep, states[hashing.COLOR])
        changed = self._degrade(changed, keep, states)
        changed = torch.where(keep, changed.to(image.dtype), bands)
        return torch.cat([changed, rest], dim=1) if rest.shape[1] else changed

    def _recolor(self, x: Tensor, keep: Tensor, states: Tensor) -> Tensor:
        """Apply the point-wise changes, all affine but gamma."""
        n, c = x.shape[:2]
        draws = 2 * hashing.uniform(states, 4 + 2 * c) - 1  # (N, 4 + 2 C) in [-1, 1)
        brightness, contrast, grey, gamma = draws[:, :4].t().reshape(4, n, 1, 1, 1)
        gain, offset = (
            draws[:, 4:].t().reshape(2, c, n).transpose(1, 2)[..., None, None]
        )
        x = x * (1 + self.gain * gain) + self.offset * offset
        x = x * (1 + self.brightness * brightness)
        if self.contrast:
            mean = _mean(x, keep).mean(1, keepdim=True)
            x = mean + (1 + self.contrast * contrast) * (x - mean)
        if self.grey:
            mean = x.mean(1, keepdim=True)
            x = mean + (1 + self.grey * grey) * (x - mean)
        x = x.clamp(0, 1)
        return x ** (self.gamma * gamma).exp() if self.gamma else x

    def _degrade(self, x: Tensor, keep: Tensor, states: dict[int, Tensor]) -> Tensor:
        """Blur, add noise and drop bands, where asked for."""
        n, c, h, w = x.shape
        strengths = hashing.uniform(states[hashing.DROP], 3 + c)
        if self.blur:
            x = _blur(x, keep, self.blur * strengths[:, 0], math.ceil(3 * self.blur))
        if self.noise:
            normal = hashing.normal(states[hashing.NOISE], c * h * w).view(n, c, h, w)
            x = (x + self.noise * strengths[:, 1].view(n, 1, 1, 1) * normal).clamp(0, 1)
        if self.drop:
            drop = strengths[:, 3:] < self.drop  # (N, C)
            stays = (strengths[:, 2] * c).long().clamp(max=c - 1)
            drop = drop & ~F.one_hot(stays, c).bool()
            x = torch.where(drop[..., None, None], _mean(x, keep), x)
        return x


def _mean(x: Tensor, keep: Tensor) -> Tensor:
    """Return ``(N, C, 1, 1)`` means over valid pixels, 0 where there are none."""
    count = keep.sum((2, 3), keepdim=True).clamp(min=1)
    return (x * keep).sum((2, 3), keepdim=True) / count


def _blur(x: Tensor, keep: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each patch by its own ``(N,)`` sigma; invalid pixels weigh nothing."""
    n, c, h, w = x.shape
    d = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(d**2) / (2 * sigma.clamp(min=1e-3)[:, None] ** 2))
    kernel = kernel / kernel.sum(1, keepdim=True)
    weight = keep.to(x.dtype)
    stack = torch.cat([x * weight, weight], dim=1).reshape(1, n * (c + 1), h, w)
    kernel = kernel.repeat_interleave(c + 1, 0)[:, None]  # (N (C+1), 1, 2r+1)
    stack = F.conv2d(stack, kernel[..., None], padding=(radius, 0), groups=n * (c + 1))
    stack = F.conv2d(stack, kernel[:, :, None], padding=(0, radius), groups=n * (c + 1))
    stack = stack.view(n, c + 1, h, w)
    return stack[:, :c] / stack[:, c:].clamp(min=torch.finfo(x.dtype).tiny)
