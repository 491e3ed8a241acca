"""Lengths for scale bars."""

from __future__ import annotations

import math


def nice_length_mm(longest_mm: float) -> float:
    """Return the greatest of 1, 2, 5 times a power of ten that is at most `longest_mm`."""
    if not longest_mm > 0:
        raise ValueError(f"expected a length above 0, received {longest_mm}")
    decade = 10.0 ** math.floor(math.log10(longest_mm) + 1e-12)
    leading = longest_mm / decade * (1 + 1e-12)
    return decade * max(step for step in (1, 2, 5) if step <= leading)


def length_label(length_mm: float) -> str:
    """Return "2 mm", "500 µm"."""
    return f"{length_mm:g} mm" if length_mm >= 1 else f"{length_mm * 1000:g} µm"
