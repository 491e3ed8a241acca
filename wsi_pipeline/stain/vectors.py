"""Two stains in optical density: their vectors, and how much of each a pixel holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import StainError

Vector = tuple[float, float, float]
MIN_ANGLE_DEG = 5.0
"""Two vectors closer than this are one stain: the separation would amplify noise tenfold."""
MIN_HEMATOXYLIN_RED = 0.40
"""Density in red over green that hematoxylin has at least (205 patients: 0.53 to 0.96)."""
MAX_EOSIN_RED = 0.40
"""Density in red over green that eosin has at most where it stands alone (205 patients: 0.08 to
0.24)."""
MAX_MIXED_EOSIN_RED = 0.68
"""The same where hardly a pixel is without hematoxylin: frozen sections and slides overstained with
it (0.47 to 0.64). Two of the stains of immunohistochemistry or Giemsa have 0.69 and more."""
MIN_MIXED_ANGLE_DEG = 11.0
"""Angle from which such an eosin is another stain than the hematoxylin; the dye of a slide with
hematoxylin alone varies by up to 13."""
MIN_BLUE_DYE_RED = 1.0
MAX_BLUE_DYE_BLUE = 0.4
"""A dye that absorbs more red than green, and hardly any blue, is methylene or aniline blue, as of
Giemsa and trichromes; hematoxylin has at least 0.41 as much density in blue as in green."""
MAX_PERCENTILE = 99.0
"""The concentration that stands for "full stain", robust against folds and pigment."""


class StainVectorsRecord(TypedDict):
    """`StainVectors` as JSON holds them."""

    stain_matrix: list[list[float]]
    """Rows hematoxylin, eosin."""
    max_concentrations: list[float]


@dataclass(frozen=True, slots=True)
class StainVectors:
    """Hematoxylin and eosin of one slide or of a reference."""

    hematoxylin: Vector
    """Unit vector in optical density (red, green, blue)."""
    eosin: Vector
    """Unit vector in optical density (red, green, blue)."""
    max_concentrations: tuple[float, float]
    """99th percentile of the amount of each stain over the tissue, > 0."""

    def __post_init__(self) -> None:
        numbers = (*self.hematoxylin, *self.eosin, *self.max_concentrations)
        if not all(math.isfinite(value) for value in numbers):
            raise StainError(f"stain vectors are not finite: {numbers}", "Fit on other pixels")
        if not np.allclose(np.linalg.norm(self.matrix, axis=1), 1.0, atol=1e-3):
            raise StainError(
                f"stain vectors must have unit length, received {self.matrix.tolist()}",
                "Divide each row by its length",
            )
        if self.angle_deg < MIN_ANGLE_DEG:
            raise StainError(
                f"the two stain vectors are {self.angle_deg:.1f}° apart: there is only one stain",
                "Choose Reinhard or no normalization for this slide",
            )
        if min(self.max_concentrations) <= 0:
            raise StainError(
                f"maximum concentrations must be above 0, received {self.max_concentrations}",
                "Choose Reinhard or no normalization for this slide",
            )

    @classmethod
    def from_arrays(
        cls, matrix: NDArray[np.float64], max_concentrations: NDArray[np.float64]
    ) -> Self:
        """Take a (2, 3) matrix, rows hematoxylin then eosin, and two maximum concentrations."""
        h, e = (tuple(float(value) for value in row) for row in matrix)
        c_h, c_e = (float(value) for value in max_concentrations)
        return cls((h[0], h[1], h[2]), (e[0], e[1], e[2]), (c_h, c_e))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls.from_arrays(
            np.asarray(data["stain_matrix"], dtype=np.float64).reshape(2, 3),
            np.asarray(data["max_concentrations"], dtype=np.float64).reshape(2),
        )

    def to_dict(self) -> StainVectorsRecord:
        """Return plain data for JSON."""
        return {
            "stain_matrix": [list(self.hematoxylin), list(self.eosin)],
            "max_concentrations": list(self.max_concentrations),
        }

    @property
    def matrix(self) -> NDArray[np.float64]:
        """float64, shape (2, 3): rows hematoxylin, eosin."""
        return np.array([self.hematoxylin, self.eosin], dtype=np.float64)

    @property
    def angle_deg(self) -> float:
        """Angle between the two stains, degrees."""
        cosine = float(np.dot(self.hematoxylin, self.eosin))
        return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))

    @property
    def missing_stain(self) -> str:
        """What the vectors lack to be H&E, by hue: "hematoxylin", "eosin", or "" for nothing."""
        if self.hematoxylin[0] < MIN_HEMATOXYLIN_RED * self.hematoxylin[1]:
            return "hematoxylin"
        if not (self._has_lone_eosin or self._has_mixed_eosin):
            return "eosin"
        return ""

    @property
    def other_dye(self) -> str:
        """Another dye that stands in the place of hematoxylin, by hue, or "" for none.

        Schiff's magenta (PAS) is not among them: eosin with some hematoxylin in it, as Ruifrok and
        Johnston state the two, has its hue.
        """
        red, green, blue = self.hematoxylin
        if red > MIN_BLUE_DYE_RED * green and blue < MAX_BLUE_DYE_BLUE * green:
            return "methylene or aniline blue (Giemsa, trichrome)"
        return ""

    @property
    def _has_lone_eosin(self) -> bool:
        return self.eosin[0] <= MAX_EOSIN_RED * self.eosin[1]

    @property
    def _has_mixed_eosin(self) -> bool:
        """Whether the second stain is eosin with hematoxylin in it; brown absorbs more blue."""
        h, e = self.matrix
        is_reddish = e[0] <= MAX_MIXED_EOSIN_RED * e[1] and e[2] / e[1] <= h[2] / h[1]
        return bool(is_reddish and self.angle_deg >= MIN_MIXED_ANGLE_DEG)

    @property
    def condition(self) -> float:
        """Condition number of the matrix: 1 for orthogonal stains, large for similar ones."""
        return float(np.linalg.cond(self.matrix))


def order_he(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows as unit vectors, hematoxylin first: the stain that absorbs more red light.

    Raises
    ------
    StainError
        Where a row has no length.
    """
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 1e-9).all()):
        raise StainError("a stain vector has no length", "Fit on pixels with more stain")
    unit = matrix / length
    return np.asarray(unit if unit[0, 0] >= unit[1, 0] else unit[::-1], dtype=np.float64)


