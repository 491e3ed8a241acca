"""Small archives of painted patches: dark violet is IDC, pale pink is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.learning.datasets import PatchDataset

IDC_RGB = (110, 60, 140)
OTHER_RGB = (225, 170, 200)

PaintPatch = Callable[..., NDArray[np.uint8]]
WritePatch = Callable[..., Path]


@pytest.fixture
def paint_patch() -> PaintPatch:
    def paint(label: int, *, seed: int = 0, side: int = 32) -> NDArray[np.uint8]:
        rng = np.random.default_rng([seed, label])
        color = np.array(IDC_RGB if label else OTHER_RGB)
        return np.clip(color + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)

    return paint


@pytest.fixture
def write_patch(paint_patch: PaintPatch) -> WritePatch:
    """Write a patch under the archive's name."""

    def write(root: Path, patient: str, label: int, x: int = 1, y: int = 1, side: int = 32) -> Path:
        folder = root / patient / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{patient}_idx5_x{x}_y{y}_class{label}.png"
        seed = x * 7919 + y + sum(map(ord, patient))
        Image.fromarray(paint_patch(label, seed=seed, side=side)).save(path)
        return path

    return write


@pytest.fixture
def make_dataset(paint_patch: PaintPatch) -> Callable[..., PatchDataset]:
    """Return patients "a", "b" ... with as many patches of each class each."""

    def make(patients: str = "ab", n_of_each: int = 8, side: int = 32) -> PatchDataset:
        rows = [
            (paint_patch(label, seed=ord(patient) * 1000 + i, side=side), label, patient, i)
            for patient in patients
            for label in (0, 1)
            for i in range(n_of_each)
        ]
        return PatchDataset(
            np.stack([row[0] for row in rows]),
            np.array([row[1] for row in rows], np.int8),
            np.array([row[2] for row in rows]),
            tuple(f"{row[2]}/{row[1]}/{row[3]}.png" for row in rows),
            np.array([(1 + side * row[3], 1 + side * row[1]) for row in rows], np.int32),
        )

    return make
