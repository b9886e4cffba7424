"""Encoding of images for a page: small, and the same bytes for the same pixels."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.report.contents import Outline, Picture

#: Longer sides of pictures in pixels: they bound the size of a page.
PANEL_SIDE, LARGE_SIDE, PLACE_SIDE = 320, 640, 72
#: Quality of photographs; above it they grow faster than they improve.
JPEG_QUALITY = 82


def data_uri(pixels: NDArray[Any], *, side: int, flat: bool = False) -> str:
    """Encode an image for a page.

    Args:
        pixels: ``(H, W, 3)`` float in [0, 1].
        side: The longer side is reduced to so many pixels if it has more.
        flat: Few colours (a cluster map): PNG with a palette, nearest neighbours when
            reduced; else JPEG.

    Returns:
        ``data:image/…;base64,…``.
    """
    from PIL import Image

    whole = np.round(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    image = Image.fromarray(whole)
    scale = side / max(image.size)
    if scale < 1:
        width, height = (max(1, round(length * scale)) for length in image.size)
        how = Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS
        image = image.resize((width, height), how)
    buffer = BytesIO()
    if flat:
        image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode()}"


def picture(
    pixels: NDArray[Any],
    *,
    side: int,
    alt: str,
    caption: str = "",
    note: str = "",
    flat: bool = False,
    outlines: Sequence[Outline] = (),
) -> Picture:
    """Encode an image and keep its words; see :func:`data_uri` and :class:`Picture`."""
    height, width = pixels.shape[:2]
    uri = data_uri(pixels, side=side, flat=flat)
    return Picture(uri, width, height, alt, caption, note, flat, outlines)
