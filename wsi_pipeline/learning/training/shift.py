"""How much an unfamiliar slide loses, and how it differs from other tissue: from changed copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from wsi_pipeline.classifier import PatchClassifier, logit
from wsi_pipeline.classifier.familiarity import FamiliarityReference, ShiftCalibration, log_spread
from wsi_pipeline.errors import StainError
from wsi_pipeline.geometry import FloatArray, RgbArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.normalization import PATIENT_PATCHES
from wsi_pipeline.learning.training.changed_copies import changed_copy
from wsi_pipeline.learning.training.color_exchange import Look
from wsi_pipeline.learning.training.logistic import fit_weighted

PER_PATIENT: Final = 100
"""Patches of a slide at most."""
N_COPIES: Final = {"training": 2, "validation": 8, "other": 6}
"""Changed copies of each slide, beside the slide as it is."""
RECOLORED: Final = 0.5
"""Share of the copies in the stains of a slide of either kind, drawn alike. Without them the
discriminant takes another laboratory's stains for another tissue: 59 % of unfamiliar copies of
validation patients in such stains were."""
ALONE: Final = 0.5
"""Share of the recolored copies that are not changed in another way too."""
MIN_OF_LABEL: Final = 5
"""Patches of either label from which a slide says what its logits lose."""
TUMOR_SHARES: Final = (0.0, 0.02, 0.1, 0.3, 0.6)
"""Of a slide's patches: how much tumor it holds must not say how strange it is."""
OTHER_SHARE: Final = 0.1
"""Of the unfamiliar slides of a laboratory, those of other tissue: it is breast that is run."""
PENALTY: Final = 0.003
"""L2 on the discriminant's weights of standardized features."""
TINY: Final = 1e-9
FARTHEST: Final = 0.98
"""Quantile of the copies' distances beyond which no more is given back."""


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """What a network says of one slide, as it is or changed."""

    slide: str
    labels: NDArray[np.int8]
    logits: FloatArray
    features: FloatArray
    """float32, shape (patches, n)."""
    side: str
    """"training", "validation" or "other" tissue."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Slides as they are and changed, as a network sees them."""

    entries: tuple[Copy, ...]

    @classmethod
    def of(
        cls,
        classifier: PatchClassifier,
        training: PatchDataset,
        validation: PatchDataset,
        negatives: PatchDataset | None,
    ) -> Self:
        """Predict patches of each slide of the data sets and of its changed copies."""
        sides = {"training": training, "validation": validation, "other": negatives}
        looks = [_looks(data) for data in (training, negatives) if data is not None]
        return cls(
            tuple(
                copy
                for number, (side, data) in enumerate(sides.items())
                if data is not None
                for copy in _copies(
                    classifier, data, side, looks, np.random.default_rng([7, number])
                )
            )
        )

    def on(self, side: str) -> list[Copy]:
        """Return those of one side."""
        return [copy for copy in self.entries if copy.side == side]


def _look(patches: RgbArray) -> Look | None:
    shown = np.unique(np.linspace(0, len(patches) - 1, PATIENT_PATCHES).astype(int))
    try:
        return Look.fit(patches[shown])
    except StainError:
        return None


def _looks(data: PatchDataset) -> list[Look]:
    found = (_look(data.images[data.patients == slide]) for slide in np.unique(data.patients))
    return [look for look in found if look is not None]


def _copies(
    classifier: PatchClassifier,
    data: PatchDataset,
    side: str,
    looks: Sequence[Sequence[Look]],
    rng: np.random.Generator,
) -> Iterator[Copy]:
    some = data.sample(PER_PATIENT, rng)
    for slide in np.unique(some.patients):
        mine = some.subset(some.patients == slide)
        own = _look(mine.images)
        for number in range(1 + N_COPIES[side]):
            patches = _changed(mine.images, own, looks, rng) if number else mine.images
            found, features = classifier.predict_features(patches)
            if features is not None:
                yield Copy(str(slide), mine.labels, logit(found), features, side)


