"""Which model a run classifies by, as plain data; each process loads it once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Self

from wsi_pipeline.classifier.card import ModelCard, read_card
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.classifier.loading import load_classifier
from wsi_pipeline.config import Config

_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Which model to load, and where to run it."""

    folder: Path
    sha256: tuple[str | None, str | None]
    """Of the Keras and the LiteRT weights: a long-lived worker must not keep replaced ones."""
    device: str = "auto"
    batch_size: int | None = None
    n_threads: int = 0
    """CPU threads of the engine; 0 = all cores."""
    on_gpu_workers: bool = False
    """A process without a GPU has its patches classified by a Dask worker that declares one."""

    @classmethod
    def of(cls, card: ModelCard, config: Config) -> Self:
        """Return the request for a model as the configuration wants it run."""
        inference = config.inference
        weights = (card.sha256, card.record.get("litert_sha256"))
        return cls(card.folder, weights, inference.device, inference.batch_size, inference.threads)

    def load(self) -> PatchClassifier:
        """Return the classifier that all threads of this process share."""
        return self.loader()()

    def loader(self) -> Callable[[], PatchClassifier]:
        """Return what loads the classifier, for any thread.

        To be called in the thread of a Dask worker's task: no other knows whose worker it is.
        """
        if self.on_gpu_workers:
            from wsi_pipeline.classifier.engines.remote import remote_classifier

            remote = remote_classifier(self)
            if remote is not None:
                return lambda: remote
        return partial(_load_once, self)


def _load_once(request: ModelRequest) -> PatchClassifier:
    with _loading:  # two threads must not load it twice
        return _load(request)


@lru_cache(maxsize=2)
def _load(request: ModelRequest) -> PatchClassifier:
    return load_classifier(
        read_card(request.folder),
        device=request.device,
        batch_size=request.batch_size,
        n_threads=request.n_threads,
    )
