"""What the neighbors of a cell say: a patch alone is near its limit, its surroundings tell more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, NotRequired, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier.logits import logit, sigmoid
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray

N_RINGS: Final = 2
N_FEATURES: Final = 1 + 2 * N_RINGS
METHOD: Final = "logistic regression on the logit and on means and maxima of rings of -ln(1 - p)"
"""Weights mean something for these features alone."""
OWN_WEIGHT: Final = 1.0
"""How many neighbors a cell itself counts for in the mean of a ring: a cell whose neighbors are
glass or lie beyond the slide is taken for its own neighborhood, so that small pieces of tissue do
not lose."""
MIN_EVIDENCE: Final = 0.3
"""Share of a cell on tissue from which it says something of its neighbors."""
ALONE_UP_TO: Final = 9.0
"""Cells of a piece of tissue up to which each is judged by itself: a core of 1 mm has nine."""


@dataclass(frozen=True, slots=True)
class AloneCalibration:
    """How a cell without neighbors is judged: by its own logit, scaled and shifted.

    It gives logits of the scale of those with neighbors, so that one threshold serves whole slides,
    edges, cores and strips.
    """

    weight: float
    bias: float


class AloneRecord(TypedDict):
    """`AloneCalibration` as it stands in a model card."""

    weight: float
    bias: float


class ContextRecord(TypedDict):
    """`ContextRefinement` as it stands in a model card."""

    method: str
    weights: list[float]
    bias: float
    threshold: float
    alone: NotRequired[AloneRecord]


@dataclass(frozen=True, slots=True)
class ContextRefinement:
    """A logistic regression on a cell's logit and on mean and largest evidence of the rings around.

    Ring k holds the cells at Chebyshev distance k in steps of the patch side, of the same piece of
    tissue alone, each by its share on tissue. A neighbor's evidence is -ln(1 - p); their sum
    says how improbable it is that none of them holds tumor (noisy-or, Pearl 1988). One that is
    surely free of tumor counts 0 and takes nothing away, so that a small focus in much stroma is
    not averaged away.
    """

    weights: tuple[float, ...]
    """Of the own logit, then of each ring's mean and largest evidence, nearest ring first; shape
    (`N_FEATURES`,)."""
    bias: float
    threshold: float
    """Refined probability from which a cell is called IDC."""
    alone: AloneCalibration | None = None
    """None: cells without neighbors are their own neighborhood."""

    def refine(
        self, values: FloatArray, cells_per_patch: int = 1, tissue: FloatArray | None = None
    ) -> FloatArray:
        """Return the refined map.

        Parameters
        ----------
        values : ndarray of float32, shape (rows, cols)
            Probabilities, NaN = not classified.
        cells_per_patch : int
            Cells along a patch side; neighbors are a patch apart, whatever the stride.
        tissue : ndarray of float32, shape (rows, cols), optional
            Share of each cell on tissue; None = all of it.

        Returns
        -------
        ndarray of float32, shape (rows, cols)
            NaN where `values` is NaN, 0 to 1 elsewhere.
        """
        features = ring_features(values, cells_per_patch, tissue)
        return self.refine_features(features)

    def refine_features(self, features: NDArray[np.float64]) -> FloatArray:
        """Return the refined probabilities from `ring_features`."""
        logits = features[..., :N_FEATURES] @ np.array(self.weights) + self.bias
        if self.alone is not None:
            by_itself = self.alone.weight * features[..., 0] + self.alone.bias
            logits = np.where(features[..., N_FEATURES] > 0, logits, by_itself)
        return sigmoid(logits.astype(np.float32))

    def to_dict(self) -> ContextRecord:
        """Return plain data for the model card."""
        record: ContextRecord = {
            "method": METHOD,
            "weights": list(self.weights),
            "bias": self.bias,
            "threshold": self.threshold,
        }
        if self.alone:
            one = self.alone
            record["alone"] = {"weight": one.weight, "bias": one.bias}
        return record

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from a model card.

        Raises
        ------
        ModelError
            Where a value is missing or of the wrong kind, or the weights are of other features.
        """
        if data.get("method") != METHOD:
            raise ModelError(
                f"`context` of the model card is of another method: {data.get('method')!r}",
                f"This version refines by {METHOD!r}: fit it again with `wsi-pipeline train SLIDES "
                "--slides --model MODEL -o MODEL`, or remove `context` from model.json",
            )
        try:
            weights = tuple(float(w) for w in data["weights"])
            own = data.get("alone")
            names = ("weight", "bias")
            alone = AloneCalibration(*(float(own[name]) for name in names)) if own else None
            refinement = cls(weights, float(data["bias"]), float(data["threshold"]), alone)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"`context` of the model card is not usable: {error!r}") from error
        if len(weights) != N_FEATURES or not 0 < refinement.threshold < 1:
            raise ModelError(
                f"`context` of the model card has {len(weights)} weights and threshold "
                f"{refinement.threshold}",
                f"Expected {N_FEATURES} weights and a threshold between 0 and 1",
            )
        return refinement


