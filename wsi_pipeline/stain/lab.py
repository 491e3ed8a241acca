"""CIELAB, the color space of the two methods that know nothing of stains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from wsi_pipeline.geometry import RgbArray

# IEC 61966-2-1: XYZ (D65) to linear sRGB.
_RGB_FROM_XYZ = np.linalg.inv(
    np.array(
        [
            [0.412453, 0.357580, 0.180423],
            [0.212671, 0.715160, 0.072169],
            [0.019334, 0.119193, 0.950227],
        ]
    )
)


_WHITE_D65 = (0.95047, 1.0, 1.08883)


def lab_from_rgb(rgb: NDArray[np.float64] | RgbArray) -> NDArray[np.float64]:
    """Convert sRGB levels (..., 3), 0 to 255, to CIELAB (D65): L from 0 to 100."""
    return np.asarray(rgb2lab(np.asarray(rgb, dtype=np.float64) / 255.0), dtype=np.float64)


def rgb_from_lab(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert CIELAB to sRGB levels; outside 0 to 255 where the screen cannot show the color.

    Notes
    -----
    scikit-image's own conversion clips; unclipped levels tell how much a normalizer asks too much.
    """
    middle = (np.maximum(lab[..., 0], 0.0) + 16.0) / 116.0
    root = np.stack([middle + lab[..., 1] / 500.0, middle, middle - lab[..., 2] / 200.0], axis=-1)
    xyz = np.where(root > 6 / 29, root**3, (root - 4 / 29) * (108 / 841)) * _WHITE_D65
    linear = xyz @ _RGB_FROM_XYZ.T
    curved = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.asarray(255.0 * np.where(linear > 0.0031308, curved, 12.92 * linear))
