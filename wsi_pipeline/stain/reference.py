"""What slides are normalized to: the colors of a model's training set, or of a slide chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import StainError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain.lab import lab_from_rgb
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.optical_density import WHITE, Rgb, StainedPixels, select_stained
from wsi_pipeline.stain.vahadane import fit_vahadane
from wsi_pipeline.stain.vectors import StainVectors, StainVectorsRecord

FORMAT = 1
N_QUANTILES = 65
MIN_LAB_STD = 0.3
"""Less spread than this in L, a or b is one color: real tissue has 2 and more."""
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LabStatistics:
    """Color distribution of stained pixels in CIELAB."""

    mean: Triple
    """Of L, a, b."""
    std: Triple
    """Of L, a, b; above 0."""
    quantiles: tuple[tuple[float, ...], ...]
    """Of L, a, b: `N_QUANTILES` values each, from the minimum to the maximum."""

    def __post_init__(self) -> None:
        numbers = np.array([*self.mean, *self.std, *(v for row in self.quantiles for v in row)])
        if not np.isfinite(numbers).all():
            raise StainError("color statistics are not finite", "Fit on other pixels")
        if min(self.std) < MIN_LAB_STD:
            raise StainError(
                f"the pixels have nearly one color (standard deviation of L, a, b: "
                f"{', '.join(f'{value:.2f}' for value in self.std)})",
                "Check the tissue mask, or run with --stain none",
            )

    @classmethod
    def fit(cls, rgb: RgbArray) -> Self:
        """Measure pixels, uint8 (n, 3)."""
        lab = lab_from_rgb(rgb)
        quantiles = np.quantile(lab, np.linspace(0.0, 1.0, N_QUANTILES), axis=0).T
        return cls(
            triple(lab.mean(axis=0)),
            triple(lab.std(axis=0)),
            tuple(tuple(float(value) for value in row) for row in quantiles),
        )


class StainReferenceRecord(TypedDict):
    """`StainReference` as it stands in stain_reference.json."""

    format: int
    source: str
    glass_rgb: list[int]
    macenko: StainVectorsRecord
    vahadane: StainVectorsRecord
    lab_mean: list[float]
    lab_std: list[float]
    lab_quantiles: list[list[float]]


@dataclass(frozen=True, slots=True)
class StainReference:
    """The target of every method, small enough for a model folder (`stain_reference.json`)."""

    macenko: StainVectors
    vahadane: StainVectors
    lab: LabStatistics
    glass_rgb: Rgb = WHITE
    """Intensity of unstained glass that the densities refer to."""
    source: str = ""
    """Where the pixels came from, for the record."""

    @classmethod
    def fit(cls, pixels: RgbArray, *, glass_rgb: Rgb = WHITE, source: str = "") -> Self:
        """Measure pooled tissue pixels, uint8 (..., 3).

        Raises
        ------
        StainError
            Where the pixels do not show two stains: such a reference would spoil every slide.
        """
        return cls.from_stained(select_stained(pixels, glass_rgb), glass_rgb, source)

    @classmethod
    def from_stained(cls, stained: StainedPixels, glass_rgb: Rgb, source: str) -> Self:
        """Measure pixels that are chosen already."""
        return cls(
            fit_macenko(stained),
            fit_vahadane(stained),
            LabStatistics.fit(stained.rgb),
            glass_rgb,
            source,
        )

    def to_dict(self) -> StainReferenceRecord:
        """Return plain data for JSON."""
        return {
            "format": FORMAT,
            "source": self.source,
            "glass_rgb": list(self.glass_rgb),
            "macenko": self.macenko.to_dict(),
            "vahadane": self.vahadane.to_dict(),
            "lab_mean": list(self.lab.mean),
            "lab_std": list(self.lab.std),
            "lab_quantiles": [list(row) for row in self.lab.quantiles],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        StainError
            Where something is missing or makes no sense.
        """
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            raise StainError(
                f"stain reference has format {found!r}, this version reads {FORMAT}",
                "Make the reference again with this version",
            )
        try:
            return cls._parse(data)
        except (KeyError, TypeError, ValueError) as error:
            raise StainError(
                f"stain reference is incomplete or damaged: {error!r}",
                "Make the reference again from tissue pixels",
            ) from error

    @classmethod
    def _parse(cls, data: dict[str, Any]) -> Self:
        red, green, blue = (int(value) for value in data["glass_rgb"])
        lab = LabStatistics(
            triple(np.asarray(data["lab_mean"], dtype=np.float64)),
            triple(np.asarray(data["lab_std"], dtype=np.float64)),
            tuple(tuple(float(v) for v in row) for row in data["lab_quantiles"]),
        )
        return cls(
            StainVectors.from_dict(data["macenko"]),
            StainVectors.from_dict(data["vahadane"]),
            lab,
            (red, green, blue),
            str(data["source"]),
        )


def triple(values: NDArray[np.float64]) -> Triple:
    """Return an array of three as plain numbers."""
    first, second, third = (float(value) for value in values)
    return (first, second, third)
