"""Synthetic stained pixels: known stains in known amounts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import RgbArray

PixelMaker = Callable[..., RgbArray]

H_AND_E = ((0.55, 0.73, 0.41), (0.13, 0.84, 0.52))


def unit(vectors: object) -> NDArray[np.float64]:
    matrix = np.asarray(vectors, dtype=np.float64)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def mix(
    vectors: object = H_AND_E, *, strength: tuple[float, float] = (1.6, 1.2), n: int = 20_000
) -> RgbArray:
    """Return n pixels: nuclei of the first stain, fibers of the second, few mixtures, on white."""
    rng = np.random.default_rng(7)
    amounts = rng.random((n, 2)) * strength
    kind = rng.random(n)
    amounts[kind < 0.4, 1] = 0
    amounts[kind > 0.6, 0] = 0
    light = 255 * np.exp(-amounts @ unit(vectors))
    return np.asarray(np.clip(np.rint(light), 0, 255), dtype=np.uint8)
