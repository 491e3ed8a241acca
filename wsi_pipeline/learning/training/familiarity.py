"""The second output of a network, and what the training data look like in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from wsi_pipeline.classifier import ModelCard, load_classifier
from wsi_pipeline.classifier.familiarity import FamiliarityReference
from wsi_pipeline.errors import DatasetError, ModelError
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.data.negatives import read_negatives
from wsi_pipeline.learning.data.normalization import normalize_patches, stain_reference_of
from wsi_pipeline.learning.training.extend import extend_model
from wsi_pipeline.learning.training.shift import Copies, fit_shift

FEATURES_LAYER: Final = "features"
"""The layer whose output is classified, in every architecture."""
N_FEATURES: Final = 32
"""Principal components that are kept: with 16 other organs are missed, more need more slides."""
PER_PATIENT: Final = 60
"""Patches of a patient at most."""
MIN_PER_PATIENT: Final = 20
SHRINKAGE: Final = 0.3
"""Of the covariance of slides toward a multiple of the identity: slides are few."""
FLAGGED: Final = 0.05
"""Share of the archive's own slides that are called unfamiliar."""
N_QUANTILES: Final = 201
MEASURING_SEED: Final = 0


def with_features(network: keras.Model, training: PatchDataset) -> keras.Model:
    """Return the network with a second output: its pooled features, whitened on training patches.

    Parameters
    ----------
    network : keras.Model
        One output, and a layer named "features".
    training : PatchDataset
        At most `PER_PATIENT` patches of each patient count.

    Returns
    -------
    keras.Model
        Outputs (N, 1) and (N, n): mean 0 and variance 1 over the training patches, uncorrelated.
    """
    pooled = network.get_layer(FEATURES_LAYER).output
    sample = training.sample(PER_PATIENT, np.random.default_rng(0))
    values = _pooled(keras.Model(network.inputs, pooled), sample)
    center, directions = _whitening(values)
    project = layers.Dense(directions.shape[1], dtype="float32", name="familiarity")
    second = project(pooled)
    project.set_weights([directions, -center @ directions])
    return keras.Model(network.inputs, [network.outputs[0], second], name=network.name)


def _pooled(features: keras.Model, data: PatchDataset, batch: int = 256) -> NDArray[np.float64]:
    parts = [
        np.asarray(features.predict_on_batch(data.images[i : i + batch].astype(np.float32)))
        for i in range(0, len(data), batch)
    ]
    return np.concatenate(parts).astype(np.float64)


def _whitening(values: NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    """Return the mean and the leading directions, each divided by its standard deviation."""
    center = values.mean(0)
    variance, directions = np.linalg.eigh(np.cov(values - center, rowvar=False))
    n = min(N_FEATURES, int((variance > 1e-9 * variance.max()).sum()))
    kept = directions[:, ::-1][:, :n] / np.sqrt(variance[::-1][:n])
    return center.astype(np.float32), kept.astype(np.float32)


def add_familiarity(
    card: ModelCard,
    training: PatchDataset,
    validation: PatchDataset,
    negatives: PatchDataset | None,
    out: Path,
) -> ModelCard:
    """Measure the archive's slides in the second output and write a model folder that knows them.

    The limit leaves out `FLAGGED` of the patients of both sides, each judged by the others. What
    slides beyond it lose is measured on changed copies, see `fit_shift`; the validation patients
    alone say how much, and `negatives` what other tissue looks like.
    """
    classifier = load_classifier(card, device="cpu")
    sides = [data.sample(PER_PATIENT, np.random.default_rng(1)) for data in (training, validation)]
    features = np.concatenate([_served(classifier.predict_features(s.images)[1]) for s in sides])
    patients = np.concatenate([side.patients for side in sides])
    slides = [features[patients == patient] for patient in np.unique(patients)]
    slides = [slide for slide in slides if len(slide) >= MIN_PER_PATIENT]
    if len(slides) < 3:  # what is usual cannot be known
        return card
    reference = reference_of(slides, features)
    copies = Copies.of(classifier, training, validation, negatives)
    known = fit_shift(reference, copies, card.threshold, card.context)
    reference = replace(reference, calibration=known)
    record = {**reference.to_dict(), "slides": len(slides)}
    return extend_model(card, {"familiarity": record}, out)


def measure_familiarity(
    card: ModelCard, dataset: Path, negatives: Path | None, out: Path
) -> ModelCard:
    """Measure anew what is familiar to a finished model, on the patients that it was made with.

    Raises
    ------
    ModelError
        Where the network has no second output.
    DatasetError
        Where the data set holds none of the model's training or of its validation patients.
    """
    if card.familiarity is None:
        raise ModelError(
            f"{card.name} gives no features beside its probabilities",
            "Train it anew: `wsi-pipeline train` writes networks that do",
        )
    data = read_dataset(dataset, card.patch_size_px)
    split, method = card.record.get("split") or {}, card.stain
    sides = [data.of_patients(split.get(side, ())) for side in ("train", "validation")]
    if not all(len(side) for side in sides):
        raise DatasetError(
            f"{dataset} holds {len(sides[0])} patches of the training patients of {card.name} and "
            f"{len(sides[1])} of its validation patients",
            "Give the data set that it was trained on",
        )
    reference = stain_reference_of(sides[0])
    other = None
    if negatives is not None:
        other = read_negatives(
            negatives, card.patch_size_px, card.spacing_um_px, MEASURING_SEED, card.glass_rgb
        )
        other = normalize_patches(other, method, reference)
    training, validation = (normalize_patches(side, method, reference) for side in sides)
    return add_familiarity(card, training, validation, other, out)


def _served(features: FloatArray | None) -> FloatArray:
    if features is None:
        raise RuntimeError("the network was written without its second output")
    return features


def reference_of(slides: list[FloatArray], patches: FloatArray) -> FamiliarityReference:
    """Return what is usual, from the features of the patches of each slide."""
    means = np.stack([slide.mean(0, dtype=np.float64) for slide in slides])
    lengths = (patches.astype(np.float64) ** 2).sum(1)
    quantiles = np.quantile(lengths, np.linspace(0, 1, N_QUANTILES))
    distances = [
        _reference(np.delete(means, k, 0), 1.0, quantiles).distance(slide)
        for k, slide in enumerate(slides)
    ]
    return _reference(means, float(np.quantile(distances, 1 - FLAGGED)), quantiles)


def _reference(
    means: NDArray[np.float64], limit: float, quantiles: NDArray[np.float64]
) -> FamiliarityReference:
    covariance = np.atleast_2d(np.cov(means, rowvar=False))
    n = len(covariance)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / n * np.eye(n)
    return FamiliarityReference(means.mean(0), shrunk, limit, quantiles)