def least_squares_amounts(
    od: NDArray[np.float64], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the least-squares amount of each stain, float64 (..., 2); may be negative."""
    return np.asarray(od @ np.linalg.pinv(matrix), dtype=np.float64)


def sparse_amounts(
    od: NDArray[np.float64], matrix: NDArray[np.float64], sparsity: float
) -> NDArray[np.float64]:
    """Return the non-negative sparse amount of each stain.

    Minimizes ``|od - c @ matrix|² / 2 + sparsity * (c0 + c1)`` over ``c >= 0``.

    Parameters
    ----------
    od : ndarray of float64, shape (..., 3)
        Optical density.
    matrix : ndarray of float64, shape (2, 3)
        Unit stain vectors.
    sparsity : float
        Price of a unit of stain, optical density; 0 gives non-negative least squares.

    Returns
    -------
    ndarray of float64, shape (..., 2)

    Notes
    -----
    With two stains the problem has four candidates (both, either, none) and the optimality
    conditions pick one, so it is solved exactly and needs no iterative lasso.
    """
    overlap = float(matrix[0] @ matrix[1])
    gain = od @ matrix.T - sparsity
    both = (gain - overlap * gain[..., ::-1]) / (1.0 - overlap * overlap)
    alone = np.maximum(gain, 0.0)
    # One stain alone is optimal where the other, given it, would have to be negative.
    alone[both[..., 1] <= 0, 1] = 0.0
    alone[(both[..., 0] <= 0) & (both[..., 1] > 0), 0] = 0.0
    inside = (both > 0).all(axis=-1, keepdims=True)
    return np.asarray(np.where(inside, both, alone), dtype=np.float64)


def robust_maximum(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 99th percentile of each stain's amount, shape (2,)."""
    return np.asarray(np.percentile(amounts, MAX_PERCENTILE, axis=0), dtype=np.float64)
