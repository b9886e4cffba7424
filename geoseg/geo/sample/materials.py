"""Reflectances of surfaces in WorldView-3's eight bands.

They are per mille, rounded from published curves of similar materials. Roofs share colours
with the ground on purpose, as in a real desert town: tan tiles have the colour of bare
soil, dark membranes that of new asphalt, shingles that of old asphalt, concrete tiles that
of driveways.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Bands in file order.
BANDS = ("coastal", "blue", "green", "yellow", "red", "red_edge", "nir", "nir2")

OTHER, BUILDING, ROAD, VEGETATION = 0, 1, 2, 3


class Material(NamedTuple):
    """A surface material.

    Attributes:
        reflectance: Per mille in each of :data:`BANDS`.
        grain: Amplitude of the pixel-to-pixel texture, in 1/1024 of the reflectance.
        patchiness: Amplitude of the smooth texture over metres, likewise.
    """

    reflectance: tuple[int, ...]
    grain: int
    patchiness: int


MATERIALS = {
    # ground
    "soil": Material((108, 146, 214, 267, 301, 324, 352, 366), 38, 200),
    "gravel": Material((92, 116, 162, 196, 218, 238, 262, 272), 55, 110),
    "red_gravel": Material((84, 106, 154, 214, 250, 276, 310, 322), 55, 90),
    "track": Material((128, 172, 248, 305, 342, 366, 392, 404), 22, 90),
    "new_asphalt": Material((56, 60, 66, 69, 72, 76, 81, 85), 16, 60),
    "old_asphalt": Material((86, 95, 110, 118, 125, 131, 137, 141), 19, 90),
    "concrete": Material((196, 236, 290, 320, 336, 348, 362, 368), 16, 80),
    "paint": Material((230, 285, 325, 340, 348, 352, 356, 356), 49, 160),
    "wall": Material((130, 165, 225, 268, 294, 312, 334, 344), 16, 60),
    "pool": Material((200, 275, 255, 150, 66, 44, 24, 18), 22, 60),
    "court": Material((70, 105, 150, 125, 105, 110, 120, 125), 8, 40),
    # plants
    "lawn": Material((34, 44, 90, 80, 56, 205, 420, 432), 38, 190),
    "dry_lawn": Material((66, 86, 142, 166, 172, 236, 330, 344), 44, 190),
    "crown": Material((25, 31, 60, 52, 40, 148, 345, 358), 157, 60),
    "olive": Material((36, 46, 78, 76, 70, 145, 270, 282), 142, 60),
    "shrub": Material((62, 80, 118, 130, 134, 188, 262, 274), 120, 60),
    # roofs
    "roof_white": Material((470, 550, 610, 632, 642, 645, 640, 630), 9, 50),
    "roof_concrete": Material((200, 240, 296, 328, 344, 356, 370, 376), 33, 50),
    "roof_red": Material((62, 78, 118, 188, 232, 262, 308, 322), 38, 50),
    "roof_tan": Material((107, 145, 213, 266, 302, 327, 354, 368), 38, 60),
    "roof_brown": Material((80, 98, 136, 172, 194, 214, 244, 256), 44, 50),
    "roof_shingle": Material((90, 99, 114, 122, 129, 135, 142, 146), 38, 50),
    "roof_dark": Material((58, 63, 69, 72, 75, 79, 85, 89), 19, 90),
    "roof_metal": Material((270, 305, 330, 336, 336, 330, 318, 308), 9, 30),
    # small things
    "machine": Material((230, 260, 290, 300, 304, 300, 292, 284), 33, 0),
    "skylight": Material((380, 420, 450, 455, 455, 450, 440, 430), 11, 0),
    "solar": Material((44, 48, 46, 42, 42, 46, 62, 70), 11, 30),
    "glass": Material((40, 44, 46, 46, 46, 48, 52, 54), 8, 0),
    "car_white": Material((470, 530, 570, 580, 585, 585, 580, 575), 11, 0),
    "car_silver": Material((200, 225, 245, 250, 252, 252, 250, 248), 11, 0),
    "car_black": Material((38, 40, 42, 42, 43, 46, 52, 54), 11, 0),
    "car_red": Material((45, 48, 52, 110, 260, 310, 330, 335), 11, 0),
    "car_blue": Material((85, 115, 90, 60, 50, 60, 110, 130), 11, 0),
}

NAMES = tuple(MATERIALS)
#: Code of each material in rasters of materials.
CODES = {name: code for code, name in enumerate(NAMES)}

REFLECTANCE: npt.NDArray[np.int64] = np.array(
    [MATERIALS[name].reflectance for name in NAMES], dtype=np.int64
)
GRAIN: npt.NDArray[np.int64] = np.array(
    [MATERIALS[name].grain for name in NAMES], dtype=np.int64
)
PATCHINESS: npt.NDArray[np.int64] = np.array(
    [MATERIALS[name].patchiness for name in NAMES], dtype=np.int64
)
