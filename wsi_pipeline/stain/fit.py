"""The fit of one slide: a method, the methods it falls back on, and how well it went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wsi_pipeline.errors import ConfigError, StainError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain.halves import angle_between_halves_deg
from wsi_pipeline.stain.health import StainHealth, examine, unfitted
from wsi_pipeline.stain.histogram import HistogramNormalizer
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.normalizer import StainNormalizer, Unchanged
from wsi_pipeline.stain.optical_density import WHITE, Rgb, StainedPixels, select_stained
from wsi_pipeline.stain.reference import LabStatistics, StainReference
from wsi_pipeline.stain.reinhard import ReinhardNormalizer
from wsi_pipeline.stain.separation import MacenkoNormalizer, VahadaneNormalizer
from wsi_pipeline.stain.vahadane import fit_vahadane
from wsi_pipeline.stain.vectors import StainVectors

Fit = Callable[[StainedPixels, StainReference, Rgb], StainNormalizer]


def _macenko(pixels: StainedPixels, reference: StainReference, glass: Rgb) -> StainNormalizer:
    source = _require_he(fit_macenko(pixels))
    return MacenkoNormalizer(source, reference.macenko, glass, reference.glass_rgb)


def _vahadane(pixels: StainedPixels, reference: StainReference, glass: Rgb) -> StainNormalizer:
    source = _require_he(fit_vahadane(pixels))
    return VahadaneNormalizer(source, reference.vahadane, glass, reference.glass_rgb)


def _reinhard(pixels: StainedPixels, reference: StainReference, glass: Rgb) -> StainNormalizer:
    source, target = LabStatistics.fit(pixels.rgb), reference.lab
    return ReinhardNormalizer(source.mean, source.std, target.mean, target.std, glass)


def _histogram(pixels: StainedPixels, reference: StainReference, glass: Rgb) -> StainNormalizer:
    source = LabStatistics.fit(pixels.rgb)
    return HistogramNormalizer(source.quantiles, reference.lab.quantiles, glass)


def _require_he(vectors: StainVectors) -> StainVectors:
    if vectors.missing_stain:
        raise StainError(
            f"no {vectors.missing_stain} is seen among the stains: H {vectors.hematoxylin}, "
            f"E {vectors.eosin}",
            "Run this slide with --stain none",
        )
    return vectors


METHODS: Final[dict[str, Fit]] = {
    "none": lambda *_: Unchanged(),
    "reinhard": _reinhard,
    "macenko": _macenko,
    "vahadane": _vahadane,
    "histogram": _histogram,
}
"""Every method by its name in the configuration."""

FALLBACK: Final[dict[str, str]] = {
    "vahadane": "macenko",
    "macenko": "reinhard",
    "histogram": "none",
    "reinhard": "none",
}
"""What is tried when a method fails: from many assumptions to none."""


def fit_normalizer(
    pixels: RgbArray, method: str, reference: StainReference, *, glass_rgb: Rgb = WHITE
) -> StainNormalizer:
    """Fit one method to the tissue pixels of a slide.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (..., 3)
        Tissue pixels pooled over the slide; blank ones do no harm.
    method : str
        A key of `METHODS`.
    reference : StainReference
        What to normalize to.
    glass_rgb : tuple of int
        Color of empty glass on this slide (`TissueMask.glass_rgb`).

    Raises
    ------
    StainError
        Where the pixels cannot carry the method. Nothing is guessed.
    ConfigError
        Where there is no such method.
    """
    require_known(method)
    if method == "none":
        return Unchanged()
    return METHODS[method](select_stained(pixels, glass_rgb), reference, glass_rgb)


def fit_with_fallback(
    pixels: RgbArray, method: str, reference: StainReference, *, glass_rgb: Rgb = WHITE
) -> tuple[StainNormalizer, StainHealth]:
    """Fit a method, or the next one down the chain that the pixels can carry.

    Parameters are those of `fit_normalizer`. A slide that does not look like H&E is left as it
    is: to paint another stain pink and purple would fake what is not there.

    Returns
    -------
    normalizer : StainNormalizer
        Of the method used, at worst `Unchanged`.
    health : StainHealth
        What was used, why, and how well it fits.
    """
    require_known(method)
    try:
        stained = select_stained(pixels, glass_rgb)
    except StainError as error:
        return Unchanged(), unfitted(method, pixels, glass_rgb, error)
    look = examine(stained, method, angle_between_halves_deg(pixels, glass_rgb))
    reasons: tuple[str, ...] = ()
    used = method
    if method != "none" and look.is_he is False:
        reasons, used = ("the slide does not look like H&E: colors are left as they are",), "none"
    while True:
        try:
            normalizer = METHODS[used](stained, reference, glass_rgb)
        except StainError as error:
            reasons = (*reasons, f"{used}: {error.problem}")
            used = FALLBACK[used]
        else:
            return normalizer, look.with_outcome(normalizer, stained, reasons)


def require_known(method: str) -> None:
    """Refuse a method that does not exist.

    Raises
    ------
    ConfigError
        Where there is no such method.
    """
    if method not in METHODS:
        raise ConfigError(
            f"there is no stain normalization {method!r}", f"Choose one of {', '.join(METHODS)}"
        )
