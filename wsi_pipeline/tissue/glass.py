"""The color of empty glass on a slide."""

from __future__ import annotations

import math

import numpy as np

from wsi_pipeline.geometry import BoolMask, RgbArray

MIN_GLASS_SHARE = 0.005
"""Share of the scanned pixels that have to agree on a color before it is called glass."""
_DARKEST_GLASS = 150
_WIDEST_TINT = 30
_PINK_MARGIN = 6
_BIN = 4
_ENOUGH_PX = 250_000  # a color held by 0.5 % of these is held by more than a thousand


def estimate_glass(
    thumbnail: RgbArray, background_rgb: tuple[int, int, int] = (255, 255, 255)
) -> tuple[int, int, int]:
    """Return the color of empty glass: the commonest bright color without a stain's tint.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        Any picture of the slide, tissue included.
    background_rgb : tuple of int
        What the reader paints where nothing was scanned; also the answer where no glass is seen.

    Returns
    -------
    tuple of int
        Red, green, blue.

    Notes
    -----
    Lamps and scanners tint glass grey, yellow or blue, never pink: both stains of H&E absorb green
    most. So a pixel whose green is the lowest channel is tissue, however pale, and a slide that is
    all pale tissue does not pass for glass. Unscanned fill is left out while anything else is
    there: it is often whiter than the glass beside it.
    """
    every = max(1, math.isqrt(thumbnail.size // 3 // _ENOUGH_PX))
    pixels = thumbnail[::every, ::every].reshape(-1, 3)
    unscanned = same_color(pixels, background_rgb)
    red, green, blue = (pixels[:, channel].astype(np.int16) for channel in range(3))
    brightest = np.maximum(np.maximum(red, green), blue)
    darkest = np.minimum(np.minimum(red, green), blue)
    candidate = (darkest >= _DARKEST_GLASS) & (brightest - darkest <= _WIDEST_TINT)
    candidate &= ~unscanned & (np.minimum(red, blue) - green <= _PINK_MARGIN)
    glass = pixels[candidate]
    if len(glass) == 0:
        return background_rgb
    side = 256 // _BIN
    coarse = (glass // _BIN).astype(np.intp)
    code = (coarse[:, 0] * side + coarse[:, 1]) * side + coarse[:, 2]
    mode = np.bincount(code).argmax()
    members = glass[code == mode]
    if len(members) < MIN_GLASS_SHARE * max(int((~unscanned).sum()), 1):
        return background_rgb
    r, g, b = np.median(members, axis=0).round().astype(int)
    return (int(r), int(g), int(b))


def same_color(rgb: RgbArray, color: tuple[int, int, int]) -> BoolMask:
    """Return True where a pixel has exactly the color, shape (...)."""
    red, green, blue = color
    same = (rgb[..., 0] == red) & (rgb[..., 1] == green) & (rgb[..., 2] == blue)
    return np.asarray(same, dtype=bool)
