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
from wsi_pipeline.classifier import (
    ModelCard,
    available_cores,
    load_classifier,
    logit,
    sigmoid,
)
from wsi_pipeline.errors import StainError
from wsi_pipeline.learning import metrics
from wsi_pipeline.learning.calibration import fit_temperature
from wsi_pipeline.learning.datasets import PatchDataset
from wsi_pipeline.learning.division import divide
from wsi_pipeline.learning.layouts import read_dataset
from wsi_pipeline.learning.model_card import write_model_card
from wsi_pipeline.learning.packaging import write_model_folder
from wsi_pipeline.learning.report import Evaluation, write_report
from wsi_pipeline.learning.scoring import (
    leakage_notes,
    model_facts,
    operating_points,
    predict_patches,
    scores_record,
)
from wsi_pipeline.learning.splits import Split
from wsi_pipeline.learning.training import TrainingOptions, predict, train
from wsi_pipeline.stain import StainReference
from wsi_pipeline.tissue import estimate_glass

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
    split: str = "auto"
    """See `divide`."""
    patch_size_px: int = 50
    spacing_um_px: float = 8.0
    training: TrainingOptions = field(default_factory=TrainingOptions)


def train_model(dataset: Path, out: Path, recipe: Recipe) -> ModelCard:
    """Train on a data set in any layout of `read_dataset` and write the model folder.

    Best epoch, temperature and thresholds come from the validation patients alone.

    Raises
    ------
    DatasetError
        Where the folder holds no labelled patches or cannot be split by patient.
    """
    data = read_dataset(dataset, recipe.patch_size_px)
    division = divide(data, recipe.split, recipe.training.seed)
    training, validation, split = division.training, division.validation, division.split
    logger.info(
        "%d patches of %d patients to train, %d of %d to validate, %d patients left out",
        len(training),
        len(split.train),
        len(validation),
        len(split.validation),
        len(split.left_out),
    )
    network, history = train(training, validation, recipe.training, out / "training")
    card = package(network, history, training, validation, split, out, recipe)
    report_on(card, validation)
    return card


def report_on(card: ModelCard, validation: PatchDataset) -> Path:
    """Write the report on the validation patches and the model card in words; return its path.

    The engine that will serve the model makes the predictions, so that it is checked too.
    """
    classifier = load_classifier(card, device="cpu")
    predictions = predict_patches(validation, classifier)
    record = {
        **scores_record(predictions, operating_points(card)),
        "model": model_facts(card),
        "tta": False,
        "device": classifier.device,
        "notes": leakage_notes(np.unique(validation.patients).tolist(), card),
    }
    title = f"{card.name} on its validation patients"
    write_report(
        Evaluation(title, card, record, predictions, validation.images), card.folder / "report"
    )
    return write_model_card(card)


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
        "split": {
            "name": split.name,
            "train": list(split.train),
            "validation": list(split.validation),
            "left_out": list(split.left_out),
        },
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


def stain_reference_of(training: PatchDataset) -> StainReference | None:
    """Return the stains of the training set, None where it does not show two."""
    rng = np.random.default_rng(0)
    n = min(REFERENCE_PATCHES, len(training))
    pixels = training.images[np.sort(rng.choice(len(training), n, replace=False))].reshape(-1, 3)
    try:
        return StainReference.fit(
            pixels[pixels.min(1) < TISSUE_LEVEL],
            glass_rgb=estimate_glass(pixels[None]),
            source="training patches of the model",
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
