"""A report folder: metrics.json, predictions.csv, pictures and the page that shows them offline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.files import storing, write_atomic
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.learning.reports import figures
from wsi_pipeline.learning.reports.report_page import Picture, page
from wsi_pipeline.learning.reports.scoring import (
    Predictions,
    write_metrics,
    write_predictions,
)
from wsi_pipeline.learning.reports.slide_evaluation import SlideComparison
from wsi_pipeline.learning.reports.slide_figure import slide_figure

SHOWN_PATCHES: Final = 16
SHOWN_OF_ONE_PATIENT: Final = 2
"""So that one odd patient does not fill the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All that a report shows."""

    title: str
    card: ModelCard
    record: dict[str, Any]
    """What metrics.json will hold."""
    predictions: Predictions
    images: RgbArray | None = None
    """uint8, shape (N, side, side, 3): the patches; None for whole slides."""
    comparisons: tuple[SlideComparison, ...] = ()
    """The slides, for whole-slide evaluation."""


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write the report folder and return its page, which comes last: a folder with it is whole."""
    pictures = folder / "figures"
    with storing(folder):
        pictures.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").unlink(missing_ok=True)
    write_metrics(evaluation.record, folder / "metrics.json")
    write_predictions(evaluation.predictions, folder / "predictions.csv")
    shown = []
    for name, section, alt, figure in _figures(evaluation):
        figures.save(figure, pictures / f"{name}.png")
        shown.append(Picture(f"figures/{name}.png", section, alt))
    text = page(evaluation.title, evaluation.record, evaluation.card, shown)
    write_atomic(folder / "index.html", text.encode())
    return folder / "index.html"


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, str, str, Figure]]:
    """Yield name, section, description and figure."""
    record, predictions, card = evaluation.record, evaluation.predictions, evaluation.card
    both = 0 < predictions.labels.mean() < 1
    if both:
        curves = figures.curves_figure(
            predictions,
            {name: point["threshold"] for name, point in record["operating_points"].items()},
        )
        yield "curves", "Discrimination and calibration", "ROC and precision-recall curves", curves
    confusion = figures.confusion_figure(record["confusion"], record["threshold"])
    yield "confusion", "Discrimination and calibration", "Confusion matrix", confusion
    histogram = figures.histogram_figure(predictions, record["threshold"])
    yield "histograms", "Discrimination and calibration", "Probability by class", histogram
    reliability = figures.reliability_figure(predictions)
    yield "reliability", "Discrimination and calibration", "Reliability plot", reliability
    per_patient = record["per_patient"]
    if len(per_patient["patients"]) > 1:
        by_patient = figures.patients_figure(per_patient["patients"], per_patient["medians"])
        yield "patients", "Patients", "Scores by patient", by_patient
    for comparison in evaluation.comparisons:
        row = next(r for r in record["slides"] if r["slide"] == comparison.slide_id)
        title = (
            f"{comparison.slide_id}: AUC {row['auc']:.3f}, balanced accuracy "
            f"{row['balanced_accuracy']:.3f}, Dice {row['cell_dice']:.3f}"
        )
        name = f"slide-{comparison.slide_id}"
        yield name, "Slides", f"Slide {comparison.slide_id}", slide_figure(comparison, title)
    if evaluation.images is not None:
        yield from _patch_figures(evaluation, evaluation.images)
    history = (card.record.get("training") or {}).get("history")
    if history:
        alt = "Loss, accuracy and AUC by epoch"
        yield "history", "Training", alt, figures.history_figure(history)


def _patch_figures(
    evaluation: Evaluation, images: RgbArray
) -> Iterator[tuple[str, str, str, Figure]]:
    predictions, threshold = evaluation.predictions, evaluation.record["threshold"]
    idc, p = predictions.labels > 0, predictions.probabilities
    called = p >= threshold
    kinds = (
        ("false-alarms", "Wrong: called IDC with the highest probability", ~idc & called, -p),
        ("missed", "Wrong: IDC missed with the lowest probability", idc & ~called, p),
        ("hits", "Right: IDC with the highest probability", idc & called, -p),
        ("rejections", "Right: not IDC with the lowest probability", ~idc & ~called, p),
    )
    for name, title, group, rank in kinds:
        chosen = _most_extreme(group, rank, predictions.patients)
        if len(chosen):
            captions = [f"{predictions.patients[i]}  p {p[i]:.3f}" for i in chosen]
            yield name, "Patches", title, figures.montage(images[chosen], captions, title)


def _most_extreme(
    group: NDArray[np.bool_], rank: NDArray[np.float32], patients: NDArray[np.str_]
) -> NDArray[np.intp]:
    """Return the members of least rank, at most a few of one patient."""
    taken: dict[str, int] = {}
    chosen: list[int] = []
    members = np.flatnonzero(group)
    for i in members[np.argsort(rank[members], kind="stable")]:
        patient = str(patients[i])
        if taken.get(patient, 0) < SHOWN_OF_ONE_PATIENT:
            taken[patient] = taken.get(patient, 0) + 1
            chosen.append(int(i))
        if len(chosen) == SHOWN_PATCHES:
            break
    return np.array(chosen, np.intp)
