"""Networks of keras.applications under a new head, from scratch or from ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops

from wsi_pipeline.errors import ConfigError, ModelError

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
HEAD_LAYER: Final = "probability"
BATCH_STATISTICS_MOMENTUM: Final = 0.98
"""At most: MobileNetV2's own 0.999 forgets ImageNet's statistics over thousands of steps, and a
fine-tuning of a few hundred would be judged by those of other pictures."""


def _to_unit_range(x: Any) -> Any:
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess")(x)


def _to_standard_scores(x: Any) -> Any:
    scale = [1 / (255 * std) for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return layers.Rescaling(scale, offset=offset, name="preprocess")(x)


def _to_bgr_less_mean(x: Any) -> Any:
    x = layers.Rescaling(1.0, offset=[-123.68, -116.779, -103.939], name="preprocess")(x)
    return ops.flip(x, axis=-1)


def _as_it_is(x: Any) -> Any:
    return x


@dataclass(frozen=True, slots=True)
class Base:
    """One network of keras.applications."""

    builder: str
    """Its name there."""
    preprocess: Callable[[Any], Any]
    """What its ImageNet weights expect, as Keras layers: it travels with the model."""
    last: str = ""
    """The layer whose channels are pooled; "" = the base's own end."""
    input_px: int = 96
    """Smaller patches are enlarged to this: these networks halve their input five times."""


BASES: Final = {
    "vgg16": Base("VGG16", _to_bgr_less_mean),
    "vgg19": Base("VGG19", _to_bgr_less_mean),
    "resnet50": Base("ResNet50", _to_bgr_less_mean),
    "inception-v3": Base("InceptionV3", _to_unit_range),
    "inception-resnet-v2": Base("InceptionResNetV2", _to_unit_range),
    "densenet201": Base("DenseNet201", _to_standard_scores),
    "mobilenet-v2": Base("MobileNetV2", _to_unit_range),
    # its first 0.6 of 2.3 million weights: as good in short trainings, in two thirds of the time
    "mobilenet-v2-short": Base(
        "MobileNetV2", _to_unit_range, last="block_13_expand_relu", input_px=80
    ),
    "efficientnet-b0": Base("EfficientNetB0", _as_it_is),  # it brings its own rescaling
}


def imagenet_network(
    name: str, patch_px: int, *, weights: str = "", input_px: int = 0, dropout: float = 0.3
) -> keras.Model:
    """Return a base, global average pooling, dropout and one dense unit.

    Parameters
    ----------
    name : str
        One of `BASES`.
    patch_px : int
        Side of a patch.
    weights : str
        "" = from scratch, "imagenet" = loaded by Keras (needs a network once), or a weights file of
        the same base without its top.
    input_px : int
        The patch is resized to this inside the model; 0 = the patch's side, but at least the
        base's own, 80 or 96.
    dropout : float
        Share dropped before the last layer.

    Raises
    ------
    ModelError
        Where the weights cannot be loaded into the base.
    """
    base, side = BASES[name], input_px or max(patch_px, BASES[name].input_px)
    inputs = keras.Input((patch_px, patch_px, 3), dtype="float32", name="patch")
    x = inputs
    if side != patch_px:
        x = layers.Resizing(side, side, interpolation="bilinear", name="resize")(x)
    x = _base(base, base.preprocess(x), weights)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32", name=HEAD_LAYER)(x)
    return keras.Model(inputs, outputs, name=name)


def _base(base: Base, x: Any, weights: str) -> Any:
    builder = getattr(keras.applications, base.builder)
    if weights and weights != "imagenet" and not Path(weights).is_file():
        raise ConfigError(
            f"there is no weights file {weights!r}", "Use --weights imagenet or name a file"
        )
    if base.builder == "EfficientNetB0" and weights not in ("", "imagenet"):
        x = _as_keras_scales_imagenet(x)
    try:
        built = builder(include_top=False, weights=weights or None, input_tensor=x)
    except Exception as error:  # Keras and h5py raise many kinds; a download fails in more
        raise ModelError(
            f"weights {weights!r} cannot be loaded into {base.builder}: "
            f"{str(error).splitlines()[0][:200]}",
            "The file must be of the same network without its top; --weights imagenet needs a "
            "network connection",
        ) from error
    for layer in built.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = min(layer.momentum, BATCH_STATISTICS_MOMENTUM)
    return built.get_layer(base.last).output if base.last else built.output


def _as_keras_scales_imagenet(x: Any) -> Any:
    """Undo what Keras leaves out for a file: its ImageNet weights expect (x - mean) / std^1.5."""
    root = np.sqrt(IMAGENET_STD)
    offset = 255 * np.array(IMAGENET_MEAN) * (1 - 1 / root)
    return layers.Rescaling([float(v) for v in 1 / root], offset=[float(v) for v in offset])(x)


def freeze_base(network: keras.Model) -> None:
    """Let only the head train; batch normalization then runs on its stored statistics."""
    for layer in network.layers:
        layer.trainable = layer.name == HEAD_LAYER


def unfreeze_top(network: keras.Model, share: float) -> None:
    """Let the upper `share` of the layers with weights train too, batch normalization excepted.

    Batch statistics of a few thousand patches would spoil those of a million images.
    """
    weighted = [layer for layer in network.layers if layer.weights]
    n_frozen = round((1 - share) * len(weighted))
    for layer in weighted[n_frozen:]:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
