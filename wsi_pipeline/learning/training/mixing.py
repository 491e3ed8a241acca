"""Mixing the patches of a batch with one another, targets and all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a training step takes."""

    images: FloatArray
    """float32, shape (N, side, side, 3), 0 to 255."""
    targets: FloatArray
    """float32, shape (N, 1), 0 to 1."""
    weights: FloatArray
    """float32, shape (N, 1), of each patch in the loss."""


Mix = Callable[[Batch, float, np.random.Generator], Batch]


def mixed(batch: Batch, mixup: float, cutmix: float, rng: np.random.Generator) -> Batch:
    """Return the batch after MixUp or CutMix; where both are asked for, one or the other.

    Parameters
    ----------
    batch : Batch
    mixup, cutmix : float
        Alpha of the beta distribution of the shares; 0 = not this one.
    rng : numpy.random.Generator
    """
    choices: list[tuple[Mix, float]] = []
    if mixup > 0:
        choices.append((mix_up, mixup))
    if cutmix > 0:
        choices.append((cut_mix, cutmix))
    if not choices:
        return batch
    mix, alpha = choices[int(rng.integers(len(choices)))]
    return mix(batch, alpha, rng)


def mix_up(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Blend each patch with another of the batch (Zhang et al., ICLR 2018)."""
    share = rng.beta(alpha, alpha, len(batch.images)).astype(np.float32)
    other = rng.permutation(len(batch.images))
    s = share[:, None, None, None]
    return _blended(batch, other, share, s * batch.images + (1 - s) * batch.images[other])


def cut_mix(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Paste a rectangle of another patch into each (Yun et al., ICCV 2019).

    The target's share is the area that is left, counted in pixels.
    """
    n, height, width, _ = batch.images.shape
    side = np.sqrt(1 - rng.beta(alpha, alpha, n))
    inside = np.ones((n, height, width), bool)
    for axis, length in ((1, height), (2, width)):
        center = rng.uniform(0, length, n)
        low, high = (center + half * side * length / 2 for half in (-1, 1))
        middles = np.arange(length) + 0.5
        along = (middles >= low[:, None]) & (middles < high[:, None])
        inside &= np.expand_dims(along, 3 - axis)
    other = rng.permutation(n)
    images = np.where(inside[..., None], batch.images[other], batch.images)
    return _blended(batch, other, 1 - inside.mean((1, 2), dtype=np.float32), images)


def _blended(batch: Batch, other: NDArray[np.intp], share: FloatArray, images: FloatArray) -> Batch:
    """Return the images with targets and weights blended by the share of the first patch."""
    s = share[:, None]
    return Batch(
        images,
        s * batch.targets + (1 - s) * batch.targets[other],
        s * batch.weights + (1 - s) * batch.weights[other],
    )
