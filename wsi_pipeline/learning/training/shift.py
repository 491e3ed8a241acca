"""How much an unfamiliar slide loses, and how it differs from other tissue: from changed copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import ContextRefinement, PatchClassifier, logit, sigmoid
from wsi_pipeline.classifier.familiarity import (
    FamiliarityReference,
    ShiftCalibration,
    far_share,
    log_spread,
)
from wsi_pipeline.errors import StainError
from wsi_pipeline.geometry import FloatArray, RgbArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.normalization import PATIENT_PATCHES
from wsi_pipeline.learning.training.changed_copies import changed_copy
from wsi_pipeline.learning.training.color_exchange import Look
from wsi_pipeline.learning.training.logistic import fit_weighted, of_either_label

PER_PATIENT: Final = 100
"""Patches of a slide at most, but all of a validation slide: its map is made of them."""
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
OTHER_SHARE: Final = 0.2
"""Of the unfamiliar slides of a laboratory, those of other tissue: it is breast that is run."""
PENALTY: Final = 0.003
"""L2 on the discriminant's weights of standardized features."""
TINY: Final = 1e-9
SHIFTS: Final = np.arange(0.0, 3.01, 0.05)
"""Tried, in logits."""


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
    changed: bool
    cells: NDArray[np.int32] | None = None
    """int32, shape (patches, 2): row and column of each patch on its slide; None = unknown."""

    def called(
        self, shift: float, threshold: float, context: ContextRefinement | None
    ) -> NDArray[np.bool_]:
        """Return which patches are called where so much is added to their logits.

        By their neighbors too where these are known: it is maps that are looked at, and what is
        added to a whole neighborhood weighs more there than in a patch alone.
        """
        probabilities = sigmoid(self.logits + np.float32(shift))
        if context is None or self.cells is None:
            return probabilities >= threshold
        rows, cols = self.cells.T
        values = np.full((rows.max() + 1, cols.max() + 1), np.nan, np.float32)
        values[rows, cols] = probabilities
        return context.refine(values)[rows, cols] >= context.threshold


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
    some = data.sample(0 if side == "validation" else PER_PATIENT, rng)
    for slide in np.unique(some.patients):
        mine = some.subset(some.patients == slide)
        own = _look(mine.images)
        for number in range(1 + N_COPIES[side]):
            patches = _changed(mine.images, own, looks, rng) if number else mine.images
            found, features = classifier.predict_features(patches)
            if features is not None:
                yield Copy(
                    str(slide),
                    mine.labels,
                    logit(found),
                    features,
                    side,
                    changed=number > 0,
                    cells=_cells(mine),
                )


def _cells(data: PatchDataset) -> NDArray[np.int32] | None:
    known = (data.positions >= 0).all()
    return (data.positions[:, ::-1] - 1) // data.images.shape[1] if known else None


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
    reference: FamiliarityReference,
    copies: Copies,
    threshold: float,
    context: ContextRefinement | None = None,
) -> ShiftCalibration:
    """Fit how far unfamiliar slides are raised, and the discriminant of other tissue.

    Of the changed copies of the validation slides that are unfamiliar, all cells together reach the
    largest balanced accuracy: how much tumor an unfamiliar slide holds is not known, so either
    error counts the same.

    Parameters
    ----------
    reference : FamiliarityReference
    copies : Copies
    threshold : float
        Probability from which a patch alone is called.
    context : ContextRefinement, optional
        How the model refines maps.
    """
    rng = np.random.default_rng(11)
    judged = [
        (copy, known.score)
        for copy in copies.on("validation")
        if min(copy.labels.sum(), (copy.labels == 0).sum()) >= MIN_OF_LABEL
        if (known := reference.judge(_as_a_slide(copy, rng))) is not None
    ]
    weights, bias = _discriminant(copies, rng)
    return ShiftCalibration(_most(judged, threshold, context), weights, bias)


def _as_a_slide(copy: Copy, rng: np.random.Generator) -> FloatArray:
    """Return the features of the patches that are not IDC and of a drawn share of others."""
    others, tumor = np.flatnonzero(copy.labels == 0), np.flatnonzero(copy.labels == 1)
    share = float(rng.choice(TUMOR_SHARES))
    n_tumor = min(len(tumor), round(share / (1 - share) * len(others)))
    return copy.features[np.concatenate([others, rng.permutation(tumor)[:n_tumor]])]


def _most(
    judged: Sequence[tuple[Copy, float]], threshold: float, context: ContextRefinement | None
) -> float:
    """Return the shift of the largest balanced accuracy; 0 where no copy is unfamiliar."""
    unfamiliar = [(copy, far_share(score)) for copy, score in judged if copy.changed and score < 1]
    if not unfamiliar:
        return 0.0
    labels = np.concatenate([copy.labels for copy, _ in unfamiliar]) > 0

    def balanced_accuracy(most: float) -> float:
        called = np.concatenate(
            [copy.called(most * share, threshold, context) for copy, share in unfamiliar]
        )
        return float(called[labels].mean() + (~called[~labels]).mean()) / 2

    return float(max(SHIFTS, key=balanced_accuracy))


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
    weights = of_either_label(is_other)
    direction, bias = fit_weighted((x - center) / scale, is_other, weights, PENALTY)
    direction /= scale
    odds = OTHER_SHARE / (1 - OTHER_SHARE)
    return direction, bias - float(center @ direction) + float(np.log(odds))
