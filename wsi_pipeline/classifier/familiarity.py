"""How far a slide lies from those a model was trained on, in the network's own features.

A network answers on anything. Its features, pooled, say whether what it sees looks like its
training data: single patches vary much, but their mean over a slide varies little from slide to
slide of one archive, and another organ, another stain or blur moves it far. Where it is stain, blur
or compression, the logits of tumor fall by an amount that is known from changed copies of the
archive's own slides, and can be given back. Other tissue is told from these by how its patches
spread: stain and light move their mean far and their spread little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NotRequired, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray

MIN_PATCHES: Final = 4
"""Fewer say nothing of a slide."""
FAR_CELL: Final = 0.01
"""Share of the archive's patches that lie as far or farther, below which a cell is called far."""
SPREAD_PRIOR: Final = 8.0
"""Patches of the archive's own spread that are added: that of few patches strays by chance."""
MEND_CARD: Final = (
    "Make the model folder again, or remove `familiarity` from model.json; where its `calibration` "
    "is of an older version, remove that and measure it with `wsi-pipeline train DATASET "
    "--familiarity --model MODEL`"
)
MANY_FAR: Final = 0.2
"""Share of a slide's cells that are far, from which it stands among the reasons."""


class FamiliarityVerdict(TypedDict):
    """As it stands in a slide's record."""

    familiar: bool
    score: float
    reasons: list[str]
    logit_shift: float


class ShiftRecord(TypedDict):
    """As it stands in a model card."""

    most: float
    other_spread: list[float]
    other_bias: float


class FamiliarityRecord(TypedDict):
    """As it stands in a model card."""

    method: str
    mean: list[float]
    covariance: list[list[float]]
    limit: float
    distances: list[float]
    calibration: NotRequired[ShiftRecord]


@dataclass(frozen=True, slots=True, eq=False)
class ShiftCalibration:
    """What changed copies of the archive's slides say of slides that look unfamiliar.

    Re-stained, frozen, blurred, sharpened and compressed copies lose logits of tumor, more where
    they lie farther; other organs lie as far, but there nothing is lost, as nothing is IDC. So the
    two are told apart by a linear discriminant of the spread of a slide's features.
    """

    most: float
    """Logits that are given back to a slide that lies very far; see `far_share`."""
    other_spread: NDArray[np.float64]
    """float64, shape (n,): weights of `log_spread`; empty where no slides of other tissue were at
    hand, and then nothing is given back."""
    other_bias: float
    """What is added; other tissue lies above 0."""

    def looks_other(self, features: FloatArray) -> bool:
        """Return whether a slide looks like other tissue rather than a changed slide of ours."""
        if not self.other_spread.size:
            return True
        return float(log_spread(features) @ self.other_spread) + self.other_bias > 0

    def to_dict(self) -> ShiftRecord:
        """Return plain data for the model card."""
        return {
            "most": round(self.most, 4),
            "other_spread": _rounded(self.other_spread),
            "other_bias": round(self.other_bias, 5),
        }


def far_share(score: float) -> float:
    """Return which share of the most is given back to a slide: 0 at the border, 1 very far.

    With the distance r of its mean and that of the border, r0, it is sqrt(1 - (r0 / r)^2).

    Parameters
    ----------
    score : float
        `SlideFamiliarity.score`, (r0 / r)^2.
    """
    return float(np.sqrt(max(0.0, 1.0 - score)))


def log_spread(features: FloatArray) -> NDArray[np.float64]:
    """Return how much the patches of a slide differ, feature by feature.

    Parameters
    ----------
    features : ndarray of float32, shape (patches, n)
        Whitened on the training patches.

    Returns
    -------
    ndarray of float64, shape (n,)
        Logarithm of the standard deviation; 0 where they differ as the training patches do.
    """
    values = features.astype(np.float64)
    deviation = ((values - values.mean(0)) ** 2).sum(0)
    return 0.5 * np.log((deviation + SPREAD_PRIOR) / (len(values) + SPREAD_PRIOR))


@dataclass(frozen=True, slots=True)
class SlideFamiliarity:
    """Whether a slide looks like the training data."""

    familiar: bool
    score: float
    """How far it may lie over how far it lies: 1 is the border, below it is unfamiliar."""
    reasons: tuple[str, ...]
    """Why it is unfamiliar; empty where it is not."""
    logit_shift: float = 0.0
    """What has to be added to the logits of its patches, 0 or more, see `ShiftCalibration`."""

    def to_dict(self) -> FamiliarityVerdict:
        """Return plain data for the slide's record."""
        return {
            "familiar": self.familiar,
            "score": self.score,
            "reasons": list(self.reasons),
            "logit_shift": self.logit_shift,
        }