def ring_features(
    values: FloatArray, cells_per_patch: int = 1, tissue: FloatArray | None = None
) -> NDArray[np.float64]:
    """Return what is known of each cell and its neighbors, float64 (rows, cols, N_FEATURES + 1).

    Own logit; mean and largest evidence of each ring, over the cells of the same piece of tissue
    that are on tissue by `MIN_EVIDENCE` or more, each weighted by that share; at last the share of
    the neighbors that are there, 0 to 1. A ring's mean takes the cell itself in with `OWN_WEIGHT`,
    its largest is the cell's own where none is known. Cells of a piece of `ALONE_UP_TO` cells or
    fewer have no neighbors. NaN where the cell is not classified.
    """
    known = ~np.isnan(values)
    own = np.where(known, logit(np.nan_to_num(values, nan=0.5)), np.nan).astype(np.float64)
    share = np.ones(own.shape) if tissue is None else np.clip(np.nan_to_num(tissue), 0.0, 1.0)
    weight = np.where(known & (share >= MIN_EVIDENCE), share, 0.0)
    pieces, alone = _pieces(known, weight, cells_per_patch)
    evidence = np.logaddexp(0.0, np.nan_to_num(own))
    cells = _Cells(evidence, weight, pieces, alone)
    features, total = [own], np.zeros(own.shape)
    for radius in range(1, N_RINGS + 1):
        mean, largest, count = _ring(cells, radius, cells_per_patch)
        features += [mean, largest]
        total += count
    n_neighbors = (2 * N_RINGS + 1) ** 2 - 1
    features.append(np.minimum(1.0, total / n_neighbors))
    return np.where(known[..., None], np.stack(features, axis=-1), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """What the rings are made of, arrays of shape (rows, cols)."""

    evidence: NDArray[np.float64]
    """-ln(1 - p); ln 2 where not classified, which has no weight."""
    weight: NDArray[np.float64]
    """As a neighbor."""
    pieces: NDArray[np.intp]
    """Number of the piece of tissue; 0 = not classified."""
    alone: NDArray[np.bool_]


def _pieces(
    known: NDArray[np.bool_], weight: NDArray[np.float64], cells_per_patch: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the connected piece of each cell, and which cells lie on a small one."""
    from scipy.ndimage import label

    pieces, n = label(known, np.ones((3, 3)))
    size = np.bincount(pieces.ravel(), (weight > 0).ravel(), n + 1) / cells_per_patch**2
    return pieces.astype(np.intp), (size <= ALONE_UP_TO)[pieces]


def _ring(
    cells: _Cells, radius: int, step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and largest evidence, and weight, of the cells at `radius` times `step`."""
    rows, cols = cells.evidence.shape
    reach = radius * step
    evidence, weights = (np.pad(a, reach) for a in (cells.evidence, cells.weight))
    pieces = np.pad(cells.pieces, reach)
    total, count = OWN_WEIGHT * cells.evidence, np.zeros((rows, cols))
    largest = np.full((rows, cols), -np.inf)
    for down, right in product(range(-radius, radius + 1), repeat=2):
        if max(abs(down), abs(right)) < radius:
            continue
        top, left = reach + down * step, reach + right * step
        there = np.s_[top : top + rows, left : left + cols]
        weight = np.where((pieces[there] == cells.pieces) & ~cells.alone, weights[there], 0.0)
        total += weight * evidence[there]
        count += weight
        largest = np.where(weight > 0, np.maximum(largest, evidence[there]), largest)
    mean = total / (OWN_WEIGHT + count)
    return mean, np.where(np.isinf(largest), cells.evidence, largest), count
