"""How well a stain fit went, and whether the slide is H&E at all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from wsi_pipeline.errors import StainError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain.halves import MAX_HALVES_DEG
from wsi_pipeline.stain.lab import lab_from_rgb
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.normalizer import StainNormalizer
from wsi_pipeline.stain.optical_density import (
    MIN_MEAN_OD,
    Rgb,
    StainedPixels,
    is_foreign,
    optical_density,
    rgb_from_od,
)
from wsi_pipeline.stain.reference import Triple, triple
from wsi_pipeline.stain.vectors import StainVectors, least_squares_amounts

NAN = float("nan")
MAX_FOREIGN_SHARE = 0.5
"""Above it a slide is not H&E; 205 patients: 0.6 % median, 31 % at most (clotted blood)."""
LONE_EOSIN_RED = 0.3
LONE_HEMATOXYLIN_RED = 0.6
"""Mean density in red over green below and above which an inseparable slide shows one stain."""
OTHER_THAN_HE = "immunohistochemistry, fluorescence, another stain, blood or ink"
MIN_LIGHT = 60
"""A level that a slide in transmitted light exceeds nearly everywhere."""


@dataclass(frozen=True, slots=True)
class StainHealth:
    """Figures of one slide's stain fit, for status.json. NaN where nothing could be measured."""

    requested: str
    """Method asked for."""
    used: str
    """Method in force."""
    reasons: tuple[str, ...] = ()
    """Why it is another one; empty where it is not."""
    warnings: tuple[str, ...] = ()
    """What a user should know about the slide's stain."""
    is_he: bool | None = None
    """True where the stains look like hematoxylin and eosin, None where that cannot be told."""
    n_pixels: int = 0
    """Pixels offered to the fit."""
    share_used: float = NAN
    """Share of them that carry stain."""
    foreign_share: float = NAN
    """Colored pixels that no mixture of hematoxylin and eosin makes, share of the colored ones."""
    vectors: StainVectors | None = None
    """Macenko's estimate for this slide, whatever the method used: comparable over an archive."""
    angle_deg: float = NAN
    """Between the two stains of `vectors`."""
    halves_deg: float = NAN
    """Between the stains of two halves of the slide: large where ink, pigment or an uneven stain
    decides what is taken for a stain."""
    condition: float = NAN
    """Condition number of `vectors`."""
    reconstruction_error: float = NAN
    """Mean absolute difference of the pixels from what two stains explain, share of full scale."""
    out_of_gamut_share: float = NAN
    """Stained pixels that the normalizer pushes past white or below black."""
    mean_od: float = NAN
    """Mean optical density of the stained pixels: the slide's strength of stain."""
    lab_mean: Triple | None = None
    """Mean color of the stained pixels, CIELAB."""

    def with_outcome(
        self, normalizer: StainNormalizer, stained: StainedPixels, reasons: tuple[str, ...]
    ) -> StainHealth:
        """Return these figures with those of the normalizer that was fitted."""
        return replace(
            self,
            used=normalizer.method,
            reasons=reasons,
            out_of_gamut_share=_out_of_gamut(normalizer, stained),
        )

    def to_dict(self) -> dict[str, Any]:  # every field is a key of it
        """Return plain data for JSON, with null for what could not be measured."""
        data = asdict(self)
        data["vectors"] = self.vectors.to_dict() if self.vectors else None
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in data.items()
        }


def examine(stained: StainedPixels, method: str, halves_deg: float = NAN) -> StainHealth:
    """Measure the stained pixels of a slide, before any method is fitted to them.

    `halves_deg` is what `angle_between_halves_deg` says of the same pixels.
    """
    health = StainHealth(
        requested=method,
        used="none",
        n_pixels=stained.n_given,
        share_used=stained.share,
        foreign_share=stained.foreign_share,
        mean_od=float(stained.od.mean()),
        lab_mean=triple(lab_from_rgb(stained.rgb).mean(axis=0)),
    )
    try:
        vectors = fit_macenko(stained)
    except StainError as error:
        lone = _lone_stain(stained)
        return replace(health, is_he=False if lone else None, warnings=(error.problem, *lone))
    doubts = _doubts(vectors, stained)
    return replace(
        health,
        is_he=not doubts,
        warnings=(*doubts, *_disagreement(halves_deg)),
        vectors=vectors,
        halves_deg=halves_deg,
        angle_deg=vectors.angle_deg,
        condition=vectors.condition,
        reconstruction_error=_reconstruction_error(vectors, stained),
    )


def unfitted(method: str, pixels: RgbArray, glass_rgb: Rgb, error: StainError) -> StainHealth:
    """Describe a slide without enough stained pixels for any method."""
    flat = pixels.reshape(-1, 3)
    warnings = [error.problem]
    if len(flat) and float((flat.max(axis=1) < MIN_LIGHT).mean()) > 0.5:
        warnings.append("most of the picture is black: fluorescence, or not a slide in light")
    elif len(flat) and float(optical_density(flat, glass_rgb).mean()) < MIN_MEAN_OD:
        warnings.append("the slide is blank or nearly unstained")
    elif len(flat) and float(is_foreign(optical_density(flat, glass_rgb)).mean()) > 0.5:
        warnings.append(f"the colors are not of H&E: {OTHER_THAN_HE}")
    return StainHealth(
        requested=method,
        used="none",
        reasons=(error.problem,) if method != "none" else (),
        warnings=tuple(warnings),
        is_he=None,
        n_pixels=len(flat),
        share_used=0.0,
    )


def _doubts(vectors: StainVectors, stained: StainedPixels) -> tuple[str, ...]:
    doubts = []
    if stained.foreign_share > MAX_FOREIGN_SHARE:
        doubts.append(
            f"{stained.foreign_share:.0%} of the colored pixels are not of H&E colors: "
            f"{OTHER_THAN_HE}"
        )
    if vectors.missing_stain:
        doubts.append(f"no {vectors.missing_stain} is seen: one stain only, or not H&E")
    elif vectors.other_dye:
        doubts.append(f"a dye looks like {vectors.other_dye}: not H&E")
    return tuple(doubts)


def _disagreement(halves_deg: float) -> tuple[str, ...]:
    if not halves_deg > MAX_HALVES_DEG:
        return ()
    return (
        f"two halves of the slide give stain vectors {halves_deg:.0f}° apart: ink, pigment or an "
        "uneven stain",
    )


def _lone_stain(stained: StainedPixels) -> tuple[str, ...]:
    """Name the stain where all pixels have the hue of one; both, inseparable, lie between."""
    mean = stained.od.mean(axis=0)
    if mean[0] < LONE_EOSIN_RED * mean[1]:
        return ("no hematoxylin is seen: one stain only",)
    if mean[0] > LONE_HEMATOXYLIN_RED * mean[1]:
        return ("no eosin is seen: one stain only",)
    return ()


def _reconstruction_error(vectors: StainVectors, stained: StainedPixels) -> float:
    amounts = least_squares_amounts(stained.od, vectors.matrix)
    difference = rgb_from_od(amounts @ vectors.matrix) - rgb_from_od(stained.od)
    return float(np.abs(difference).mean() / 255.0)


def _out_of_gamut(normalizer: StainNormalizer, stained: StainedPixels) -> float:
    values = normalizer.evaluate(stained.rgb)
    return float(((values < -0.5) | (values > 255.5)).any(axis=1).mean())
