"""Normalization by matching the histograms of L, a and b."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.stain.lab import lab_from_rgb, rgb_from_lab
from wsi_pipeline.stain.normalizer import StainNormalizer, keep_blank
from wsi_pipeline.stain.optical_density import Rgb

Quantiles = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class HistogramNormalizer(StainNormalizer):
    """Maps each quantile of L, a and b of a slide to that of a reference."""

    source: Quantiles
    """Of the slide: three rows (L, a, b), ascending."""
    target: Quantiles
    """Of the reference, as many."""
    glass_rgb: Rgb

    @property
    def method(self) -> str:
        """Name of the method."""
        return "histogram"

    def evaluate(self, rgb: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the normalized levels by the formula itself."""
        lab = lab_from_rgb(np.asarray(rgb, dtype=np.float64))
        for channel, (source, target) in enumerate(zip(self.source, self.target, strict=True)):
            lab[..., channel] = _match(lab[..., channel], np.array(source), np.array(target))
        return keep_blank(rgb, rgb_from_lab(lab), self.glass_rgb)


def _match(
    values: NDArray[np.float64], source: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate between quantiles; beyond the last one keep the distance to it."""
    inside = np.clip(values, source[0], source[-1])
    return np.asarray(np.interp(inside, source, target) + (values - inside), dtype=np.float64)
