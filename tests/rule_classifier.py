"""A classifier that is a known function of the pixels: no framework, results to compute by hand."""

from __future__ import annotations

from collections.abc import Callable

from wsi_pipeline.classifier import ModelCard, PatchClassifier
from wsi_pipeline.geometry import FloatArray, RgbArray


class RuleClassifier(PatchClassifier):
    """Calls each patch what a rule says."""

    def __init__(
        self, card: ModelCard, rule: Callable[[RgbArray], FloatArray], device: str = "CPU, a rule"
    ) -> None:
        self._card, self._rule, self._device = card, rule, device

    @property
    def card(self) -> ModelCard:
        return self._card

    @property
    def device(self) -> str:
        return self._device

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        return self._rule(patches), None


def darkness(patches: RgbArray) -> FloatArray:
    """Return 1 for a patch of mean 0, 0 for one of mean 255."""
    return (1 - patches.mean(axis=(1, 2, 3)) / 255).astype("float32")
