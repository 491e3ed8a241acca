"""How stain, tissue and focus drift over an archive, and which slides stand apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import IncompleteRunError
from wsi_pipeline.files import storing, write_atomic
from wsi_pipeline.results.finished import finished_folders
from wsi_pipeline.results.measures import NAN, slide_date, slide_measures
from wsi_pipeline.results.status import Done, read_status
from wsi_pipeline.tables import csv_bytes

OUTLIER_Z: Final = 3.5
"""Robust z-score from which a slide stands apart (Iglewicz & Hoaglin 1993)."""
MIN_SLIDES: Final = 6
"""Fewer slides than this have no usual value to stand apart from."""

MEASURES: Final[Mapping[str, tuple[str, float]]] = {
    "hematoxylin_hue": ("Hematoxylin: density in red over green", 0.02),
    "eosin_hue": ("Eosin: density in red over green", 0.02),
    "mean_od": ("Mean density of stained pixels", 0.02),
    "lightness": ("Lightness of stained pixels, CIELAB L", 1.0),
    "tissue_share": ("Tissue, share of the scanned area", 0.03),
    "out_of_focus_share": ("Cells out of focus, share", 0.02),
}
"""What is followed: its name in words, and the deviation below which nothing is worth a name."""

COLUMNS: Final = ("slide_id", "scanner", "date", "date_source", *MEASURES, "outlier")


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One slide of the archive."""

    slide_id: str
    scanner: str
    """The file's vendor word."""
    date: str
    """Day of the scan as the slide states it, else of the file's last change; ISO, empty where
    neither is known."""
    date_source: str
    """The property that states it, or "file time"."""
    values: Mapping[str, float]
    """By the names of `MEASURES`; NaN where not measured."""
    outlier: Mapping[str, float]
    """Robust z-score of the measures in which the slide stands apart."""


def drift_table(out: Path) -> list[DriftRow]:
    """Return every finished slide with its measures, by scanner and date.

    Raises
    ------
    IncompleteRunError
        Where the folder holds no finished slide.
    """
    rows = []
    for folder in finished_folders(out):
        status = read_status(folder)
        if isinstance(status, Done):
            rows.append((folder.name, status, _values(status)))
    if not rows:
        raise IncompleteRunError(f"{out} holds no slide with tissue", "Run some slides first")
    scores = {
        name: robust_z(np.array([values[name] for _, _, values in rows]), floor)
        for name, (_, floor) in MEASURES.items()
    }
    table = [
        DriftRow(
            slide_id,
            status.vendor or "unknown",
            *slide_date(status),
            values,
            {name: float(z[i]) for name, z in scores.items() if abs(z[i]) >= OUTLIER_Z},
        )
        for i, (slide_id, status, values) in enumerate(rows)
    ]
    return sorted(table, key=lambda row: (row.scanner, row.date, row.slide_id))


def robust_z(values: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Return each value's distance from the median in robust standard deviations.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN = not measured.
    floor : float
        Least standard deviation, same unit: in a uniform archive a speck would be an outlier.

    Returns
    -------
    ndarray of float64, shape (n,)
        0 where a value is NaN or there are fewer than `MIN_SLIDES`.
    """
    known = values[~np.isnan(values)]
    if len(known) < MIN_SLIDES:
        return np.zeros(len(values))
    median = np.median(known)
    # 1.4826 makes the median absolute deviation a standard deviation for a normal distribution.
    scale = max(1.4826 * float(np.median(np.abs(known - median))), floor)
    return np.nan_to_num((values - median) / scale)


def write_drift(out: Path, folder: Path) -> list[DriftRow]:
    """Write ``drift.csv`` and ``drift.png`` and return the rows.

    Raises
    ------
    IncompleteRunError
        Where the folder holds no finished slide.
    StorageError
        Where the files cannot be written.
    """
    from wsi_pipeline.render.drift import Trend, write_trends

    rows = drift_table(out)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "drift.csv", _csv(rows))
    trends = [
        Trend(
            words,
            np.array([row.values[name] for row in rows]),
            {i: row.slide_id for i, row in enumerate(rows) if name in row.outlier},
        )
        for name, (words, _) in MEASURES.items()
    ]
    dates = [row.date for row in rows]
    write_trends(trends, [row.scanner for row in rows], dates, folder / "drift.png")
    return rows


def _values(status: Done) -> dict[str, float]:
    measured = slide_measures(status)
    hues = {
        f"{stain}_hue": _ratio(measured[f"{stain}_red"], measured[f"{stain}_green"])
        for stain in ("hematoxylin", "eosin")
    }
    return {name: {**measured, **hues}[name] for name in MEASURES}


def _ratio(above: float, below: float) -> float:
    return above / below if below else NAN


def _csv(rows: Sequence[DriftRow]) -> bytes:
    lines = []
    for row in rows:
        values = ["" if math.isnan(row.values[n]) else f"{row.values[n]:.5g}" for n in MEASURES]
        apart = "; ".join(f"{name} (z {z:+.1f})" for name, z in row.outlier.items())
        place = (row.slide_id, row.scanner, row.date, row.date_source)
        lines.append([*place, *values, apart])
    return csv_bytes(COLUMNS, lines)
