"""Optimizers, schedule and losses by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import keras

from wsi_pipeline.errors import ConfigError

OPTIMIZERS: Final[dict[str, Callable[[Any, float], keras.optimizers.Optimizer]]] = {
    "adamw": lambda schedule, decay: keras.optimizers.AdamW(
        schedule, weight_decay=decay, clipnorm=1.0
    ),
    "adam": lambda schedule, _decay: keras.optimizers.Adam(schedule, clipnorm=1.0),
    "sgd": lambda schedule, decay: keras.optimizers.SGD(
        schedule, momentum=0.9, nesterov=True, weight_decay=decay, clipnorm=1.0
    ),
}
"""From a learning rate schedule and a weight decay; "sgd" has Nesterov momentum."""

LOSSES: Final[dict[str, Callable[[float], keras.losses.Loss]]] = {
    "cross-entropy": lambda smoothing: keras.losses.BinaryCrossentropy(label_smoothing=smoothing),
    "focal": lambda smoothing: keras.losses.BinaryFocalCrossentropy(
        gamma=2.0, label_smoothing=smoothing
    ),
}
"""From a label smoothing. Focal: patches that are clear already weigh little (Lin et al. 2017)."""


def make_optimizer(
    name: str, *, learning_rate: float, weight_decay: float, warm_up_steps: int, steps: int
) -> keras.optimizers.Optimizer:
    """Return an optimizer with a linear warm-up and a cosine decay to zero after it.

    Parameters
    ----------
    name : str
        One of `OPTIMIZERS`.
    learning_rate : float
        Peak of the schedule.
    weight_decay : float
        Of kernels only, not of biases and normalization; "adam" has none.
    warm_up_steps, steps : int
        Batches of the warm-up, and after it.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, max(1, steps), warmup_target=learning_rate, warmup_steps=warm_up_steps
    )
    optimizer = _of(OPTIMIZERS, name, "optimizer")(schedule, weight_decay)
    if optimizer.weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def make_loss(name: str, label_smoothing: float) -> keras.losses.Loss:
    """Return a loss of `LOSSES`."""
    return _of(LOSSES, name, "loss")(label_smoothing)


def _of(known: dict[str, Any], name: str, kind: str) -> Any:
    if name not in known:
        raise ConfigError(f"there is no {kind} {name!r}", f"Choose one of {', '.join(known)}")
    return known[name]
