"""The curves of a report. Every function returns a figure; nothing here touches pyplot's state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from wsi_pipeline.files import write_atomic
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.reports.scoring import Predictions
from wsi_pipeline.render.fonts import drawable

IDC_COLOR: Final = "#a8174a"
OTHER_COLOR: Final = "#3d6f9e"
INK: Final = "#1f2328"
MUTED: Final = "#8a919a"
POINT_MARKERS: Final = ("o", "s", "D", "^")
RELIABILITY_BINS: Final = 15
DPI: Final = 144
WIDE: Final = 11.2
"""Width of the page, inches."""
ROW: Final = 3.9
"""Height of the figures that stand three in a row, inches."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI)
    write_atomic(path, buffer.getvalue())


def history_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw loss, accuracy and AUC against the epoch, with the epoch that was kept."""
    figure = _figure(WIDE, 3.3)
    epochs = np.arange(1, len(history) + 1)
    best = int(np.nanargmax([entry.get("validation_auc", np.nan) for entry in history])) + 1
    panels = (
        ("Loss", "loss", "validation_loss"),
        ("Accuracy", "accuracy", "validation_accuracy"),
        ("AUC", None, "validation_auc"),
    )
    for number, (title, training, validation) in enumerate(panels, 1):
        axes = _axes(figure, 1, 3, number, title, "epoch", "")
        axes.axvline(best, color=MUTED, lw=1, ls=":", label=f"kept: epoch {best}")
        if training and all(training in entry for entry in history):
            axes.plot(epochs, [e[training] for e in history], "--", color=MUTED, lw=1.5,
                      label="training, augmented")  # fmt: skip
        values = [entry.get(validation, np.nan) for entry in history]
        axes.plot(epochs, values, color=IDC_COLOR, lw=2, marker=".", label="validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
    return figure


def confusion_figure(confusion: Mapping[str, int], threshold: float) -> Figure:
    """Draw the confusion matrix: counts, and shares of each true class."""
    figure = _figure(3.5, ROW)
    axes = _axes(figure, 1, 1, 1, f"Calls at threshold {threshold:.3f}", "called", "pathologist")
    table = np.array(
        [
            [confusion["true_negative"], confusion["false_positive"]],
            [confusion["false_negative"], confusion["true_positive"]],
        ]
    )
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="BuPu", vmin=0, vmax=1)
    for row, col in np.ndindex(2, 2):
        ink = "white" if shares[row, col] > 0.55 else INK
        axes.text(col, row, f"{table[row, col]:,}\n{shares[row, col]:.1%}", ha="center",
                  va="center", color=ink, fontsize=12)  # fmt: skip
    axes.set_xticks([0, 1], ["not IDC", "IDC"])
    axes.set_yticks([0, 1], ["not IDC", "IDC"], rotation=90, va="center")
    axes.grid(False)
    axes.tick_params(length=0)
    return figure


def curves_figure(predictions: Predictions, points: Mapping[str, float]) -> Figure:
    """Draw the ROC and the precision-recall curve with the operating points of the card."""
    y, p = predictions.labels, predictions.probabilities
    _, sensitivity, specificity = metrics.operating_points(y, p)
    order = np.argsort(-p, kind="stable")
    hits, called = np.cumsum(y[order] > 0), np.arange(1, len(y) + 1)
    figure = _figure(WIDE, 4.6)
    roc = _axes(figure, 1, 2, 1, f"ROC, AUC {metrics.auc(y, p):.3f}", "1 − specificity",
                "sensitivity")  # fmt: skip
    roc.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=":")
    roc.plot(np.r_[0, 1 - specificity, 1], np.r_[0, sensitivity, 1], color=IDC_COLOR, lw=2)
    precision = _axes(
        figure, 1, 2, 2, f"Precision–recall, AP {metrics.average_precision(y, p):.3f}",
        "sensitivity (recall)", "precision",
    )  # fmt: skip
    precision.axhline(float(np.mean(y)), color=MUTED, lw=1, ls=":", label="prevalence")
    precision.plot(hits / max(1, hits[-1]), hits / called, color=IDC_COLOR, lw=2)
    for (name, threshold), marker in zip(points.items(), POINT_MARKERS, strict=False):
        scores = metrics.call_scores(y, p, threshold)
        label = f"{name.replace('_', ' ')} ({threshold:.3f})"
        style: dict[str, Any] = {
            "marker": marker,
            "ms": 8,
            "color": INK,
            "mfc": "white",
            "ls": "",
            "label": label,
        }
        roc.plot(1 - scores["specificity"], scores["sensitivity"], **style)
        precision.plot(scores["sensitivity"], scores["precision"], **style)
    for axes in (roc, precision):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    roc.legend(frameon=False, fontsize=8.5, loc="lower right")
    precision.legend(frameon=False, fontsize=8.5, loc="lower left")
    return figure


def reliability_figure(predictions: Predictions) -> Figure:
    """Draw how often a patch of a stated probability is IDC, and how many state it."""
    y, p = predictions.labels.astype(float), predictions.probabilities.astype(float)
    bins = np.minimum((p * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    count = np.bincount(bins, minlength=RELIABILITY_BINS)
    filled = count > 0
    stated = np.bincount(bins, p, RELIABILITY_BINS)[filled] / count[filled]
    found = np.bincount(bins, y, RELIABILITY_BINS)[filled] / count[filled]
    figure = _figure(3.2, ROW)
    grid = figure.add_gridspec(2, 1, height_ratios=(3.4, 1))
    ece = metrics.calibration_error(y, p)
    axes = _style(
        figure.add_subplot(grid[0]), f"Reliability, ECE {ece:.3f}", "", "share that is IDC"
    )
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=":")
    half_width = 1.96 * np.sqrt(found * (1 - found) / count[filled])
    axes.errorbar(stated, found, half_width, color=IDC_COLOR, marker="o", ms=4, lw=1.5, capsize=2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    below = _style(figure.add_subplot(grid[1]), "", "stated probability", "patches")
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    below.bar(edges[:-1], count, np.diff(edges), align="edge", color=MUTED)
    below.set_yscale("log")
    below.set_xlim(0, 1)
    return figure


def histogram_figure(predictions: Predictions, threshold: float) -> Figure:
    """Draw the distribution of the probability in either class."""
    figure = _figure(3.6, ROW)
    axes = _axes(figure, 1, 1, 1, "Probability by class", "probability", "share of the class")
    edges = np.linspace(0, 1, 41)
    for label, name, color in ((0, "not IDC", OTHER_COLOR), (1, "IDC", IDC_COLOR)):
        values = predictions.probabilities[predictions.labels == label]
        weights = np.full(len(values), 1 / max(1, len(values)))
        axes.hist(values, edges.tolist(), weights=weights, color=color, alpha=0.55,
                  label=f"{name}, {len(values):,} patches")  # fmt: skip
    axes.axvline(threshold, color=INK, lw=1.2, ls="--", label=f"threshold {threshold:.3f}")
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def patients_figure(rows: Sequence[Mapping[str, Any]], medians: Mapping[str, float]) -> Figure:
    """Draw AUC, balanced accuracy and prevalence of each patient, ordered by AUC."""
    ordered = sorted(rows, key=lambda row: (np.isnan(row["auc"]), row["auc"]))
    place = np.arange(len(ordered))
    figure = _figure(WIDE, 4.4)
    grid = figure.add_gridspec(2, 1, height_ratios=(2.4, 1))
    upper = _style(figure.add_subplot(grid[0]), "By patient", "", "score")
    for name, label, color, marker in (
        ("auc", "AUC", IDC_COLOR, "o"),
        ("balanced_accuracy", "balanced accuracy", OTHER_COLOR, "s"),
    ):
        upper.plot(place, [row[name] for row in ordered], marker, color=color, ms=5,
                   label=f"{label}, median {medians[name]:.3f}")  # fmt: skip
        upper.axhline(medians[name], color=color, lw=1, ls=":")
    upper.set_ylim(top=1.01)
    upper.legend(
        frameon=False,
        fontsize=8.5,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0,
        ncols=2,
    )
    lower = _style(figure.add_subplot(grid[1], sharex=upper), "", "patient", "prevalence")
    lower.bar(place, [row["prevalence"] for row in ordered], color=MUTED)
    upper.tick_params(labelbottom=False)
    every = max(1, len(ordered) // 60)
    lower.set_xticks(
        place[::every], [row["patient"] for row in ordered][::every], rotation=90, fontsize=7.5
    )
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure((width, height), dpi=DPI, layout="constrained", facecolor="white")


def _axes(figure: Figure, rows: int, cols: int, number: int, title: str, x: str, y: str) -> Axes:
    return _style(figure.add_subplot(rows, cols, number), title, x, y)


def _style(axes: Axes, title: str, x: str, y: str) -> Axes:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8.5, colors=INK)
    axes.grid(True, color="#e7e9ec", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#c4c9cf")
    return axes


def montage(images: NDArray[np.uint8], captions: Sequence[str], title: str) -> Figure:
    """Draw patches beside each other, each with its caption.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, side, side, 3)
    captions : sequence of str
        One for each.
    title : str
    """
    cols = 8
    rows = max(1, -(-len(images) // cols))
    figure = _figure(WIDE, 0.45 + 1.6 * rows)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold", color=INK)
    for number in range(rows * cols):
        axes = figure.add_subplot(rows, cols, number + 1)
        axes.set_axis_off()
        if number < len(images):
            axes.imshow(images[number], interpolation="nearest")
            words, fonts = drawable(captions[number])
            axes.set_title(words, fontsize=7.5, color=INK, pad=3, **fonts)
    return figure
