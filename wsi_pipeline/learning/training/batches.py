"""The batches of an epoch: which patches are drawn, and what a step takes of them."""

from __future__ import annotations

from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.training.color_exchange import ColorExchange
from wsi_pipeline.learning.training.mixing import Batch, mixed
from wsi_pipeline.learning.training.options import TrainingOptions


def _each_once(data: PatchDataset, rng: np.random.Generator) -> NDArray[np.intp]:
    return rng.permutation(len(data))


def _as_many_of_either(data: PatchDataset, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw half of an epoch from either class; the rarer class comes more than once."""
    n = len(data) // 2
    halves = [np.flatnonzero(data.labels == label) for label in (0, 1)]
    drawn = [rng.choice(half, n, replace=len(half) < n) for half in halves]
    return rng.permutation(np.concatenate(drawn))


def _by_root_of_patient(data: PatchDataset, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw from each patient as the root of its patches: whole slides outweigh samples less.

    Patches of one patient are much alike; a new patient is what the network will meet.
    """
    return rng.permutation(_by_root(data.patients, len(data), rng))


def _by_root(
    patients: NDArray[np.str_], n_wanted: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return about so many indices, of each patient in proportion to the root of its patches."""
    members = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    roots = np.sqrt([len(mine) for mine in members])
    shares = np.rint(n_wanted * roots / roots.sum()).astype(int)
    drawn = [np.resize(rng.permutation(mine), n) for mine, n in zip(members, shares, strict=True)]
    return np.concatenate(drawn)


SAMPLINGS: Final = {
    "natural": _each_once,
    "balanced": _as_many_of_either,
    "patients": _by_root_of_patient,
}
"""How the patches of an epoch are drawn."""


class PatchBatches(keras.utils.PyDataset):
    """The batches of one epoch, in an order that the seed and the epoch alone decide.

    Parameters
    ----------
    data : PatchDataset
    options : TrainingOptions
    epoch : int
    negatives : PatchDataset, optional
        Patches of other tissue: `options.negatives_share` of the epoch, by the root of each slide.
        In `order` they stand after those of `data`.
    exchange : ColorExchange, optional
        Of `data` and, after them, `negatives`.
    """

    def __init__(
        self,
        data: PatchDataset,
        options: TrainingOptions,
        epoch: int,
        negatives: PatchDataset | None = None,
        exchange: ColorExchange | None = None,
    ) -> None:
        super().__init__()
        self.data, self.options, self.epoch = data, options, epoch
        self.negatives, self.exchange = negatives, exchange
        rng = np.random.default_rng([options.seed, epoch])
        self.order = SAMPLINGS[options.sampling](data, rng)
        if negatives is not None:
            share = options.negatives_share
            n_wanted = round(share / (1 - share) * len(self.order))
            drawn = len(data) + _by_root(negatives.patients, n_wanted, rng)
            self.order = rng.permutation(np.concatenate([self.order, drawn]))

    def __len__(self) -> int:
        return max(1, len(self.order) // self.options.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        """Return float32 patches (N, side, side, 3) from 0 to 255, targets and weights (N, 1)."""
        size = self.options.batch_size
        chosen = self.order[index * size : (index + 1) * size]
        images, labels, targets = self._taken(chosen)
        rng = np.random.default_rng([self.options.seed, self.epoch, index])
        if self.exchange is not None:
            images = self.exchange.apply(images, chosen, self.options.color_exchange, rng)
        weights = np.where(labels > 0, self.options.positive_weight, 1.0).astype(np.float32)
        batch = Batch(images, targets, weights)
        batch = mixed(batch, self.options.mixup, self.options.cutmix, rng)
        return batch.images, batch.targets, batch.weights

    def _taken(self, chosen: NDArray[np.intp]) -> tuple[Any, Any, Any]:
        """Return images, labels and targets of some patches, float32."""
        n, side = len(self.data), self.data.images.shape[1]
        images = np.empty((len(chosen), side, side, 3), np.float32)
        labels = np.zeros((len(chosen), 1), np.float32)
        targets = np.zeros((len(chosen), 1), np.float32)
        ours = chosen < n
        images[ours] = self.data.images[chosen[ours]]
        labels[ours, 0] = self.data.labels[chosen[ours]]
        aims = self.data.labels if self.data.targets is None else self.data.targets
        targets[ours, 0] = aims[chosen[ours]]
        if self.negatives is not None:
            images[~ours] = self.negatives.images[chosen[~ours] - n]
        return images, labels, targets
