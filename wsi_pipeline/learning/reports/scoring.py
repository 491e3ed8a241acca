"""A model on labelled patches: predictions, scores with intervals, and what must be said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import ModelCard, PatchClassifier, predict_views
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.files import json_bytes, write_atomic
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.splits import published_cases
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.tables import csv_bytes

PUBLISHED_SIDES = {
    "published-train": "train",
    "published-val": "val",
    "published-test": "test",
}


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Labels and calibrated probabilities, one a patch."""

    files: tuple[str, ...]
    patients: NDArray[np.str_]
    positions: NDArray[np.int32]
    """int32, shape (N, 2): x, y as in the file's name, -1 where unknown."""
    labels: NDArray[np.int8]
    probabilities: FloatArray
    uncertainty: FloatArray | None = None
    """Spread over the views of test-time augmentation."""
    classified: NDArray[np.bool_] | None = None
    """False where the pipeline took a labelled cell for background: it counts with probability 0.
    None = every patch was classified."""

    def __len__(self) -> int:
        return len(self.labels)


def predict_patches(
    data: PatchDataset, classifier: PatchClassifier, *, tta: bool = False
) -> Predictions:
    """Classify every patch of a data set."""
    spread = None
    if tta:
        probabilities, spread = predict_views(classifier, data.images)
    else:
        probabilities = classifier.predict(data.images)
    return Predictions(
        data.files, data.patients, data.positions, data.labels, probabilities, spread
    )


def choose_patients(data: PatchDataset, wanted: Sequence[str]) -> PatchDataset:
    """Return the patches of the patients asked for.

    Parameters
    ----------
    data : PatchDataset
    wanted : sequence of str
        "all", "published-train", "published-val", "published-test" or patient ids.

    Raises
    ------
    DatasetError
        Where one of them is not in the data set, or none is left.
    """
    if "all" in wanted or not wanted:
        return data
    present = set(map(str, data.patients))
    chosen: set[str] = set()
    for name in wanted:
        if name in PUBLISHED_SIDES:
            chosen |= present & published_cases(PUBLISHED_SIDES[name])
        elif name in present:
            chosen.add(name)
        else:
            raise DatasetError(
                f"there is no patient {name!r} in the data set",
                f"It holds {', '.join(sorted(present)[:8])} ...; groups are all, "
                f"{', '.join(PUBLISHED_SIDES)}",
            )
    if not chosen:
        raise DatasetError(
            f"none of the {len(present)} patients is in {', '.join(wanted)}",
            "Use --patients all, or check that the folders are named by case",
        )
    return data.of_patients(sorted(chosen))


MedianName = Literal["auc", "balanced_accuracy", "f1", "accuracy", "sensitivity", "specificity"]
MEDIANS: Final[tuple[MedianName, ...]] = get_args(MedianName)


class PatientScores(metrics.CallScores):
    """A patient's row."""

    patient: str
    patches: int
    prevalence: float
    auc: float
    auc_without: float
    """Of all other patients together: what one patient costs or lends, such as one whose outline
    leaves out a part of the tumor."""


class PerPatient(TypedDict):
    """Scores by patient."""

    medians: dict[MedianName, float]
    """Over the patients in whom they are defined."""
    patients: list[PatientScores]


class ModelFacts(TypedDict):
    """What identifies the model in a record."""

    name: str
    sha256: str
    spacing_um_px: float


