"""Which model a process classifies by: loaded once, shared by its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wsi_pipeline.classifier.card import ModelCard, read_card
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.classifier.loading import load_classifier
from wsi_pipeline.config import Config

_loading = threading.Lock()
_substitute: Callable[[ModelRequest], PatchClassifier] | None = None


def classify_by(substitute: Callable[[ModelRequest], PatchClassifier] | None) -> None:
    """Let this process classify by what the function gives (another worker's GPU); None: itself."""
    global _substitute  # noqa: PLW0603 - which processes hold a model is a fact of the process
    _substitute = substitute


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Which model to load, and where to run it."""

    folder: Path
    device: str = "auto"
    batch_size: int | None = None
    n_threads: int = 0

    @classmethod
    def of(cls, card: ModelCard, config: Config) -> ModelRequest:
        """Return the request for a model as the configuration wants it run."""
        inference = config.inference
        return cls(card.folder, inference.device, inference.batch_size, config.execution.workers)

    def load(self) -> PatchClassifier:
        """Return the classifier that all threads of this process share."""
        if _substitute is not None:
            return _substitute(self)
        with _loading:  # two threads must not load it twice
            card = read_card(self.folder)
            return _load(self, card.sha256, card.record.get("litert_sha256"))


@lru_cache(maxsize=2)
def _load(request: ModelRequest, *_sha256: str | None) -> PatchClassifier:
    # Keyed by the weights too: a long-lived worker must not keep a model that was replaced.
    return load_classifier(
        read_card(request.folder),
        device=request.device,
        batch_size=request.batch_size,
        n_threads=request.n_threads,
    )
