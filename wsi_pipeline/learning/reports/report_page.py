"""The page of a report: one HTML file beside its pictures, no network, nothing to install."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.learning.reports.baselines import LEAKAGE_WARNING, PUBLISHED, PUBLISHED_SLIDES
from wsi_pipeline.render.templates import page as html_page

SCORE_TITLES: Final = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "ece": "Calibration error (ECE)",
}
HEADLINES: Final = ("auc", "balanced_accuracy", "f1", "dice", "sensitivity", "specificity", "ece")
TITLES: Final = {**SCORE_TITLES, "dice": "Dice of cells", "ece": "ECE"}
SLIDE_COLUMNS: Final = {
    "slide": "Slide",
    "cells": "Cells",
    "prevalence": "Prevalence",
    "coverage": "Coverage",
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
    "cell_dice": "Dice of cells",
    "region_dice": "Dice of regions",
}
PATIENT_COLUMNS: Final = {
    "patient": "Patient",
    "patches": "Patches",
    "prevalence": "Prevalence",
    "auc": "AUC",
    "auc_without": "AUC of all others",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
SHARES: Final = frozenset({"prevalence", "coverage"})

PICTURE_DPI: Final = 144
SCREEN_DPI: Final = 96


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the page."""

    path: str
    """Relative to the page."""
    section: str
    alt: str


Table = tuple[list[str], list[list[str]]]
"""Titles of the columns, and the cells of the rows."""


def page(
    title: str, record: Mapping[str, Any], card: ModelCard, pictures: Sequence[Picture]
) -> str:
    """Return the page as HTML."""
    sections = dict.fromkeys(picture.section for picture in pictures)
    return html_page(
        "report",
        title=title,
        facts=_facts(record, card),
        notes=record.get("notes", ()),
        cards=[
            (TITLES[name], _number(record[name]), _interval(record, name))
            for name in HEADLINES
            if name in record
        ],
        drawn="slides" if "slides" in record else "patients",
        baselines=_baselines(record, card),
        leakage_warning=LEAKAGE_WARNING,
        sections=[
            {
                "title": section,
                "table": _section_table(section, record),
                "pictures": [picture for picture in pictures if picture.section == section],
            }
            for section in sections
        ],
        scores=_scores(record),
        points=_points(record),
        zoom=f"{SCREEN_DPI / PICTURE_DPI:.3f}",
    )


def _facts(record: Mapping[str, Any], card: ModelCard) -> str:
    units = "labelled cells" if "slides" in record else "patches"
    groups = "slides" if "slides" in record else "patients"
    facts = [
        f"Model {card.name} (sha256 {card.sha256[:12]})",
        f"{record['patches']:,} {units} of {record['patients']} {groups}",
        f"{record['prevalence']:.1%} IDC",
        f"threshold {record['threshold']:.3f}",
        "eight views averaged" if record.get("tta") else "single view",
    ]
    facts += [f"{n:,} {kind}" for kind, n in record.get("problems", {}).items()]
    if "context" in record:
        facts.append("refined by neighbors" if record["context"] else "without neighbors")
    return " · ".join([*facts, *filter(None, [str(record.get("date", ""))])])


def _baselines(record: Mapping[str, Any], card: ModelCard) -> Table:
    ours = {"work": f"{card.name}, this report", **record}
    rows: list[Mapping[str, Any]] = [ours, *(asdict(baseline) for baseline in PUBLISHED)]
    columns = {"work": "Work", "balanced_accuracy": "Balanced accuracy", "f1": "F1"}
    if "dice" in record:
        columns["dice"] = "Dice"
        rows += [{"work": work, "dice": value} for work, value in PUBLISHED_SLIDES]
    return _table(columns, rows)


def _section_table(section: str, record: Mapping[str, Any]) -> Table | None:
    if section == "Slides":
        rows = [*record["slides"], {"slide": "Mean over slides", **record["mean_over_slides"]}]
        return _table(SLIDE_COLUMNS, rows)
    if section == "Patients":
        per_patient = record["per_patient"]
        rows = [*per_patient["patients"], {"patient": "Median", **per_patient["medians"]}]
        return _table(PATIENT_COLUMNS, rows)
    return None


def _scores(record: Mapping[str, Any]) -> Table:
    rows = [
        [title, _number(record[name]), _interval(record, name)]
        for name, title in SCORE_TITLES.items()
    ]
    return ["Score", "Value", "95 % interval"], rows


def _points(record: Mapping[str, Any]) -> Table:
    columns = {
        "name": "Operating point",
        "threshold": "Threshold",
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
        "precision": "Precision",
        "balanced_accuracy": "Balanced accuracy",
    }
    rows = [
        {"name": name.replace("_", " ").capitalize(), **scores}
        for name, scores in record["operating_points"].items()
    ]
    return _table(columns, rows)


def _table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> Table:
    return [*columns.values()], [[_cell(name, row.get(name)) for name in columns] for row in rows]


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if name in SHARES and value is not None and math.isfinite(value):
        return f"{value:.1%}"
    return _number(value)


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _interval(record: Mapping[str, Any], name: str) -> str:
    low, high = record.get(f"{name}_ci95", (None, None))
    return f"[{_number(low)}, {_number(high)}]"
