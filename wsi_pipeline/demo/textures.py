"""Periodic fine structure: fibers, nuclei, nests and fat cells.

A texture repeats every `PERIOD_PX`; slow displacement fields bend it, so that no period shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from wsi_pipeline.geometry import FloatArray

PERIOD_PX = 1024
"""Side of a texture."""
FAT_CELL_PX = 15.5
"""Mean width of a fat cell: 62 µm."""
TUMOR_NUCLEUS_PX = 3.3
"""Distance between neighboring tumor nuclei: 13 µm."""


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """Periodic fine structure, float32 (PERIOD_PX, PERIOD_PX) each."""

    fibers: tuple[FloatArray, FloatArray]
    """Collagen strands along x and along y, mean 0, spread 1."""
    stroma_nuclei: tuple[FloatArray, FloatArray]
    """Sparse spindle nuclei along x and along y, about 0 to 1."""
    nests: FloatArray
    """Band-limited field whose high places are nests of tumor, spread 1."""
    tumor_nuclei: FloatArray
    """Densely packed round nuclei, about 0 to 1."""
    septa: FloatArray
    """Walls of fat cells, 0 to 1."""
    fat_cell: FloatArray
    """One random number a fat cell, 0 to 1."""
    grain: FloatArray
    """Fine noise, spread 1."""


def weave(rng: np.random.Generator) -> Textures:
    """Return the textures; they do not depend on the slide's size."""
    septa, fat_cell = _fat_cells(rng)
    count = round(PERIOD_PX / TUMOR_NUCLEUS_PX)
    nests = _periodic(rng, (5.5, 6.5)) + 0.5 * _periodic(rng, (11, 13))
    nuclei = _dots(_jittered_grid(rng, count, 0.5), rng, (0.95, 0.95))
    return Textures(
        fibers=(_fibers(rng), np.ascontiguousarray(_fibers(rng).T)),
        stroma_nuclei=(_sparse_nuclei(rng), np.ascontiguousarray(_sparse_nuclei(rng).T)),
        nests=(nests / nests.std()).astype(np.float32),
        tumor_nuclei=np.clip(nuclei * (1 + 0.33 * _periodic(rng, (2.2, 2.2))), 0, 1.6),
        septa=septa,
        fat_cell=fat_cell,
        grain=_periodic(rng, (0.6, 0.6)),
    )


def _periodic(rng: np.random.Generator, sigma_px: tuple[float, float]) -> FloatArray:
    """Periodic random field of spread 1, smooth over `sigma_px` along (y, x)."""
    field = _blur(rng.standard_normal((PERIOD_PX, PERIOD_PX), np.float32), sigma_px)
    return np.asarray(field / field.std(), np.float32)


def _blur(texture: FloatArray, sigma_px: tuple[float, float]) -> FloatArray:
    """Blur a periodic texture with a Gaussian; in the Fourier domain any width costs the same."""
    waves = fft.rfft2(texture)
    along_y, along_x = fft.fftfreq(PERIOD_PX), fft.rfftfreq(PERIOD_PX)
    waves *= np.exp(-2 * (np.pi * sigma_px[0] * along_y) ** 2)[:, None].astype(np.float32)
    waves *= np.exp(-2 * (np.pi * sigma_px[1] * along_x) ** 2).astype(np.float32)
    return np.asarray(fft.irfft2(waves, s=texture.shape), np.float32)


def _fibers(rng: np.random.Generator) -> FloatArray:
    """Wavy strands along x: bundles, strands and fibrils."""
    straight = _periodic(rng, (5, 26)) + 0.9 * _periodic(rng, (2.0, 11))
    straight += 0.9 * _periodic(rng, (1.0, 4.5))
    y, x = np.mgrid[0:PERIOD_PX, 0:PERIOD_PX]
    wave = (5 * _periodic(rng, (14, 18))).astype(np.int32)
    wavy = straight[(y + wave) % PERIOD_PX, x]
    return np.asarray((wavy / wavy.std()), np.float32)


def _sparse_nuclei(rng: np.random.Generator) -> FloatArray:
    """Spindle nuclei along x, partly in small crowds."""
    crowds = _periodic(rng, (18, 30))
    points = rng.integers(0, PERIOD_PX, (22000, 2))
    kept = rng.random(len(points)) < 0.22 + 0.25 * np.clip(crowds[tuple(points.T)], 0, 2)
    return _dots(points[kept], rng, (0.8, 1.3))


def _jittered_grid(rng: np.random.Generator, count: int, jitter: float) -> NDArray[np.int64]:
    """Return `count` x `count` points (y, x) of a disturbed grid over the period."""
    rows, cols = np.mgrid[0:count, 0:count].reshape(2, -1)
    points = np.stack([rows, cols + 0.5 * (rows % 2)], axis=1)
    points = points + rng.uniform(-jitter, jitter, points.shape)
    return (points * (PERIOD_PX / count)).round().astype(np.int64) % PERIOD_PX


def _dots(
    points: NDArray[np.int64], rng: np.random.Generator, sigma_px: tuple[float, float]
) -> FloatArray:
    """Blurred dots of varied darkness, about 1 at the middle of a dot."""
    impulses = np.zeros((PERIOD_PX, PERIOD_PX), np.float32)
    np.add.at(impulses, tuple(points.T), rng.uniform(0.3, 1.5, len(points)).astype(np.float32))
    peak = 2 * np.pi * sigma_px[0] * sigma_px[1]
    return np.asarray(np.clip(_blur(impulses, sigma_px) * peak, 0, 1.5), np.float32)


def _fat_cells(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return the walls of polygonal cells, 0 to 1, and a random number a cell."""
    count = round(PERIOD_PX / FAT_CELL_PX)
    spacing = PERIOD_PX / count
    center = rng.uniform(-0.36, 0.36, (2, count, count)).astype(np.float32) + 0.5
    center[1, 1::2] += 0.5
    center[0, rng.random((count, count)) < 0.12] = np.inf  # no cell here: its neighbors are large
    position = ((np.arange(PERIOD_PX) + 0.5) / spacing).astype(np.float32)
    cell = position.astype(np.int64)
    nearest = np.full((PERIOD_PX, PERIOD_PX), np.inf, np.float32)
    second = nearest.copy()
    number = rng.random((count, count), np.float32)
    owner = np.zeros_like(nearest)
    for row, col in _neighbors():
        rows, cols = np.ix_((cell + row) % count, (cell + col) % count)
        dy = (cell + row)[:, None] + center[0, rows, cols] - position[:, None]
        dx = (cell + col)[None, :] + center[1, rows, cols] - position[None, :]
        distance = np.hypot(dy, dx).astype(np.float32)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        owner = np.where(closer, number[rows, cols], owner)
        nearest = np.where(closer, distance, nearest)
    thickness = np.clip(1.7 + 0.5 * _periodic(rng, (12, 12)), 0.9, 3.5)
    walls = np.exp(-(((second - nearest) * spacing / thickness) ** 2))
    return walls, owner


def _neighbors() -> Iterator[tuple[int, int]]:
    """Offsets of the cells whose centers may be nearest; odd rows are shifted to the right."""
    for row in (-1, 0, 1):
        for col in (-2, -1, 0, 1):
            yield row, col
