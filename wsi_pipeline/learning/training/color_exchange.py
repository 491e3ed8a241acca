"""Patches in the colors of other slides: what was scanned elsewhere must not be known by it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import StainError
from wsi_pipeline.geometry import FloatArray, RgbArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.normalization import PATIENT_PATCHES
from wsi_pipeline.stain.macenko import fit_macenko
from wsi_pipeline.stain.optical_density import select_stained
from wsi_pipeline.tissue import estimate_glass

logger = logging.getLogger(__name__)

LARGEST_RATIO: Final = 2.0
"""Between the amounts of a stain on two slides; beyond it one of the fits is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The colors of one slide."""

    mixing: NDArray[np.float64]
    """float64, shape (3, 3): optical density of full hematoxylin, full eosin and the residual."""
    glass_od: NDArray[np.float64]
    """float64, shape (3,): optical density of the glass."""

    @classmethod
    def fit(cls, patches: RgbArray) -> Self:
        """Measure patches of one slide by Macenko's method.

        Raises
        ------
        StainError
            Where they do not show two stains.
        """
        glass = estimate_glass(patches.reshape(1, -1, 3))
        vectors = fit_macenko(select_stained(patches.reshape(-1, 3), glass))
        residual = np.cross(*vectors.matrix)
        full = vectors.matrix * np.array(vectors.max_concentrations)[:, None]
        mixing = np.vstack([full, residual / np.linalg.norm(residual)])
        return cls(mixing, -np.log((np.array(glass) + 1.0) / 256.0))

    def recolored(self, patches: RgbArray, other: Look) -> RgbArray:
        """Return patches of this slide in the stains of another on the glass of their own.

        Parameters
        ----------
        patches : ndarray of uint8, shape (N, side, side, 3)
        other : Look

        Returns
        -------
        ndarray of uint8, same shape
        """
        target = replace(other, glass_od=self.glass_od)
        return np.rint(_exchanged(patches.astype(np.float32), self, target)).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class ColorExchange:
    """Brings patches to the stains and the glass of another slide, linear in optical density.

    Slides of the archive and of other tissue are drawn as targets alike, whatever slide a patch is
    of: then neither its dye nor its scanner says which of the two it is. Without this, negatives
    from elsewhere teach that another scanner means "no tumor".
    """

    looks: tuple[Look, ...]
    of_patch: NDArray[np.intp]
    """Shape (N,): the look of each patch, -1 where its slide shows none."""
    chances: NDArray[np.float64]
    """Shape (looks,): how often each is the target; sum 1."""

    @classmethod
    def fit(cls, *sides: PatchDataset) -> Self:
        """Measure each patient or slide of the data sets; each set is a target as often.

        Raises
        ------
        StainError
            Where fewer than two slides show two stains.
        """
        looks: list[Look] = []
        of_patch, chances = [], list[float]()
        for data in sides:
            mine = np.full(len(data), -1, np.intp)
            before = len(looks)
            for patient in np.unique(data.patients):
                members = np.flatnonzero(data.patients == patient)
                shown = members[np.linspace(0, len(members) - 1, PATIENT_PATCHES).astype(int)]
                try:
                    looks.append(Look.fit(data.images[np.unique(shown)]))
                except StainError:
                    continue
                mine[members] = len(looks) - 1
            of_patch.append(mine)
            n_new = len(looks) - before
            chances += [1 / max(1, n_new)] * n_new
        if len(looks) < 2:
            raise StainError(
                f"{len(looks)} slides of the training data show two stains",
                "Train without color exchange",
            )
        logger.info("colors of %d slides to exchange", len(looks))
        weights = np.array(chances)
        return cls(tuple(looks), np.concatenate(of_patch), weights / weights.sum())

    def apply(
        self,
        images: FloatArray,
        indices: NDArray[np.intp],
        share: float,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return the images, a share of them in the colors of another slide.

        Parameters
        ----------
        images : ndarray of float32, shape (n, side, side, 3)
            From 0 to 255.
        indices : ndarray of int, shape (n,)
            Of the patches in the data sets, one after the other.
        share : float
        rng : numpy.random.Generator
        """
        targets = rng.choice(len(self.looks), len(images), p=self.chances)
        chosen = (rng.uniform(size=len(images)) < share) & (self.of_patch[indices] >= 0)
        changed = images.copy()
        for i in np.flatnonzero(chosen):
            source, target = self.looks[self.of_patch[indices[i]]], self.looks[targets[i]]
            changed[i] = _exchanged(images[i], source, target)
        return changed


def _exchanged(image: FloatArray, source: Look, target: Look) -> FloatArray:
    """Return patches of a slide in the colors of another; glass becomes the other's glass."""
    lengths = [np.linalg.norm(look.mixing, axis=1, keepdims=True) for look in (source, target)]
    ratio = np.clip(lengths[1] / lengths[0], 1 / LARGEST_RATIO, LARGEST_RATIO)
    mixing = target.mixing / lengths[1] * lengths[0] * ratio
    matrix = (np.linalg.inv(source.mixing) @ mixing).astype(np.float32)
    density = -np.log((image + 1.0) / 256.0) - source.glass_od.astype(np.float32)
    density = density @ matrix + target.glass_od.astype(np.float32)
    return np.clip(256.0 * np.exp(-density) - 1.0, 0.0, 255.0).astype(np.float32)
