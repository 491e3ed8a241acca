"""A color function as a table: any normalizer at the price of one table look-up a pixel.

The 2**24 colors are tabulated in steps of two levels a channel (8 MB); the lowest bit of each
channel is added to the output. That is exact wherever colors pass unchanged and off by half of
(slope - 1) levels elsewhere. The table is filled through a coarse lattice of exact values and
trilinear interpolation (Pillow), so that it costs about 0.1 s a slide however slow the formula is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from wsi_pipeline.geometry import RgbArray

NODES: Final = 33
"""Lattice points an axis, 8 levels apart: 65 would cost eight times as much for no less error."""
_STEPS: Final = 128
_CHUNK_PX: Final = 32_768  # 128 kB of packed pixels: each step below stays in the core's own cache

ColorTable = NDArray[np.uint32]
"""uint32, shape (2**21,): packed blue-green-red of the color with its lowest bits cleared."""


def build_table(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> ColorTable:
    """Tabulate a color function.

    Parameters
    ----------
    function : callable
        float64 (n, 3), 0 to 255 -> float64 (n, 3); values outside 0 to 255 are clipped.
    """
    node = np.linspace(0.0, 255.0, NODES)
    blue, green, red = np.meshgrid(node, node, node, indexing="ij")
    values = function(np.stack([red.ravel(), green.ravel(), blue.ravel()], axis=1))
    lattice = ImageFilter.Color3DLUT(
        NODES, np.clip(values / 255.0, 0.0, 1.0).astype(np.float32).ravel()
    )
    colors = np.asarray(Image.fromarray(_even_colors()).filter(lattice)).reshape(-1, 3)
    # One below the top leaves room for the lowest bit, so that no channel spills into the next.
    channels = np.minimum(colors, 254).astype(np.uint32)
    packed = channels[:, 0] | channels[:, 1] << 8 | channels[:, 2] << 16
    return np.asarray(packed, dtype=np.uint32)


def apply_table(table: ColorTable, rgb: RgbArray) -> RgbArray:
    """Look up every pixel.

    Parameters
    ----------
    table : ndarray of uint32, shape (2**21,)
        From `build_table`.
    rgb : ndarray of uint8, shape (..., 3)
        Colors.

    Returns
    -------
    ndarray of uint8, shape (..., 3)
    """
    source = np.ascontiguousarray(rgb).reshape(-1)
    result = np.empty_like(source).reshape(-1, 3)
    # A pixel is read as four bytes, three of them its own: one spare byte after the last.
    buffer = np.zeros(3 * _CHUNK_PX + 1, dtype=np.uint8)
    for start in range(0, len(result), _CHUNK_PX):
        n = min(_CHUNK_PX, len(result) - start)
        buffer[: 3 * n] = source[3 * start : 3 * (start + n)]
        packed = np.ndarray((n,), "<u4", buffer, 0, (3,)).astype(np.uint32)
        index = (packed & 0x0000FE) >> 1
        index |= (packed & 0x00FE00) >> 2
        index |= (packed & 0xFE0000) >> 3
        value = table.take(index, mode="clip")
        value += packed & 0x010101
        for channel in range(3):
            result[start : start + n, channel] = value >> (8 * channel) & 255
    return result.reshape(rgb.shape)


def _even_colors() -> RgbArray:
    """Return all colors of even levels in the order of the table, as a (2**14, 2**7, 3) picture."""
    level = np.arange(_STEPS, dtype=np.uint8) * 2
    colors = np.empty((_STEPS, _STEPS, _STEPS, 3), dtype=np.uint8)
    colors[..., 0] = level
    colors[..., 1] = level[:, None]
    colors[..., 2] = level[:, None, None]
    return colors.reshape(_STEPS * _STEPS, _STEPS, 3)
