"""Classifiers for tests of the GPU's owner: they know the answer, and fail as they are told."""

from __future__ import annotations

import os
import time

import numpy as np

from wsi_pipeline.classifier import ModelRequest, find_model
from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.classifier.guarded import GuardedClassifier
from wsi_pipeline.classifier.loading import load_classifier
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray, RgbArray

DEADLY = 13
"""A patch of this level kills the process that classifies it."""


class FaultyClassifier(PatchClassifier):
    """The probability is the level of a patch's first pixel.

    Parameters
    ----------
    size : int or None
        Of a batch; None for the CPU.
    least : int
        Sizes from which the device fails; below 0 the CPU does too.
    error : str
        What it says then.
    """

    def __init__(self, size: int | None, least: int, error: str) -> None:
        self._size, self._least, self._error = size, least, error
        self.calls: list[int] = []

    @property
    def card(self) -> ModelCard:
        return find_model("idc-compact")

    @property
    def device(self) -> str:
        return "CPU" if self._size is None else f"batches of {self._size}"

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        if patches.shape[1:] != (50, 50, 3):
            raise ValueError(f"patches of {patches.shape}")
        if self._least < 0 or (self._size is not None and self._size >= self._least):
            raise RuntimeError(self._error)
        self.calls.append(len(patches))
        first = patches[:, 0, 0, 0]
        if (first == DEADLY).any():
            os._exit(9)
        return (first / 255).astype(np.float32), first[:, np.newaxis].astype(np.float32)


def sound() -> PatchClassifier:
    """Load one that works, slowly enough that several readers ask at a time."""
    time.sleep(0.2)
    return FaultyClassifier(64, 10**6, "")


def without_memory() -> PatchClassifier:
    """Load one that has memory for batches below 200."""
    return GuardedClassifier(lambda n: FaultyClassifier(n, 200, "RESOURCE_EXHAUSTED"), 1024)


def without_gpu() -> PatchClassifier:
    raise ModelError("no GPU was found for device 'gpu'", "Install a driver")


class StandIn(PatchClassifier):
    """A model on the CPU that is said to be on a GPU, which fails after some calls."""

    def __init__(self, inner: PatchClassifier, n_calls: int) -> None:
        self._inner, self._left = inner, n_calls

    @property
    def card(self) -> ModelCard:
        return self._inner.card

    @property
    def device(self) -> str:
        return f"stand-in of process {os.getpid()}"

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED: the card has fallen off the bus")
        return self._inner.predict_features(patches)


def stand_in(request: ModelRequest, n_calls: int = 10**6) -> PatchClassifier:
    """Load the model of a request in the place of a GPU."""
    inner = load_classifier(find_model(str(request.folder)), device="cpu", n_threads=1)
    return GuardedClassifier(lambda n: inner if n is None else StandIn(inner, n_calls), 1024)


def failing_stand_in(request: ModelRequest) -> PatchClassifier:
    """Load one that fails after the first call."""
    return stand_in(request, 1)


def without_gpu_for(request: ModelRequest) -> PatchClassifier:
    """Find no GPU."""
    raise ModelError(f"no GPU was found for {request.folder.name}", "Install a driver")
