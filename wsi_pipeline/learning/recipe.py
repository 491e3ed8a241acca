"""From a data set to a model folder: read, split, train, calibrate, choose thresholds, package."""

from __future__ import annotations

import datetime
import logging
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

import wsi_pipeline
from wsi_pipeline.classifier import ModelCard, available_cores, logit, sigmoid
from wsi_pipeline.errors import ConfigError, StainError
from wsi_pipeline.learning import metrics
from wsi_pipeline.learning.calibration import fit_temperature
from wsi_pipeline.learning.datasets import PatchDataset, read_archive_folder
from wsi_pipeline.learning.packaging import write_model_folder
from wsi_pipeline.learning.splits import Split, published_split, random_split
from wsi_pipeline.learning.training import TrainingOptions, predict, train
from wsi_pipeline.stain import StainReference

logger = logging.getLogger(__name__)

HIGH_SENSITIVITY: Final = 0.95
REFERENCE_PATCHES: Final = 400
"""Training patches whose pixels make the stain reference."""
TISSUE_LEVEL: Final = 220
"""Pixels of the reference are darker than this in their darkest channel."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a model beside its data."""

    name: str
    split: str = "published"
    patch_size_px: int = 50
    spacing_um_px: float = 8.0
    training: TrainingOptions = field(default_factory=TrainingOptions)


def train_model(dataset: Path, out: Path, recipe: Recipe) -> ModelCard:
    """Train on a folder in the archive's layout and write the model folder.

    Best epoch, temperature and thresholds come from the validation patients alone.

    Raises
    ------
    DatasetError
        Where the folder holds no labelled patches or cannot be split by patient.
    """
    data = read_archive_folder(dataset, recipe.patch_size_px)
    split = split_of(data, recipe)
    training = data.of_patients(split.train)
    validation = data.of_patients(split.validation)
    logger.info(
        "%d patches of %d patients to train, %d of %d to validate, %d patients left out",
        len(training),
        len(split.train),
        len(validation),
        len(split.validation),
        len(split.left_out),
    )
    network, history = train(training, validation, recipe.training, out / "training")
    return package(network, history, training, validation, split, out, recipe)


def package(
    network: keras.Model,
    history: list[dict[str, float]],
    training: PatchDataset,
    validation: PatchDataset,
    split: Split,
    out: Path,
    recipe: Recipe,
) -> ModelCard:
    """Calibrate a trained network, choose its thresholds and write its folder."""
    raw = predict(network, validation.images)
    temperature = fit_temperature(validation.labels, raw)
    probabilities = sigmoid(logit(raw) / np.float32(temperature))
    threshold = metrics.best_threshold(validation.labels, probabilities)
    record = {
        "name": recipe.name,
        "architecture": recipe.training.architecture,
        "patch_size_px": recipe.patch_size_px,
        "spacing_um_px": recipe.spacing_um_px,
        "class_names": ["IDC"],
        "input_range": [0, 255],
        "output": "probability",
        "stain": "none",
        "threshold": round(threshold, 4),
        "temperature": round(temperature, 4),
        "operating_points": {
            "balanced": round(threshold, 4),
            "high_sensitivity": round(
                metrics.threshold_of_sensitivity(
                    validation.labels, probabilities, HIGH_SENSITIVITY
                ),
                4,
            ),
        },
        "training_data": _data_record(training),
        "split": {"name": split.name, "validation": list(split.validation)},
        "metrics": _metrics(validation, probabilities, threshold),
        "training": {
            **asdict(recipe.training),
            "history": [{k: round(v, 5) for k, v in entry.items()} for entry in history],
            "made": datetime.date.today().isoformat(),
            "with": f"wsi_pipeline {wsi_pipeline.__version__}, Keras {keras.__version__}",
            "machine": f"{platform.machine()}, {available_cores()} cores",
        },
        "parameters": int(network.count_params()),
        "license": "Apache-2.0",
        "notice": "Research use only. Not for diagnosis. Never for screening patients.",
    }
    return write_model_folder(network, out, record, stain_reference_of(training))


def split_of(data: PatchDataset, recipe: Recipe) -> Split:
    """Return the split by patient that the recipe names.

    Raises
    ------
    ConfigError
        Where there is no split of that name.
    """
    patients = np.unique(data.patients)
    if recipe.split == "published":
        return published_split(map(str, patients))
    if recipe.split == "random":
        return random_split(map(str, patients), np.random.default_rng(recipe.training.seed))
    raise ConfigError(f"there is no split {recipe.split!r}", "Choose published or random")


def stain_reference_of(training: PatchDataset) -> StainReference | None:
    """Return the stains of the training set, None where it does not show two."""
    rng = np.random.default_rng(0)
    n = min(REFERENCE_PATCHES, len(training))
    pixels = training.images[np.sort(rng.choice(len(training), n, replace=False))].reshape(-1, 3)
    try:
        return StainReference.fit(
            pixels[pixels.min(1) < TISSUE_LEVEL], source="training patches of the model"
        )
    except StainError as error:
        logger.warning("no stain reference: %s", error)
        return None


def _data_record(training: PatchDataset) -> dict[str, Any]:
    return {
        "patches": len(training),
        "patients": len(np.unique(training.patients)),
        "prevalence": round(float(training.labels.mean()), 4),
        "problems": {kind: len(names) for kind, names in training.problems.items()},
    }


def _metrics(
    validation: PatchDataset, probabilities: NDArray[np.float32], threshold: float
) -> dict[str, Any]:
    scores = metrics.all_scores(validation.labels, probabilities, threshold)
    intervals = metrics.patient_bootstrap(
        validation.labels,
        probabilities,
        validation.patients,
        threshold,
        rng=np.random.default_rng(0),
    )
    return {
        "on": "validation patients, which also chose epoch, temperature and threshold",
        **{name: round(value, 4) for name, value in scores.items()},
        **{f"{name}_ci95": [round(v, 4) for v in pair] for name, pair in intervals.items()},
        "patches": len(validation),
        "patients": len(np.unique(validation.patients)),
        "prevalence": round(float(validation.labels.mean()), 4),
    }
