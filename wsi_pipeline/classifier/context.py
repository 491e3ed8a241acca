"""What the neighbors of a cell say: a patch alone is near its limit, its surroundings tell more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier.logits import logit, sigmoid
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray

N_RINGS: Final = 2
N_FEATURES: Final = 1 + 2 * N_RINGS
OWN_WEIGHT: Final = 1.0
"""How many neighbors a cell itself counts for in the mean of a ring: a cell whose neighbors are
glass or lie beyond the slide is taken for its own neighborhood, so that small pieces of tissue do
not lose."""


@dataclass(frozen=True, slots=True)
class ContextRefinement:
    """A logistic regression on a cell's logit and on mean and largest logit of the rings around it.

    Ring k holds the cells at Chebyshev distance k in steps of the patch side. The largest stands
    beside the mean so that a small focus in much stroma is not averaged away.
    """

    weights: tuple[float, ...]
    """Of the own logit, then of each ring's mean and largest logit, nearest ring first; shape
    (`N_FEATURES`,)."""
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
            "method": "logistic regression on means and maxima of rings of logits",
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
        if len(weights) != N_FEATURES or not 0 < refinement.threshold < 1:
            raise ModelError(
                f"`context` of the model card has {len(weights)} weights and threshold "
                f"{refinement.threshold}",
                f"Expected {N_FEATURES} weights and a threshold between 0 and 1",
            )
        return refinement


def ring_features(values: FloatArray, cells_per_patch: int = 1) -> NDArray[np.float64]:
    """Return own logit, mean and largest logit of each ring, float64 (rows, cols, N_FEATURES).

    Over the classified cells of a ring; its mean takes the cell itself in with `OWN_WEIGHT`, its
    largest is the cell's own where none is classified. NaN where the cell is not.
    """
    known = ~np.isnan(values)
    own = np.where(known, logit(np.nan_to_num(values, nan=0.5)), np.nan).astype(np.float64)
    features = [own]
    for radius in range(1, N_RINGS + 1):
        features += _ring(own, radius, cells_per_patch)
    return np.where(known[..., None], np.stack(features, axis=-1), np.nan)


def _ring(
    own: NDArray[np.float64], radius: int, step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and largest logit of the cells at `radius` times `step` from each."""
    rows, cols = own.shape
    reach = radius * step
    padded = np.pad(own, reach, constant_values=np.nan)
    total, count = OWN_WEIGHT * np.nan_to_num(own), np.full(own.shape, OWN_WEIGHT)
    largest = np.full(own.shape, np.nan)
    for down, right in product(range(-radius, radius + 1), repeat=2):
        if max(abs(down), abs(right)) < radius:
            continue
        top, left = reach + down * step, reach + right * step
        neighbor = padded[top : top + rows, left : left + cols]
        total += np.nan_to_num(neighbor)
        count += ~np.isnan(neighbor)
        largest = np.fmax(largest, neighbor)
    return total / count, np.where(np.isnan(largest), own, largest)
