"""Downsamples of pyramid levels, corrected for the rounding of level sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wsi_pipeline.geometry import Size


def corrected_downsamples(level_sizes: Sequence[Size]) -> tuple[tuple[float, float], ...]:
    """Return level-0 px per level px along (x, y) for every level.

    Writers shrink by a whole number and drop or add a part of a pixel at the right and bottom
    edges, so that the ratio of the sizes (OpenSlide's "downsample") says 16.0009 for 16 and reads
    drift toward the far corner. A whole number is restored wherever one explains the sizes of both
    axes to less than a pixel; otherwise each axis keeps the ratio of its sizes.
    """
    first = level_sizes[0]
    return tuple(_downsample(first, size) for size in level_sizes)


def _downsample(size_l0: Size, size_level: Size) -> tuple[float, float]:
    pairs = ((size_l0.width, size_level.width), (size_l0.height, size_level.height))
    # |level - l0/n| < 1 on both axes, solved for n
    low = max(l0 / (level + 1) for l0, level in pairs)
    high = min(l0 / (level - 1) if level > 1 else math.inf for l0, level in pairs)
    ratio = max((l0 / level for l0, level in pairs), default=1.0)
    # a level of a few px fits several numbers: pyramids step by powers of two
    candidates = [2 ** round(math.log2(ratio)), round(ratio), math.floor(low) + 1]
    for n in candidates:
        if low < n < high:
            return (float(n), float(n))
    return (size_l0.width / size_level.width, size_l0.height / size_level.height)
