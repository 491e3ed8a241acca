"""A device that fails in the middle of a run costs speed, not slides."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.geometry import FloatArray, RgbArray

logger = logging.getLogger(__name__)

SMALLEST_BATCH: Final = 64
"""Of patches; what has no memory for these has none for the network."""
OUT_OF_MEMORY: Final = ("RESOURCE_EXHAUSTED", "out of memory", "OOM", "CUDA_ERROR_OUT_OF_MEMORY")
"""What backends say where the device's memory is used up."""

Load = Callable[[int | None], PatchClassifier]
"""Loads the model with a batch size; on the CPU where it is None."""


class GuardedClassifier(PatchClassifier):
    """Goes on with a smaller batch where the device's memory is used up, else on the CPU.

    Safe between threads. All patches of one call come from one device: where it fails they are all
    classified again.

    Parameters
    ----------
    load : callable
        Takes the batch size; None stands for the CPU.
    batch_size : int
        To begin with.
    """

    def __init__(self, load: Load, batch_size: int) -> None:
        self._load, self._changing, self._current = load, threading.Lock(), threading.local()
        self._batch_size: int | None = batch_size
        self._engine = load(batch_size)

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._engine.card

    @property
    def device(self) -> str:
        """Where this thread's last patches were classified, else where the next ones will be."""
        return getattr(self._current, "device", self._engine.device)

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return probabilities (N,), and features (N, n) where the network gives any."""
        while True:
            engine = self._engine
            try:
                found = engine.predict_features(patches)
            except (WsiPipelineError, ValueError, TypeError):  # not the device's fault
                raise
            except Exception as error:  # noqa: BLE001 - raised where nothing else is left
                self._replace(engine, error)
            else:
                self._current.device = engine.device
                return found

    def _replace(self, failed: PatchClassifier, error: Exception) -> None:
        """Put a smaller engine in the place of one that failed; raise where the CPU failed."""
        with self._changing:
            if self._engine is not failed:  # another thread was here before
                return
            if self._batch_size is None:
                raise error
            self._batch_size = self._next_size(error)
            what = f"batches of {self._batch_size}" if self._batch_size else "the CPU"
            reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
            logger.warning("%s failed (%s): going on with %s", failed.device, reason, what)
            self._engine = self._load(self._batch_size)

    def _next_size(self, error: Exception) -> int | None:
        is_memory = isinstance(error, MemoryError) or any(w in str(error) for w in OUT_OF_MEMORY)
        smaller = (self._batch_size or 0) // 4
        return smaller if is_memory and smaller >= SMALLEST_BATCH else None
