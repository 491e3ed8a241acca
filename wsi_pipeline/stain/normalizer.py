"""A fitted normalizer: plain data, and a function of one pixel."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain.lookup import ColorTable, apply_table, build_table
from wsi_pipeline.stain.optical_density import Rgb, optical_density, stain_weight


class StainNormalizer(ABC):
    """What a fit returns: frozen, hashable, a few numbers that travel to any worker.

    `transform` runs through a table that each process builds for itself on first use.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def method(self) -> str:
        """Name of the method, as in the configuration."""

    @abstractmethod
    def evaluate(self, rgb: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the normalized color by the formula itself.

        Parameters
        ----------
        rgb : ndarray, shape (..., 3)
            Levels, 0 to 255.

        Returns
        -------
        ndarray of float64, shape (..., 3)
            Levels; outside 0 to 255 where the normalizer asks for more than a screen can show.
            Blank pixels come back as they are.
        """

    def transform(self, rgb: RgbArray) -> RgbArray:
        """Return normalized pixels, uint8 of the same shape (..., 3)."""
        return apply_table(_table(self), rgb)


@dataclass(frozen=True, slots=True)
class Unchanged(StainNormalizer):
    """The end of the chain of fallbacks: colors stay as they are."""

    @property
    def method(self) -> str:
        """Name of the method."""
        return "none"

    def evaluate(self, rgb: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the levels as they are."""
        return np.asarray(rgb, dtype=np.float64)

    def transform(self, rgb: RgbArray) -> RgbArray:
        """Return the pixels themselves."""
        return rgb


def keep_blank(
    rgb: NDArray[np.generic], normalized: NDArray[np.float64], glass_rgb: Rgb
) -> NDArray[np.float64]:
    """Return `normalized` where there is stain and `rgb` where the pixel is blank."""
    original = np.asarray(rgb, dtype=np.float64)
    weight = stain_weight(optical_density(rgb, glass_rgb))
    return np.asarray(original + weight * (normalized - original), dtype=np.float64)


def _table(normalizer: StainNormalizer) -> ColorTable:
    """Return the normalizer's table; the threads of a process build it once and share it."""
    with _building:
        return _built(normalizer)


_building = threading.Lock()


@lru_cache(maxsize=8)  # a process works on a few slides at once; each table is 8 MB
def _built(normalizer: StainNormalizer) -> ColorTable:
    return build_table(normalizer.evaluate)
