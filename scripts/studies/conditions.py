"""What slides suffer between glass and file: other stains, light and focus, JPEG."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.learning.training.changed_copies import blurred, jpeg, levels
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.optical_density import optical_density, rgb_from_od, select_stained
from wsi_pipeline.stain.vectors import least_squares_amounts
from wsi_pipeline.tissue import estimate_glass

Condition = Callable[[RgbArray], RgbArray]
"""Patches of one patient, uint8 (N, side, side, 3) -> the same patches changed."""


def stains_scaled(hematoxylin: float, eosin: float, patches: RgbArray) -> RgbArray:
    """Scale the patient's two stains by its own Macenko vectors; what they do not explain stays."""
    pixels = patches.reshape(-1, 3)
    glass = estimate_glass(pixels[None])
    matrix = fit_macenko(select_stained(pixels, glass)).matrix
    od = optical_density(patches, glass)
    amounts = np.maximum(least_squares_amounts(od, matrix), 0.0)
    return levels(rgb_from_od(od + amounts * (hematoxylin - 1, eosin - 1) @ matrix, glass))


def lit(factor: float, patches: RgbArray) -> RgbArray:
    """Make the lamp stronger or weaker."""
    return levels(patches * factor)


CONDITIONS: dict[str, Condition] = {
    "as stored": lambda patches: patches,
    "hematoxylin x 0.7": partial(stains_scaled, 0.7, 1.0),
    "hematoxylin x 1.4": partial(stains_scaled, 1.4, 1.0),
    "eosin x 0.7": partial(stains_scaled, 1.0, 0.7),
    "eosin x 1.4": partial(stains_scaled, 1.0, 1.4),
    "both x 0.7": partial(stains_scaled, 0.7, 0.7),
    "both x 1.4": partial(stains_scaled, 1.4, 1.4),
    "light x 0.85": partial(lit, 0.85),
    "light x 1.1": partial(lit, 1.1),
    "blur, sigma 0.7 px": partial(blurred, 0.7),
    "blur, sigma 1.2 px": partial(blurred, 1.2),
    "JPEG 92 4:2:2": partial(jpeg, 92, "4:2:2"),
    "JPEG 92 4:2:0": partial(jpeg, 92, "4:2:0"),
    "JPEG 80 4:2:0": partial(jpeg, 80, "4:2:0"),
}
