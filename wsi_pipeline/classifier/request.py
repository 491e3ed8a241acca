"""Which model a run classifies by, as plain data; each process loads it once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from wsi_pipeline.classifier.card import ModelCard, read_card
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.classifier.loading import load_classifier
from wsi_pipeline.config import Config

if TYPE_CHECKING:
    from wsi_pipeline.classifier.engines.owned import OwnerAddress

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
    owner: OwnerAddress | None = None
    """Of this machine's GPU, to which every process gives its patches."""

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
        if self.owner is not None:
            return partial(_owned, self)
        if self.on_gpu_workers:
            from wsi_pipeline.classifier.engines.remote import remote_classifier

            remote = remote_classifier(self)
            if remote is not None:
                return lambda: remote
        return partial(_load_once, self)


@lru_cache(maxsize=2)
def _owned(request: ModelRequest) -> PatchClassifier:
    from wsi_pipeline.classifier.engines.owned import OwnedClassifier

    if request.owner is None:
        raise ValueError("the request names no owner")
    here = partial(_load_once, replace(request, owner=None, device="cpu"))
    return OwnedClassifier(request.owner, request.folder, here, only_owner=request.device == "gpu")


def load_on_gpu(request: ModelRequest) -> PatchClassifier:
    """Load the model for the owner of the GPU, which without one has nothing to own.

    Raises
    ------
    ModelError
        Where the Keras backend sees no GPU.
    """
    return _load_once(replace(request, owner=None, device="gpu"))


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
