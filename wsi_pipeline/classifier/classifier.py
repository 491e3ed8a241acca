"""The port: patches in, calibrated probabilities out; and the views of test-time augmentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.logits import logit, sigmoid
from wsi_pipeline.geometry import FloatArray, RgbArray


class PatchClassifier(ABC):
    """A loaded model. The result for a patch does not depend on its batch, order or neighbors."""

    @property
    @abstractmethod
    def card(self) -> ModelCard:
        """What the model expects."""

    @property
    @abstractmethod
    def device(self) -> str:
        """Where it runs and by what, in words for the record."""

    @abstractmethod
    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return what the model thinks of patches, and what it saw, in one pass.

        Parameters
        ----------
        patches : ndarray of uint8, shape (N, side, side, 3)

        Returns
        -------
        probability : ndarray of float32, shape (N,)
            Calibrated, of IDC.
        features : ndarray of float32, shape (N, n), or None
            None where the network gives none.
        """

    def predict(self, patches: RgbArray) -> FloatArray:
        """Return the calibrated probability of IDC of each patch, float32 (N,)."""
        return self.predict_features(patches)[0]


def split_outputs(
    outputs: Sequence[NDArray[np.floating]], card: ModelCard
) -> tuple[NDArray[np.floating], FloatArray | None]:
    """Return a network's probabilities, and its features where it has a second output.

    Engines give several outputs in no order to rely on: features are more than there are classes.
    """
    if len(outputs) == 1:
        return outputs[0], None
    n_classes = len(card.class_names)
    first = next((part for part in outputs if part.shape[-1] <= n_classes), outputs[0])
    features = next(part for part in outputs if part is not first)
    return first, features.astype(np.float32)


def calibrated(outputs: NDArray[np.floating], card: ModelCard) -> FloatArray:
    """Return the probability of IDC from what the model's last layer gives.

    One output a patch, or one a class; probabilities or logits, as the card says.
    """
    values = outputs.reshape(len(outputs), -1).astype(np.float32)
    if values.shape[1] == 1:
        logits = values[:, 0] if card.output == "logit" else logit(values[:, 0])
    else:
        positive = values[:, card.positive_class]
        other = values.sum(1) - positive
        logits = positive - other if card.output == "logit" else logit(positive)
    if card.temperature == 1.0 and card.output == "probability":
        return values[:, 0 if values.shape[1] == 1 else card.positive_class]
    return sigmoid(logits / np.float32(card.temperature))


def dihedral_views(patches: RgbArray) -> list[RgbArray]:
    """Return the eight flips and quarter turns of (N, side, side, 3)."""
    transposed = patches.transpose(0, 2, 1, 3)
    return [
        np.ascontiguousarray(base[:, ::y, ::x])
        for base in (patches, transposed)
        for y in (1, -1)
        for x in (1, -1)
    ]


def predict_views(classifier: PatchClassifier, patches: RgbArray) -> tuple[FloatArray, FloatArray]:
    """Return the sigmoid of the mean logit over the eight views, and the spread.

    Returns
    -------
    probability : ndarray of float32, shape (N,)
    spread : ndarray of float32, shape (N,)
        Standard deviation of the probability over the views.
    """
    views = np.stack([classifier.predict(view) for view in dihedral_views(patches)])
    return sigmoid(logit(views).mean(0)), views.std(0).astype(np.float32)
