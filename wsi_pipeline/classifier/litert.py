"""The CPU engine: LiteRT starts in a fraction of a second where TensorFlow takes several."""

from __future__ import annotations

import threading

import numpy as np

from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.classifier import calibrated
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray, RgbArray

BATCH = 16
"""Fixed, so that no result depends on how many patches come at once."""


class LiteRTClassifier:
    """The network of `model.tflite` on the CPU. One owner at a time; safe between threads."""

    def __init__(self, card: ModelCard, n_threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._card, self._n_threads, self._lock = card, n_threads, threading.Lock()
        side = card.patch_size_px
        try:
            self._interpreter = Interpreter(str(card.litert_path), num_threads=n_threads)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._output = self._interpreter.get_output_details()[0]["index"]
            self._interpreter.resize_tensor_input(self._input, (BATCH, side, side, 3), strict=False)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{card.litert_path} cannot be loaded: {error}",
                "Delete model.tflite to use the Keras model, or make the folder again",
            ) from error

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._card

    @property
    def device(self) -> str:
        """Where it runs."""
        return f"CPU, LiteRT, {self._n_threads} threads"

    def predict(self, patches: RgbArray) -> FloatArray:
        """Return the calibrated probability of each patch, float32 (N,)."""
        if not len(patches):
            return np.empty(0, np.float32)
        low, high = self._card.input_range
        outputs = []
        with self._lock:
            for start in range(0, len(patches), BATCH):
                batch = np.zeros((BATCH, *patches.shape[1:]), np.float32)
                part = patches[start : start + BATCH]
                batch[: len(part)] = part
                if (low, high) != (0.0, 255.0):
                    batch = batch * np.float32((high - low) / 255.0) + np.float32(low)
                self._interpreter.set_tensor(self._input, batch)
                self._interpreter.invoke()
                outputs.append(self._interpreter.get_tensor(self._output)[: len(part)])
        return calibrated(np.concatenate(outputs), self._card)
