"""What the neighbors of a cell say: a patch alone is near its limit, its surroundings tell more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier.logits import logit, sigmoid
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray

N_RINGS: Final = 2
OWN_WEIGHT: Final = 1.0
"""How many neighbors a cell itself counts for in the mean of a ring: a cell whose neighbors are
glass or lie beyond the slide is taken for its own neighborhood, so that small pieces of tissue do
not lose."""


@dataclass(frozen=True, slots=True)
class ContextRefinement:
    """A logistic regression on a cell's logit and the mean logits of the rings around it.

    Ring k holds the cells at Chebyshev distance k in steps of the patch side.
    """

    weights: tuple[float, ...]
    """Of the own logit and of each ring's mean logit, nearest first; shape (1 + N_RINGS,)."""
    bias: float
    threshold: float
    """Refined probability from which a cell is called IDC."""

    def refine(self, values: FloatArray, cells_per_patch: int = 1) -> FloatArray:
        """Return the refined map.

        Parameters
        ----------
        values : ndarray of float32, shape (rows, cols)
            Probabilities, NaN = not classified.
        cells_per_patch : int
            Cells along a patch side; neighbors are a patch apart, whatever the stride.

        Returns
        -------
        ndarray of float32, shape (rows, cols)
            NaN where `values` is NaN, 0 to 1 elsewhere.
        """
        features = ring_features(values, cells_per_patch)
        logits = features @ np.array(self.weights) + self.bias
        return sigmoid(logits.astype(np.float32))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the model card."""
        return {
            "method": "logistic regression on ring means of logits",
            "weights": list(self.weights),
            "bias": self.bias,
            "threshold": self.threshold,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read it from a model card.

        Raises
        ------
        ModelError
            Where a value is missing or of the wrong kind.
        """
        try:
            weights = tuple(float(w) for w in data["weights"])
            refinement = cls(weights, float(data["bias"]), float(data["threshold"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"`context` of the model card is not usable: {error!r}") from error
        if len(weights) != 1 + N_RINGS or not 0 < refinement.threshold < 1:
            raise ModelError(
                f"`context` of the model card has {len(weights)} weights and threshold "
                f"{refinement.threshold}",
                f"Expected {1 + N_RINGS} weights and a threshold between 0 and 1",
            )
        return refinement


def ring_features(values: FloatArray, cells_per_patch: int = 1) -> NDArray[np.float64]:
    """Return the own logit and the mean logit of each ring, float64 (rows, cols, 1 + N_RINGS).

    A ring's mean is taken over its classified cells and, with `OWN_WEIGHT`, the cell itself. NaN
    where the cell is not classified.
    """
    known = ~np.isnan(values)
    own = np.where(known, logit(np.nan_to_num(values, nan=0.5)), 0.0).astype(np.float64)
    squares = [
        (_square_sum(own, k, cells_per_patch), _square_sum(known.astype(float), k, cells_per_patch))
        for k in range(N_RINGS + 1)
    ]
    features = [own]
    for (inner, n_inner), (outer, n_outer) in pairwise(squares):
        total, count = outer - inner, n_outer - n_inner
        features.append((total + OWN_WEIGHT * own) / (count + OWN_WEIGHT))
    stacked = np.stack(features, axis=-1)
    stacked[~known] = np.nan
    return stacked


def _square_sum(values: NDArray[np.float64], radius: int, step: int) -> NDArray[np.float64]:
    """Sum over the square of (2 radius + 1)² cells that lie `step` apart, zero beyond the map."""
    reach = radius * step
    padded = np.pad(values, reach)
    rows, cols = values.shape
    total = np.zeros(values.shape)
    for row in range(0, 2 * reach + 1, step):
        for col in range(0, 2 * reach + 1, step):
            total += padded[row : row + rows, col : col + cols]
    return total
