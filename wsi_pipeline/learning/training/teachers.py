"""Networks that teach another, or that judge training slides as if these were new."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsi_pipeline.classifier import ModelCard, load_classifier, logit, predict_views
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.division import Division
from wsi_pipeline.learning.data.folds import OutOfFold, fold_folder, patient_folds
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.data.splits import Split
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.reports.model_card import write_model_card
from wsi_pipeline.learning.training.recipe import Recipe, package, prepare
from wsi_pipeline.learning.training.trainer import EpochProgress, train

logger = logging.getLogger(__name__)


def train_teachers(
    dataset: Path,
    out: Path,
    recipe: Recipe,
    n_folds: int,
    *,
    progress: EpochProgress | None = None,
) -> OutOfFold:
    """Train a network without each fold of the training patients in turn.

    Writes the model folders ``fold-1`` ... and at last ``out_of_fold.csv``: for each training patch
    the logit of the network that did not see its patient. The validation patients are those of an
    undivided training. A run that was killed goes on where it was.

    Parameters
    ----------
    dataset : Path
        In any layout of `read_dataset`.
    out : Path
        Folder of the teachers.
    recipe : Recipe
        Of each network; one seed for all.
    n_folds : int
    progress : callable, optional
        Told after each batch of each network.

    Raises
    ------
    DatasetError
        Where the data set cannot be divided so.
    """
    division = prepare(read_dataset(dataset, recipe.patch_size_px), recipe)
    training = division.training
    fold_of = patient_folds(training, n_folds, recipe.training.seed)
    folds = np.array([fold_of[str(patient)] for patient in training.patients])
    logits = np.empty(len(training), np.float32)
    for fold in range(1, n_folds + 1):
        unseen = training.subset(folds == fold)
        logger.info("fold %d of %d: %d patches unseen", fold, n_folds, len(unseen))
        card = _teacher(division, fold, fold_of, fold_folder(out, fold), recipe, progress)
        logits[folds == fold] = _logits(card, unseen)
        logger.info("AUC on them %.4f", metrics.auc(unseen.labels, logits[folds == fold]))
    result = OutOfFold(
        training.files, training.patients, training.positions, training.labels, folds, logits
    )
    result.write(out)
    return result


def _teacher(
    division: Division,
    fold: int,
    fold_of: dict[str, int],
    out: Path,
    recipe: Recipe,
    progress: EpochProgress | None,
) -> ModelCard:
    """Train the network that does not see a fold."""
    whole = division.split
    split = Split(
        f"{whole.name}, without fold {fold} of {max(fold_of.values())}",
        tuple(patient for patient in whole.train if fold_of[patient] != fold),
        whole.validation,
        (*whole.left_out, *(patient for patient in whole.train if fold_of[patient] == fold)),
    )
    seen = replace(division, training=division.training.of_patients(split.train), split=split)
    network, history = train(
        seen.training,
        seen.validation,
        recipe.training,
        out / "training",
        seen.negatives,
        progress=progress,
    )
    named = replace(recipe, name=f"{recipe.name}-fold-{fold}")
    card = package(network, history, seen, out, named)
    write_model_card(card)
    return card


def _logits(card: ModelCard, data: PatchDataset) -> FloatArray:
    """Return the calibrated logit of each patch, mean over eight views."""
    probabilities, _ = predict_views(load_classifier(card), data.images)
    return logit(probabilities)
