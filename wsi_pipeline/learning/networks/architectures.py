"""Networks by name: RGB patches from 0 to 255 in, the probability of IDC out, (N, 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.learning.networks.imagenet import BASES, imagenet_network


def compact_residual(
    patch_px: int,
    *,
    widths: tuple[int, ...] = (32, 64, 128),
    depths: tuple[int, ...] = (1, 2, 2),
    stem: int = 16,
    dropout: float = 0.3,
) -> keras.Model:
    """Return a small residual network for patches of a few dozen pixels (He et al. 2016).

    A stem at full resolution, as nuclei are one or two pixels wide at 8 µm/px, then one stage a
    halving. The mean and the maximum of the last stage are classified together: a small focus in a
    patch of stroma must not be averaged away.

    Parameters
    ----------
    patch_px : int
        Side of a patch.
    widths, depths : tuple of int
        Channels and residual blocks of each stage.
    stem : int
        Channels of the stem.
    dropout : float
        Share dropped before the last layer.
    """
    inputs = keras.Input((patch_px, patch_px, 3), dtype="float32", name="patch")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="to_unit_range")(inputs)
    x = _convolution(x, stem, name="stem")
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        for block in range(1, depth + 1):
            stride = 2 if block == 1 else 1
            x = _residual_block(x, width, stride, name=f"stage{stage}_block{block}")
    mean = layers.GlobalAveragePooling2D(name="mean")(x)
    largest = layers.GlobalMaxPooling2D(name="largest")(x)
    x = layers.Concatenate(name="features")([mean, largest])
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name="compact_residual")


def _convolution(
    x: Any, width: int, *, name: str, size: int = 3, stride: int = 1, activate: bool = True
) -> Any:
    x = layers.Conv2D(
        width,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=0.98, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activate else x


def _residual_block(x: Any, width: int, stride: int, *, name: str) -> Any:
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same", name=f"{name}_pool")(shortcut)
    if shortcut.shape[-1] != width:
        shortcut = _convolution(shortcut, width, size=1, activate=False, name=f"{name}_shortcut")
    x = _convolution(x, width, stride=stride, name=f"{name}_a")
    x = _convolution(x, width, activate=False, name=f"{name}_b")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, x]))


def baseline_cnn(patch_px: int) -> keras.Model:
    """Return a plain convolutional network, the yardstick for everything else.

    Three convolutions with pooling and two dense layers, after Cruz-Roa et al. 2014.
    """
    inputs = keras.Input((patch_px, patch_px, 3), dtype="float32", name="patch")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="to_unit_range")(inputs)
    for stage, width in enumerate((16, 32, 128), 1):
        x = layers.Conv2D(width, 5, padding="same", activation="relu", name=f"conv{stage}")(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{stage}")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name="baseline_cnn")


FROM_SCRATCH: dict[str, Callable[[int], keras.Model]] = {
    "compact-residual": compact_residual,
    "compact-residual-small": partial(compact_residual, widths=(16, 64, 96), depths=(1, 1, 2)),
    "baseline-cnn": baseline_cnn,
}
"""Our own networks by the name that `--architecture` takes; each takes the patch side in pixels."""


def architecture_names() -> list[str]:
    """Return every name that `build` knows."""
    return [*FROM_SCRATCH, *BASES]


def build(name: str, patch_px: int, *, weights: str = "", input_px: int = 0) -> keras.Model:
    """Return a new network.

    Parameters
    ----------
    name : str
        One of `architecture_names`.
    patch_px : int
        Side of a patch.
    weights, input_px
        See `imagenet_network`; for its networks only.

    Raises
    ------
    ConfigError
        Where no architecture has this name, or it has no ImageNet weights.
    """
    if name in BASES:
        return imagenet_network(name, patch_px, weights=weights, input_px=input_px)
    if name not in FROM_SCRATCH:
        raise ConfigError(
            f"there is no architecture {name!r}", f"Choose one of {', '.join(architecture_names())}"
        )
    if weights or input_px:
        raise ConfigError(
            f"{name} starts from scratch at the patch's own size",
            f"Leave weights and input size out, or choose one of {', '.join(BASES)}",
        )
    return FROM_SCRATCH[name](patch_px)
