"""The CPU engine: LiteRT starts in a fraction of a second where TensorFlow takes several."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np

from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.classifier import PatchClassifier, calibrated, split_outputs
from wsi_pipeline.classifier.engines.stderr_filter import logged_lines
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray, RgbArray

BATCH = 16
"""Fixed, so that no result depends on how many patches come at once."""


GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate"
"""What the first interpreter of a process writes; no setting of LiteRT's keeps it away."""


class LiteRTClassifier(PatchClassifier):
    """The network of `model.tflite` on the CPU. Safe between threads.

    Batches go to a pool of threads, each with an interpreter of one thread: on two cores a fifth
    faster than an interpreter of two threads, which wait for each other in every layer, and still
    all cores work for a single caller. An interpreter takes some ten megabytes.
    """

    def __init__(self, card: ModelCard, n_threads: int) -> None:
        self._card, self._n_threads = card, n_threads
        # made here rather than in the pool, where nobody would hear of a damaged model
        self._idle = [_Engine(card)]
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="litert")

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._card

    @property
    def device(self) -> str:
        """Where it runs."""
        precision = (self._card.record.get("litert") or {}).get("precision", "float32")
        return f"CPU, LiteRT {precision}, {self._n_threads} threads"

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return probabilities (N,), and features (N, n) where the network gives any."""
        if not len(patches):
            return np.empty(0, np.float32), None
        batches = (patches[start : start + BATCH] for start in range(0, len(patches), BATCH))
        parts = list(self._pool.map(self._run, batches))
        outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
        found, features = split_outputs(outputs, self._card)
        self._card.require_fitting(found)
        return calibrated(found, self._card), features

    def _run(self, patches: RgbArray) -> list[FloatArray]:
        try:
            engine = self._idle.pop()
        except IndexError:
            engine = _Engine(self._card)
        try:
            return engine.run(patches)
        finally:
            self._idle.append(engine)


class _Engine:
    """One interpreter, for one thread at a time."""

    _first = threading.Lock()
    _greeted = False

    def __init__(self, card: ModelCard) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._low, self._high = card.input_range
        self._shape = (BATCH, card.patch_size_px, card.patch_size_px, 3)
        try:
            self._interpreter = Interpreter(str(card.litert_path), num_threads=1)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._outputs = [d["index"] for d in self._interpreter.get_output_details()]
            self._interpreter.resize_tensor_input(self._input, self._shape, strict=False)
            self._allocate()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{card.litert_path} cannot be loaded: {error}",
                "Delete model.tflite to use the Keras model, or make the folder again",
            ) from error

    def _allocate(self) -> None:
        with _Engine._first:  # others wait, so that the descriptor is turned aside by one alone
            greets = not _Engine._greeted
            with logged_lines(GREETING) if greets else nullcontext():
                self._interpreter.allocate_tensors()
            _Engine._greeted = True

    def run(self, patches: RgbArray) -> list[FloatArray]:
        """Return what each output gives for at most `BATCH` patches."""
        batch = np.zeros(self._shape, np.float32)
        batch[: len(patches)] = patches
        if (self._low, self._high) != (0.0, 255.0):
            batch = batch * np.float32((self._high - self._low) / 255.0) + np.float32(self._low)
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(n)[: len(patches)] for n in self._outputs]
