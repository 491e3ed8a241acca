"""Sizes, boxes and resolutions. Geometry speaks (x, y); arrays speak (row, column)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RgbArray = NDArray[np.uint8]
"""uint8, shape (..., 3), red green blue, 0 to 255."""
FloatArray = NDArray[np.float32]
BoolMask = NDArray[np.bool_]
"""bool, shape (H, W), True = inside."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels of the frame that the variable's name states."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 0 or self.height < 0:
            raise ValueError(f"a size cannot be negative, received {self.width} x {self.height}")


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-parallel rectangle in integer pixels: [x, right) by [y, bottom)."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 0 or self.height < 0:
            raise ValueError(f"a box cannot have a negative side, received {self}")

    @property
    def right(self) -> int:
        """First column past the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row past the box."""
        return self.y + self.height

    @property
    def is_empty(self) -> bool:
        """True where the box covers no pixel."""
        return self.width == 0 or self.height == 0

    def intersection(self, other: Box) -> Box:
        """Return the common part, of width or height 0 where there is none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Box(
            x,
            y,
            max(0, min(self.right, other.right) - x),
            max(0, min(self.bottom, other.bottom) - y),
        )


@dataclass(frozen=True, slots=True)
class Mpp:
    """Resolution in µm per pixel, one figure an axis."""

    x: float
    y: float

    def __post_init__(self) -> None:
        for value in (self.x, self.y):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"µm/px must be positive and finite, received {self.x}, {self.y}")

    @property
    def mean(self) -> float:
        """Geometric mean of the axes, µm/px: its square is a pixel's area."""
        return math.sqrt(self.x * self.y)

    @property
    def anisotropy(self) -> float:
        """Ratio of the larger to the smaller axis, >= 1."""
        return max(self.x, self.y) / min(self.x, self.y)
