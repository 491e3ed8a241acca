"""Structures that are drawn one by one: lobules, ducts and vessels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.demo.scene import COARSE_PX, MPP, Scene
from wsi_pipeline.geometry import BoolMask, FloatArray

Codes = NDArray[np.uint8]
"""uint8 (height, width): which structure is at a pixel, 0 none."""
LUMEN, EPITHELIUM, LOBULE, BLOOD = 1, 2, 3, 4


def draw_structures(scene: Scene, rng: np.random.Generator) -> Codes:
    """Return the lobules, ducts and vessels of a scene as codes, uint8 (height, width)."""
    canvas = np.zeros((scene.size_px.height, scene.size_px.width), np.uint8)
    mm2 = canvas.size * (MPP / 1e3) ** 2
    stroma = (scene.tissue > 5) & (scene.tumor < -7) & (scene.fat < -0.15)
    for x, y in _places(stroma, round(0.13 * mm2), rng):
        _draw_lobule(canvas, x, y, rng)
    for x, y in _places(stroma, round(0.06 * mm2), rng):
        _draw_ring(canvas, x, y, radius=rng.uniform(10, 34), wall=rng.uniform(4.5, 7), rng=rng)
    for x, y in _places((scene.tissue > 3) & (scene.tumor < -3), round(0.05 * mm2), rng):
        _draw_blob(canvas, x, y, radius=rng.uniform(4, 14), code=BLOOD, rng=rng)
    return canvas


def _places(allowed: BoolMask, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return up to `count` random pixel positions (x, y) in cells where something may be drawn."""
    cells = np.argwhere(allowed)
    if not len(cells):
        return np.zeros((0, 2), np.int64)
    chosen = cells[rng.integers(0, len(cells), count)]
    return (chosen[:, ::-1] * COARSE_PX + rng.integers(0, COARSE_PX, (count, 2))).astype(np.int64)


def _draw_lobule(canvas: Codes, x: int, y: int, rng: np.random.Generator) -> None:
    """Draw a cluster of acini in its pale stroma."""
    radius = rng.uniform(28, 75)
    _draw_blob(canvas, x, y, radius=radius, code=LOBULE, rng=rng)
    for _ in range(int(0.011 * radius**2 * rng.uniform(0.6, 1.0))):
        angle, reach = rng.uniform(0, 2 * np.pi), radius * 0.9 * np.sqrt(rng.random())
        near = (int(x + reach * np.cos(angle)), int(y + reach * np.sin(angle)))
        _draw_ring(canvas, *near, radius=rng.uniform(5, 8), wall=rng.uniform(4, 6), rng=rng)


def _draw_ring(
    canvas: Codes, x: int, y: int, *, radius: float, wall: float, rng: np.random.Generator
) -> None:
    """Draw a gland: a ring of epithelium around a lumen."""
    window, distance = _window(canvas, x, y, radius, rng)
    window[distance < 1] = EPITHELIUM
    window[distance < 1 - wall / radius] = LUMEN


def _draw_blob(
    canvas: Codes, x: int, y: int, *, radius: float, code: int, rng: np.random.Generator
) -> None:
    window, distance = _window(canvas, x, y, radius, rng)
    window[distance < 1] = code


def _window(
    canvas: Codes, x: int, y: int, radius: float, rng: np.random.Generator
) -> tuple[Codes, FloatArray]:
    """Return a view of the canvas around a point, and the distance from it in (wobbly) radii."""
    reach = int(radius * 1.8) + 1
    top, left = max(y - reach, 0), max(x - reach, 0)
    window = canvas[top : y + reach, left : x + reach]
    dy, dx = np.ogrid[top - y : top - y + window.shape[0], left - x : left - x + window.shape[1]]
    angle = np.arctan2(dy, dx)
    outline = np.ones_like(angle)
    for order, strength in ((2, 0.26), (3, 0.13), (5, 0.06)):
        outline += rng.normal(0, strength) * np.cos(order * angle + rng.uniform(0, 6.28))
    return window, (np.hypot(dy, dx) / (radius * np.clip(outline, 0.4, 1.7))).astype(np.float32)