def scores_record(
    predictions: Predictions, points: Mapping[str, float]
) -> dict[str, Any]:  # the names of the intervals are made of those of the scores
    """Return the scores with 95 % intervals, as they stand in metrics.json.

    Parameters
    ----------
    predictions : Predictions
    points : mapping
        Thresholds by name (see `operating_points`); the calls are those of "balanced".
    """
    y, p = predictions.labels, predictions.probabilities
    threshold = points["balanced"]
    intervals = metrics.patient_bootstrap(
        y, p, predictions.patients, threshold, rng=np.random.default_rng(0)
    )
    return {
        **metrics.all_scores(y, p, threshold),
        **{f"{name}_ci95": list(pair) for name, pair in intervals.items()},
        "threshold": threshold,
        "prevalence": float(np.mean(y)),
        "patches": len(y),
        "patients": len(np.unique(predictions.patients)),
        "confusion": _confusion(y, p >= threshold),
        "operating_points": {
            name: {"threshold": value, **metrics.call_scores(y, p, value)}
            for name, value in points.items()
        },
        "per_patient": per_patient(predictions, threshold),
    }


def model_facts(card: ModelCard) -> ModelFacts:
    """Return what identifies the model in a record."""
    return {"name": card.name, "sha256": card.sha256, "spacing_um_px": card.spacing_um_px}


def per_patient(predictions: Predictions, threshold: float) -> PerPatient:
    """Return each patient's scores and their medians."""
    rows: list[PatientScores] = []
    for patient in np.unique(predictions.patients):
        mine = predictions.patients == patient
        y, p = predictions.labels[mine], predictions.probabilities[mine]
        rows.append(
            {
                "patient": str(patient),
                "patches": int(mine.sum()),
                "prevalence": float(y.mean()),
                "auc": metrics.auc(y, p),
                "auc_without": metrics.auc(
                    predictions.labels[~mine], predictions.probabilities[~mine]
                ),
                **metrics.call_scores(y, p, threshold),
            }
        )
    medians = {name: _median([row[name] for row in rows]) for name in MEDIANS}
    return {"medians": medians, "patients": rows}


def leakage_notes(patients: Sequence[str], card: ModelCard) -> list[str]:
    """Return what must be said about patients that the model has seen."""
    split = card.record.get("split") or {}
    present = set(map(str, patients))
    notes = []
    if "train" not in split:
        notes.append(
            "The model card does not list the training patients: whether they are among those "
            "evaluated cannot be checked."
        )
    elif seen := present & set(map(str, split["train"])):
        notes.append(
            f"{len(seen)} of {len(present)} patients are in the model's training set: these "
            "figures say nothing about new patients."
        )
    if chose := present & set(map(str, split.get("validation", ()))):
        notes.append(
            f"{len(chose)} of {len(present)} patients chose the model's epoch, calibration and "
            "thresholds: their figures are a little too good."
        )
    return notes


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions.csv: file, patient, x, y, label, probability, and what else is known."""
    extra: dict[str, NDArray[Any]] = {}
    if predictions.uncertainty is not None:
        extra["uncertainty"] = predictions.uncertainty
    if predictions.classified is not None:
        extra["classified"] = predictions.classified.astype(int)
    columns = ("file", "patient", "x", "y", "label", "probability", *extra)
    rows = []
    for i, name in enumerate(predictions.files):
        x, y = predictions.positions[i]
        rows.append(
            [
                name,
                predictions.patients[i],
                *("" if value < 0 else value for value in (x, y)),
                predictions.labels[i],
                f"{predictions.probabilities[i]:.6f}",
                *(f"{values[i]:.6g}" for values in extra.values()),
            ]
        )
    write_atomic(path, csv_bytes(columns, rows))


def write_metrics(record: dict[str, Any], path: Path) -> None:
    """Write metrics.json; a figure that is not defined is null, never 0."""
    write_atomic(path, json_bytes(_plain(record)))


def _confusion(labels: NDArray[np.int8], called: NDArray[np.bool_]) -> dict[str, int]:
    idc = labels > 0
    return {
        "true_positive": int((idc & called).sum()),
        "false_positive": int((~idc & called).sum()),
        "false_negative": int((idc & ~called).sum()),
        "true_negative": int((~idc & ~called).sum()),
    }


def _median(values: Sequence[float]) -> float:
    defined = [value for value in values if math.isfinite(value)]
    return float(np.median(defined)) if defined else float("nan")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
