"""Stain that lies on glass beside a section: a wash of eosin, a drop that has dried."""

from __future__ import annotations

from typing import Final

import numpy as np

from wsi_pipeline.geometry import BoolMask, FloatArray, RgbArray
from wsi_pipeline.tissue import morphology
from wsi_pipeline.tissue.planes import strips

SMOOTH_LEVELS: Final = 10
"""Levels of green that glass and a wash of stain span within `REACH_UM` at most."""
REACH_UM: Final = 32.0
MIN_WIDTH_UM: Final = 60.0
"""Half the width that a smooth part has at least: gaps between fibers are smooth too."""
MAX_MEAN_OD: Final = 0.3
"""Mean density of a wash at most; frozen sections are washed in up to 0.1."""
_GLASS_OD = 0.03
_GLASS_COLOR_OD = 0.02


def find_residue(rgb: RgbArray, od: FloatArray, um_px: tuple[float, float]) -> BoolMask:
    """Return glass, and the colored ground that runs out into it without an edge.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        The slide at about 16 µm/px.
    od : ndarray of float32, shape (H, W, 3)
        Its natural-log optical density against glass.
    um_px : tuple of float
        Resolution along (x, y), µm/px.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Of tissue nothing: it has texture, and an edge toward glass.
    """
    green = np.ascontiguousarray(rgb[..., 1])
    size = morphology.box_px(REACH_UM, um_px)
    span = morphology.box_filter(green, size, np.maximum)
    span -= morphology.box_filter(green, size, np.minimum)
    smooth = span <= SMOOTH_LEVELS
    glass = np.empty_like(smooth)
    for rows in strips(smooth.shape):
        red, green_od, blue = (od[rows, :, channel] for channel in range(3))
        densest = np.maximum(np.maximum(red, green_od), blue)
        spread = densest - np.minimum(np.minimum(red, green_od), blue)
        smooth[rows] &= red + green_od + blue < 3 * MAX_MEAN_OD
        glass[rows] = (densest < _GLASS_OD) & (spread < _GLASS_COLOR_OD)
    smooth = morphology.open_strands(smooth, MIN_WIDTH_UM, um_px)
    glass &= smooth
    return morphology.parts_touching(smooth, glass) if glass.any() else glass
