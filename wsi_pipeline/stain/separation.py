"""Normalization by stain separation, with the vectors of Macenko or Vahadane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.stain.normalizer import StainNormalizer, keep_blank
from wsi_pipeline.stain.optical_density import Rgb, optical_density, rgb_from_od
from wsi_pipeline.stain.vahadane import AMOUNT_SPARSITY
from wsi_pipeline.stain.vectors import StainVectors, least_squares_amounts, sparse_amounts


@dataclass(frozen=True, slots=True)
class SeparationNormalizer(StainNormalizer):
    """Exchanges a slide's stain vectors and strengths for those of a reference.

    What the two stains do not explain (ink, pigment, calcium, blood) is carried over as it is.
    The published methods drop it, which paints ink purple and makes a slide differ from itself.
    """

    source: StainVectors
    """Of the slide."""
    target: StainVectors
    """Of the reference."""
    glass_rgb: Rgb
    """Unstained glass of the slide."""
    target_glass_rgb: Rgb
    """Unstained glass of the reference."""

    def amounts(self, od: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the amount of each stain, float64 (..., 2)."""
        return least_squares_amounts(od, self.source.matrix)

    @property
    def strength(self) -> NDArray[np.float64]:
        """Factor on the amount of each stain, shape (2,)."""
        ratio = np.divide(self.target.max_concentrations, self.source.max_concentrations)
        return np.asarray(ratio, dtype=np.float64)

    def evaluate(self, rgb: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the normalized levels by the formula itself."""
        od = optical_density(rgb, self.glass_rgb)
        amounts = self.amounts(od)
        exchanged = (amounts * self.strength) @ self.target.matrix - amounts @ self.source.matrix
        return keep_blank(rgb, rgb_from_od(od + exchanged, self.target_glass_rgb), self.glass_rgb)


@dataclass(frozen=True, slots=True)
class MacenkoNormalizer(SeparationNormalizer):
    """Amounts by least squares (Macenko et al. 2009)."""

    @property
    def method(self) -> str:
        """Name of the method."""
        return "macenko"


@dataclass(frozen=True, slots=True)
class VahadaneNormalizer(SeparationNormalizer):
    """Sparse non-negative amounts (Vahadane et al. 2016)."""

    @property
    def method(self) -> str:
        """Name of the method."""
        return "vahadane"

    def amounts(self, od: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the amount of each stain, float64 (..., 2), none negative."""
        return sparse_amounts(od, self.source.matrix, AMOUNT_SPARSITY)
