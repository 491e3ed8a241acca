"""Normalization by mean and standard deviation in CIELAB, after Reinhard et al. 2001."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.stain.lab import lab_from_rgb, rgb_from_lab
from wsi_pipeline.stain.normalizer import StainNormalizer, keep_blank
from wsi_pipeline.stain.optical_density import Rgb
from wsi_pipeline.stain.reference import Triple

MAX_STRETCH = 4.0
"""No channel is stretched or squeezed by more: past that, noise is shown instead of stain."""


@dataclass(frozen=True, slots=True)
class ReinhardNormalizer(StainNormalizer):
    """Gives the stained pixels of a slide the mean and spread of a reference.

    References
    ----------
    E. Reinhard et al., "Color transfer between images", IEEE CG&A 21 (2001) 34-41; in CIELAB
    instead of Ruderman's space, as in pathology.
    """

    source_mean: Triple
    source_std: Triple
    target_mean: Triple
    target_std: Triple
    glass_rgb: Rgb

    @property
    def method(self) -> str:
        """Name of the method."""
        return "reinhard"

    def evaluate(self, rgb: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the normalized levels by the formula itself."""
        stretch = np.divide(self.target_std, self.source_std)
        stretch = np.clip(stretch, 1 / MAX_STRETCH, MAX_STRETCH)
        lab = lab_from_rgb(np.asarray(rgb, dtype=np.float64))
        moved = (lab - self.source_mean) * stretch + self.target_mean
        return keep_blank(rgb, rgb_from_lab(moved), self.glass_rgb)
