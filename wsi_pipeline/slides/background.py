"""What lies beyond a slide: its background color."""

from __future__ import annotations

import numpy as np

from wsi_pipeline.geometry import Box, RgbArray, Size


def blank(size: Size, rgb: tuple[int, int, int]) -> RgbArray:
    """Return a picture of one color: made row by row, since numpy copies triples slowly."""
    row = np.tile(np.array(rgb, np.uint8), size.width)
    return np.tile(row, size.height).reshape(size.height, size.width, 3)


def on_background(
    pixels: RgbArray, inside: Box, box: Box, background_rgb: tuple[int, int, int]
) -> RgbArray:
    """Return a picture of `box` that holds `pixels` at `inside` and the background elsewhere.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (inside.height, inside.width, 3)
        Returned as they are where `inside` is all of `box`.
    inside, box : Box
        In one frame; `inside` lies within `box` or is empty.
    background_rgb : tuple of int
        The slide's background color.
    """
    if inside == box:
        return pixels
    out = blank(Size(box.width, box.height), background_rgb)
    if not inside.is_empty:
        y, x = inside.y - box.y, inside.x - box.x
        out[y : y + inside.height, x : x + inside.width] = pixels
    return out
