"""Views of a patch: turned, mirrored, warped, cropped, recoloured.

All chance is keyed by ``(seed, epoch, index, stream)`` through a counter-based hash: a
patch has the same view whatever batch, order or process it comes in, and nothing
touches torch's random state. Turns, mirrors and warps have an exact inverse.
"""

from geoseg.views.affine import Affine, invert_affine, warp, warp_valid
from geoseg.views.crops import Crop, check_crop
from geoseg.views.geometric import GeometricView
from geoseg.views.photometric import Photometric
from geoseg.views.symmetries import (
    apply_symmetry,
    draw_symmetries,
    invert_symmetry,
)

__all__ = [
    "Affine",
    "Crop",
    "GeometricView",
    "Photometric",
    "apply_symmetry",
    "check_crop",
    "draw_symmetries",
    "invert_affine",
    "invert_symmetry",
    "warp",
    "warp_valid",
]
