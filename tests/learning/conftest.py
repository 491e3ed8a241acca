"""Small archives of painted patches: dark violet is IDC, pale pink is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.rule_classifier import RuleClassifier, darkness
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.learning.data.datasets import PatchDataset

IDC_RGB = (110, 60, 140)
OTHER_RGB = (225, 170, 200)

PaintPatch = Callable[..., NDArray[np.uint8]]
WritePatch = Callable[..., Path]


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def make_color_classifier() -> Callable[[], RuleClassifier]:
    """Return classifiers for patches of 32 px whose cards name the patients they have seen."""
    return lambda: RuleClassifier(
        ModelCard(
            folder=Path("color-rule"),
            name="color-rule",
            patch_size_px=32,
            spacing_um_px=8.0,
            class_names=("IDC",),
            input_range=(0.0, 255.0),
            sha256="0" * 64,
            threshold=0.4,
            record={
                "operating_points": {"balanced": 0.4, "high_sensitivity": 0.2},
                "split": {"name": "by hand", "train": ["a"], "validation": ["b"]},
                "training": {
                    "history": [
                        {
                            "loss": 1 / e,
                            "validation_loss": 1.1 / e,
                            "validation_auc": 1 - 0.4 / e,
                            "validation_accuracy": 1 - 0.5 / e,
                            "accuracy": 1 - 0.6 / e,
                        }
                        for e in (1, 2, 3)
                    ]
                },
            },
        ),
        darkness,
    )


@pytest.fixture
def color_classifier(make_color_classifier: Callable[[], RuleClassifier]) -> RuleClassifier:
    return make_color_classifier()