@dataclass(frozen=True, slots=True, eq=False)
class FamiliarityReference:
    """The training data in the network's features, which its second output gives whitened."""

    mean: NDArray[np.float64]
    """float64, shape (n,): mean over the archive's slides of their mean feature."""
    covariance: NDArray[np.float64]
    """float64, shape (n, n): of the slides' mean features, shrunk."""
    limit: float
    """Largest squared Mahalanobis distance of a familiar slide: 5 % of the archive's lie beyond."""
    distances: NDArray[np.float64]
    """float64, shape (m,): quantiles, evenly spaced, of the squared length of the features of
    patches of the archive."""
    calibration: ShiftCalibration | None = None
    """None: it was never measured, and nothing is given back."""

    @property
    def n_features(self) -> int:
        """Features of a patch."""
        return len(self.mean)

    def cells(self, features: FloatArray) -> FloatArray:
        """Return for each patch the share of the archive's patches as far or farther, 0 to 1.

        Parameters
        ----------
        features : ndarray of float32, shape (..., n)
            NaN where not classified, and then the result is.
        """
        length = (features.astype(np.float64) ** 2).sum(-1)
        levels = np.linspace(1.0, 0.0, len(self.distances))
        share = np.interp(np.nan_to_num(length), self.distances, levels)
        return np.where(np.isnan(length), np.nan, share).astype(np.float32)

    def judge(self, features: FloatArray) -> SlideFamiliarity | None:
        """Return whether patches of one slide look like the archive's; None where they are too few.

        Parameters
        ----------
        features : ndarray of float32, shape (patches, n)
            Of classified patches.
        """
        if len(features) < MIN_PATCHES:
            return None
        distance = self.distance(features)
        score = self.limit / max(distance, 1e-9)
        if score >= 1:
            return SlideFamiliarity(True, round(score, 4), ())
        shift, cause = self._shift(features, score)
        reasons = [
            f"the mean of its patches lies {np.sqrt(1 / score):.1f} times as far from the training "
            "slides as 19 in 20 of these do",
            *cause,
        ]
        far = float((self.cells(features) < FAR_CELL).mean())
        if far >= MANY_FAR:
            reasons.append(f"{far:.0%} of its patches look like fewer than 1 in 100 there")
        return SlideFamiliarity(False, round(score, 4), tuple(reasons), shift)

    def _shift(self, features: FloatArray, score: float) -> tuple[float, list[str]]:
        """Return what is given back to the logits, and why or why not, in words."""
        known = self.calibration
        if known is None:
            return 0.0, []
        if known.looks_other(features):
            return 0.0, ["it looks like another tissue or a stain other than H&E"]
        shift = round(known.most * far_share(score), 4)
        return shift, [
            "it looks like another stain, light or focus: its probabilities were raised by "
            f"{shift:.2f} in log-odds, as slides of the archive need it that were changed as much"
        ]

    def distance(self, features: FloatArray) -> float:
        """Return the squared Mahalanobis distance of a slide's mean feature.

        The mean of few patches strays by chance: their own spread, 1 a feature, is added.
        """
        offset = features.astype(np.float64).mean(0) - self.mean
        spread = self.covariance + np.eye(len(self.mean)) / len(features)
        return float(offset @ np.linalg.solve(spread, offset))

    def to_dict(self) -> FamiliarityRecord:
        """Return plain data for the model card."""
        record: FamiliarityRecord = {
            "method": "Mahalanobis distance of the mean of a slide's whitened features",
            "mean": _rounded(self.mean),
            "covariance": [_rounded(row) for row in self.covariance],
            "limit": round(self.limit, 4),
            "distances": _rounded(self.distances),
        }
        if self.calibration is not None:
            record["calibration"] = self.calibration.to_dict()
        return record

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from a model card.

        Raises
        ------
        ModelError
            Where a value is missing or makes no sense.
        """
        try:
            reference = cls(
                np.asarray(data["mean"], np.float64),
                np.asarray(data["covariance"], np.float64),
                float(data["limit"]),
                np.asarray(data["distances"], np.float64),
                _calibration(data.get("calibration")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"`familiarity` of the model card is not usable: {error!r}", MEND_CARD
            ) from error
        n = reference.mean.size
        fits = reference.mean.shape == (n,) and reference.covariance.shape == (n, n)
        known = reference.calibration
        fits &= known is None or (known.other_spread.shape in {(n,), (0,)} and known.most >= 0)
        if not (fits and n and reference.limit > 0 and reference.distances.size > 1):
            raise ModelError(
                f"`familiarity` of the model card has {reference.mean.shape} means, covariance "
                f"{reference.covariance.shape}, limit {reference.limit}",
                MEND_CARD,
            )
        return reference


def _calibration(data: dict[str, Any] | None) -> ShiftCalibration | None:
    if data is None:
        return None
    if "slope" in data:
        raise ValueError("a calibration of an older version, by the slope of ln(1 / score)")
    direction = np.asarray(data["other_spread"], np.float64)
    return ShiftCalibration(float(data["most"]), direction, float(data["other_bias"]))


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 5) for value in values]
