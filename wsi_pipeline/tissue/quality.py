"""Quality flags of patches."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import RgbArray


class QualityFlag(IntFlag):
    """Why a cell's probability deserves doubt."""

    OUT_OF_FOCUS = 1
    PEN = 2
    FOLD = 4
    BLANK = 8
    SATURATED = 16
    UNREADABLE = 32


def patch_flags(patches: RgbArray, um_px: float) -> NDArray[np.uint8]:
    """Return flags of each patch, uint8 (N,)."""
    return np.zeros(len(patches), np.uint8)