def _changed(
    patches: RgbArray,
    own: Look | None,
    looks: Sequence[Sequence[Look]],
    rng: np.random.Generator,
) -> RgbArray:
    """Return a copy in the stains of another slide, changed in another way, or both."""
    kinds = [kind for kind in looks if kind]
    if own is not None and kinds and rng.random() < RECOLORED:
        kind = kinds[int(rng.integers(len(kinds)))]
        patches = own.recolored(patches, kind[int(rng.integers(len(kind)))])
        if rng.random() < ALONE:
            return patches
    return changed_copy(patches, rng)


def fit_shift(
    reference: FamiliarityReference, copies: Copies, threshold_logit: float
) -> ShiftCalibration:
    """Fit what logits lose with distance, and the discriminant of other tissue.

    Both labels of each copy of a validation slide count the same. The loss at the least
    cross-entropy is a constant, which is left where it is as the model's threshold holds for
    familiar slides, and a part in proportion to ln(1 / score).

    Parameters
    ----------
    reference : FamiliarityReference
    copies : Copies
    threshold_logit : float
        Of the model's threshold, from which losses are measured.
    """
    rng = np.random.default_rng(11)
    judged = [
        (copy, far)
        for copy in copies.on("validation")
        if min(copy.labels.sum(), (copy.labels == 0).sum()) >= MIN_OF_LABEL
        if (far := _far(reference, _as_a_slide(copy, rng))) is not None
    ]
    distances = np.array([far for _, far in judged])
    if not (distances > 0).any():  # none of them is unfamiliar: nothing can be measured
        slope, most = 0.0, 0.0
    else:
        slope = _slope([copy for copy, _ in judged], distances, threshold_logit)
        most = slope * float(np.quantile(distances[distances > 0], FARTHEST))
    weights, bias = _discriminant(copies, rng)
    return ShiftCalibration(slope, most, weights, bias)


def _as_a_slide(copy: Copy, rng: np.random.Generator) -> FloatArray:
    """Return the features of the patches that are not IDC and of a drawn share of others."""
    others, tumor = np.flatnonzero(copy.labels == 0), np.flatnonzero(copy.labels == 1)
    share = float(rng.choice(TUMOR_SHARES))
    n_tumor = min(len(tumor), round(share / (1 - share) * len(others)))
    return copy.features[np.concatenate([others, rng.permutation(tumor)[:n_tumor]])]


def _far(reference: FamiliarityReference, features: FloatArray) -> float | None:
    """Return ln(1 / score) of a slide, 0 where it is familiar; None of too few patches."""
    known = reference.judge(features)
    return None if known is None else max(0.0, float(np.log(1 / known.score)))


def _slope(copies: list[Copy], distances: NDArray[np.float64], threshold_logit: float) -> float:
    signs = [np.where(copy.labels > 0, 1.0, -1.0) for copy in copies]
    weights = [np.where(s > 0, 1 / (s > 0).sum(), 1 / (s < 0).sum()) for s in signs]
    margins = [copy.logits - threshold_logit for copy in copies]

    def loss(parameters: NDArray[np.float64]) -> float:
        constant, slope = parameters
        return sum(
            float(np.sum(w * np.logaddexp(0, -s * (m + constant + slope * far))))
            for w, s, m, far in zip(weights, signs, margins, distances, strict=True)
        )

    return max(0.0, float(minimize(loss, [0.0, 0.0], method="Nelder-Mead").x[1]))


def _discriminant(copies: Copies, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression on the spread of slides; either kind counts the same."""
    other = [log_spread(copy.features) for copy in copies.on("other")]
    own = [
        log_spread(features)
        for side in ("training", "validation")
        for copy in copies.on(side)
        if len(features := _as_a_slide(copy, rng))
    ]
    if not other:
        return np.empty(0), 0.0
    x = np.stack([*other, *own])
    center, scale = x.mean(0), x.std(0) + TINY
    is_other = np.arange(len(x)) < len(other)
    of_kind = np.where(is_other, 0.5 / len(other), 0.5 / len(own))
    direction, bias = fit_weighted((x - center) / scale, is_other, of_kind, PENALTY)
    direction /= scale
    odds = OTHER_SHARE / (1 - OTHER_SHARE)
    return direction, bias - float(center @ direction) + float(np.log(odds))
