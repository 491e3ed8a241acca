"""Whether two halves of a slide's pixels show the same two stains."""

from __future__ import annotations

from typing import Final

import numpy as np

from wsi_pipeline.errors import StainError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.optical_density import Rgb, select_stained

MAX_HALVES_DEG: Final = 8.0
"""Of 60 slides of 15 sources two lie above it, one with pigment; with blue ink over 5 % of the
pixels, all in one half, every second one does."""


def angle_between_halves_deg(pixels: RgbArray, glass_rgb: Rgb) -> float:
    """Return the larger angle between the stains of the first and the second half, degrees.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (..., 3)
        Tissue pixels in the order of their places on the slide.
    glass_rgb : tuple of int
        Intensity of unstained glass.

    Returns
    -------
    float
        NaN where a half is too poor for a fit.
    """
    flat = pixels.reshape(-1, 3)
    middle = len(flat) // 2
    try:
        first, second = (
            fit_macenko(select_stained(half, glass_rgb)).matrix
            for half in (flat[:middle], flat[middle:])
        )
    except StainError:
        return float("nan")
    cosine = np.clip((first * second).sum(axis=1), -1.0, 1.0)
    return float(np.degrees(np.arccos(cosine)).max())
