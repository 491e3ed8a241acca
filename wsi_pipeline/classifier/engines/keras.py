"""The Keras engine: any model folder, any Keras backend, on a GPU where there is one."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, Self

import keras
import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.classifier import PatchClassifier, calibrated, split_outputs
from wsi_pipeline.classifier.engines.device import compiled, is_worth_compiling
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray, RgbArray

BATCHES_UNDER_WAY: Final = 2
"""Sent to the device before the first is fetched: it never waits for the host, and its memory
holds no more."""


class KerasClassifier(PatchClassifier):
    """The network of `model.keras`. One owner at a time; safe between threads.

    Parameters
    ----------
    card : ModelCard
    batch_size : int
        Every call of the compiled function has this many patches; the last is padded.
    device : str
        In words, for the record.
    mixed_precision : bool
        Compute in half precision where the device gains from it; the output stays float32.
    """

    def __init__(
        self, card: ModelCard, *, batch_size: int, device: str, mixed_precision: bool = False
    ) -> None:
        self._card, self._batch_size, self._lock = card, batch_size, threading.Lock()
        self._device = f"{device}, Keras on {keras.backend.backend()}"
        model = load_keras_model(card)
        if mixed_precision:
            model = in_precision(model, "mixed_bfloat16")
            self._device += ", mixed precision"
        # takes a batch of bytes; what it gives stays on the device
        self.network = compiled(
            _from_bytes(model, card), with_xla=is_worth_compiling(on_gpu=mixed_precision)
        )

    def resized(self, batch_size: int) -> Self:
        """Return the same network, taking other batches; nothing is loaded twice."""
        other = copy.copy(self)
        other._batch_size = batch_size
        return other

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._card

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._device

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return probabilities (N,), and features (N, n) where the network gives any."""
        if not len(patches):
            return np.empty(0, np.float32), None
        with self._lock:
            batches = list(self._run(patches))
        outputs = [np.concatenate(output) for output in zip(*batches, strict=True)]
        found, features = split_outputs(outputs, self._card)
        self._card.require_fitting(found)
        return calibrated(found, self._card), features

    def _run(self, patches: RgbArray) -> Iterator[list[NDArray[np.floating]]]:
        """Yield the outputs of each batch, fetched when the following ones are on their way."""
        under_way: deque[tuple[list[Any], int]] = deque()
        for start in range(0, len(patches), self._batch_size):
            part = patches[start : start + self._batch_size]
            batch = part
            if len(part) < self._batch_size:  # one shape: compiled once
                batch = np.zeros((self._batch_size, *patches.shape[1:]), np.uint8)
                batch[: len(part)] = part
            under_way.append((self.network(batch), len(part)))
            if len(under_way) > BATCHES_UNDER_WAY:
                yield _fetched(*under_way.popleft())
        while under_way:
            yield _fetched(*under_way.popleft())


def _fetched(outputs: list[Any], n_patches: int) -> list[NDArray[np.floating]]:
    return [np.asarray(keras.ops.convert_to_numpy(output))[:n_patches] for output in outputs]


def _from_bytes(model: keras.Model, card: ModelCard) -> keras.Model:
    """Return the network with its scaling before it: pixels reach the device as bytes."""
    low, high = card.input_range
    side = card.patch_size_px
    pixels = keras.Input((side, side, 3), dtype="uint8")
    scaled = keras.layers.Rescaling((high - low) / 255.0, low, dtype="float32")(pixels)
    return keras.Model(pixels, model(scaled))


def load_keras_model(card: ModelCard) -> keras.Model:
    """Load `model.keras` in safe mode (no code of the file runs) and check that it fits its card.

    Raises
    ------
    ModelError
        Where the file cannot be loaded or its input or output is not what the card says.
    """
    try:
        model = keras.models.load_model(card.weights_path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises a dozen kinds here
        raise ModelError(
            f"{card.weights_path} cannot be loaded: {str(error).splitlines()[0][:300]}",
            "It must be a Keras 3 file made of Keras layers only (no Lambda, no custom code)",
        ) from error
    side, shape = card.patch_size_px, tuple(model.input_shape)
    if len(shape) != 4 or shape[3] != 3 or shape[1] not in (side, None):
        raise ModelError(
            f"{card.name} takes input {shape}, its card says patches of {side} x {side} RGB",
            "patch_size_px in model.json must be the side the network was built for",
        )
    shapes = model.output_shape if len(model.outputs) > 1 else [model.output_shape]
    examples = [np.full((1, *(n or 1 for n in shape[1:])), 0.5) for shape in shapes]
    card.require_fitting(split_outputs(examples, card)[0])
    return model


def probability_network(model: keras.Model) -> keras.Model:
    """Return a network's first output alone: what trains on."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.inputs, model.outputs[0], name=model.name)


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """Return the same network with the same weights, computing by another dtype policy.

    Parameters
    ----------
    model : keras.Model
    policy : {"float32", "mixed_bfloat16", "mixed_float16"}
        Of every layer but the outputs, which give float32 in any case. Weights stay float32.
    """
    last = {output._keras_history.operation.name for output in model.outputs}

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.Model):  # a network inside the network
            return in_precision(layer, policy)
        config = layer.get_config()
        is_input = isinstance(layer, keras.layers.InputLayer)
        if "dtype" in config and layer.name not in last and not is_input:
            config["dtype"] = policy
        return layer.__class__.from_config(config)

    twin = keras.models.clone_model(model, clone_function=clone)
    twin.set_weights(model.get_weights())
    return twin
