"""The page of a report: one HTML file beside its pictures, no network, nothing to install."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Final

from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.learning.reports.baselines import LEAKAGE_WARNING, PUBLISHED, PUBLISHED_SLIDES

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

_STYLE: Final = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,sans-serif;color:#1f2328;background:#f5f6f8;margin:0}
main{max-width:72rem;margin:0 auto;padding:2rem 1.5rem 4rem}
h1{font-size:1.55rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2.4rem 0 .8rem}
p{margin:.3rem 0}.facts{color:#57606a}
.notice{display:inline-block;margin:.9rem 0 0;padding:.3rem .7rem;border-radius:.4rem;
background:#a8174a;color:#fff;font-weight:600}
.warning{border-left:4px solid #d99a16;background:#fff8e6;padding:.55rem .9rem;margin:.9rem 0 0;
border-radius:0 .4rem .4rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.6rem,1fr));gap:.7rem;
margin-top:1.3rem}
.card{background:#fff;border:1px solid #e1e4e8;border-radius:.55rem;padding:.7rem .85rem}
.card b{display:block;font-size:1.65rem;line-height:1.25;font-variant-numeric:tabular-nums}
.card span{color:#57606a;font-size:.83rem}
.panel{background:#fff;border:1px solid #e1e4e8;border-radius:.55rem;padding:1rem;overflow-x:auto}
.panel+.figures,.panel+.panel{margin-top:.8rem}
.figures{display:flex;flex-wrap:wrap;gap:.8rem}
.figures a{background:#fff;border:1px solid #e1e4e8;border-radius:.55rem;padding:.6rem;
flex:0 1 auto;max-width:100%}
.figures img{display:block;max-width:100%;height:auto}
table{border-collapse:collapse;width:100%}
th,td{padding:.38rem .7rem;text-align:right;border-bottom:1px solid #eceef1;
font-variant-numeric:tabular-nums;white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal}
th{font-size:.83rem;color:#57606a;font-weight:600}tr.ours td{font-weight:700;color:#a8174a}
tr:last-child td{border-bottom:0}.small{font-size:.86rem;color:#57606a;margin-top:.7rem}
summary{cursor:pointer;color:#57606a}details[open] summary{margin-bottom:.6rem}
code{font-size:.9em}
@media print{body{background:#fff}.figures a,.panel,.card{break-inside:avoid}}
"""
PICTURE_DPI: Final = 144
SCREEN_DPI: Final = 96


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the page."""

    path: str
    """Relative to the page."""
    section: str
    alt: str


def page(
    title: str, record: Mapping[str, Any], card: ModelCard, pictures: Sequence[Picture]
) -> str:
    """Return the page as HTML."""
    sections = list(dict.fromkeys(picture.section for picture in pictures))
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="facts">{escape(_facts(record, card))}</p>',
        f'<p class="notice">{escape(NOTICE)}</p>',
        *(f'<p class="warning">{escape(note)}</p>' for note in record.get("notes", ())),
        _cards(record),
        "<h2>Beside published work</h2>",
        _baselines(record, card),
    ]
    for section in sections:
        body.append(f"<h2>{escape(section)}</h2>")
        body.append(_section_table(section, record))
        body.append(_pictures(picture for picture in pictures if picture.section == section))
    body += ["<h2>All figures</h2>", _scores(record), _points(record), _files()]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
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


def _cards(record: Mapping[str, Any]) -> str:
    cards = [
        f'<div class="card"><span>{escape(TITLES[name])}</span><b>{_number(record[name])}</b>'
        f"<span>{_interval(record, name)}</span></div>"
        for name in HEADLINES
        if name in record
    ]
    drawn = "slides" if "slides" in record else "patients"
    return (
        f'<div class="cards">{"".join(cards)}</div>'
        f'<p class="small">In brackets the 95 % interval, by drawing {drawn} with replacement.</p>'
    )


def _baselines(record: Mapping[str, Any], card: ModelCard) -> str:
    ours = {"work": f"{card.name}, this report", **record}
    rows: list[Mapping[str, Any]] = [ours, *(asdict(baseline) for baseline in PUBLISHED)]
    columns = {"work": "Work", "balanced_accuracy": "Balanced accuracy", "f1": "F1"}
    if "dice" in record:
        columns["dice"] = "Dice"
        rows += [{"work": work, "dice": value} for work, value in PUBLISHED_SLIDES]
    table = _table(columns, rows).replace("<tr><td>", '<tr class="ours"><td>', 1)
    return (
        f'<div class="panel">{table}<p class="small">Published figures are on the test cases of '
        "the published split (whole slides: on other slides); they compare only where these data "
        f"are the same. {escape(LEAKAGE_WARNING)}</p></div>"
    )


def _section_table(section: str, record: Mapping[str, Any]) -> str:
    if section == "Slides":
        rows = [*record["slides"], {"slide": "Mean over slides", **record["mean_over_slides"]}]
        note = (
            "Coverage is the share of labelled cells that the pipeline took for tissue and "
            "classified; the others count as not IDC."
        )
        return f'<div class="panel">{_table(SLIDE_COLUMNS, rows)}<p class="small">{note}</p></div>'
    if section == "Patients":
        per_patient = record["per_patient"]
        rows = [*per_patient["patients"], {"patient": "Median", **per_patient["medians"]}]
        return (
            '<details class="panel"><summary>Figures of each patient'
            f"</summary>{_table(PATIENT_COLUMNS, rows)}</details>"
        )
    return ""


def _pictures(pictures: Iterable[Picture]) -> str:
    shown = "".join(
        f'<a href="{escape(p.path, quote=True)}"><img src="{escape(p.path, quote=True)}" '
        f'alt="{escape(p.alt, quote=True)}" style="zoom:{SCREEN_DPI / PICTURE_DPI:.3f}"></a>'
        for p in pictures
    )
    return f'<div class="figures">{shown}</div>'


def _scores(record: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(title)}</td><td>{_number(record[name])}</td>"
        f"<td>{_interval(record, name)}</td></tr>"
        for name, title in SCORE_TITLES.items()
    )
    head = "<tr><th>Score</th><th>Value</th><th>95 % interval</th></tr>"
    return f'<div class="panel"><table>{head}{rows}</table></div>'


def _points(record: Mapping[str, Any]) -> str:
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
    return f'<div class="panel">{_table(columns, rows)}</div>'


def _files() -> str:
    return (
        '<p class="small">Every figure is in <a href="metrics.json">metrics.json</a>, every '
        'probability in <a href="predictions.csv">predictions.csv</a>.</p>'
    )


def _table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in columns.values())
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(name, row.get(name))}</td>" for name in columns) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
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
