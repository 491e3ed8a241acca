"""Stain normalization: fitted once a slide on pooled tissue pixels, applied to every patch."""

from wsi_pipeline.stain.fit import METHODS, fit_normalizer, fit_with_fallback
from wsi_pipeline.stain.health import StainHealth
from wsi_pipeline.stain.normalizer import StainNormalizer
from wsi_pipeline.stain.reference import StainReference

__all__ = [
    "METHODS",
    "StainHealth",
    "StainNormalizer",
    "StainReference",
    "fit_normalizer",
    "fit_with_fallback",
]
