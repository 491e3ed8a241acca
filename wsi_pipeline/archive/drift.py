"""How stain, tissue and focus drift over an archive, and which slides stand apart."""

from __future__ import annotations

import csv
import datetime
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.archive.finished import finished_folders
from wsi_pipeline.errors import IncompleteRunError, WsiPipelineError
from wsi_pipeline.outputs import MAP_NAME, read_status
from wsi_pipeline.probability import ProbabilityMap
from wsi_pipeline.probability.files import storing, write_atomic
from wsi_pipeline.tissue import QualityFlag

NAN: Final = math.nan
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

COLUMNS: Final = ("slide_id", "scanner", "file_date", *MEASURES, "outlier")


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One slide of the archive."""

    slide_id: str
    scanner: str
    """The file's vendor word."""
    file_date: str
    """When the file was last changed, ISO date; empty where unknown. Not the date of the scan."""
    values: Mapping[str, float]
    """By the names of `MEASURES`; NaN where not measured."""
    outlier: Mapping[str, float]
    """Robust z-score of the measures in which the slide stands apart."""


def drift_table(out: Path) -> list[DriftRow]:
    """Return every finished slide with its measures, by scanner and date of the file.

    Raises
    ------
    IncompleteRunError
        Where the folder holds no finished slide.
    """
    rows = []
    for folder in finished_folders(out):
        status = read_status(folder)
        if status.get("state") == "done":
            rows.append((folder.name, status, _values(folder, status)))
    if not rows:
        raise IncompleteRunError(f"{out} holds no slide with tissue", "Run some slides first")
    scores = {
        name: robust_z(np.array([values[name] for _, _, values in rows]), floor)
        for name, (_, floor) in MEASURES.items()
    }
    table = [
        DriftRow(
            slide_id,
            str(status.get("vendor", "unknown")),
            _date(status),
            values,
            {name: float(z[i]) for name, z in scores.items() if abs(z[i]) >= OUTLIER_Z},
        )
        for i, (slide_id, status, values) in enumerate(rows)
    ]
    return sorted(table, key=lambda row: (row.scanner, row.file_date, row.slide_id))


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
    write_atomic(folder / "drift.csv", _csv(rows).encode())
    trends = [
        Trend(
            words,
            np.array([row.values[name] for row in rows]),
            {i: row.slide_id for i, row in enumerate(rows) if name in row.outlier},
        )
        for name, (words, _) in MEASURES.items()
    ]
    write_trends(trends, [row.scanner for row in rows], folder / "drift.png")
    return rows


def _values(folder: Path, status: Mapping[str, Any]) -> dict[str, float]:
    stain = status.get("stain") or {}
    hematoxylin, eosin = (stain.get("vectors") or {}).get("stain_matrix") or (None, None)
    lab = stain.get("lab_mean") or (NAN,)
    return {
        "hematoxylin_hue": _hue(hematoxylin),
        "eosin_hue": _hue(eosin),
        "mean_od": _number(stain.get("mean_od")),
        "lightness": _number(lab[0]),
        "tissue_share": _tissue_share(status),
        "out_of_focus_share": _out_of_focus(folder),
    }


def _hue(vector: Sequence[float] | None) -> float:
    return NAN if not vector or not vector[1] else float(vector[0] / vector[1])


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)


def _tissue_share(status: Mapping[str, Any]) -> float:
    mask, size, mpp = status.get("tissue_mask"), status.get("size_l0"), status.get("mpp")
    if not (mask and size and mpp):
        return NAN
    return float(mask["area_mm2"] * 1e6 / (size[0] * mpp[0] * size[1] * mpp[1]))


def _out_of_focus(folder: Path) -> float:
    try:
        map_ = ProbabilityMap.open(folder / MAP_NAME)
    except WsiPipelineError:
        return NAN
    known = ~np.isnan(map_.values)
    if map_.quality is None or not known.any():
        return NAN
    return float(((map_.quality[known] & np.uint8(QualityFlag.OUT_OF_FOCUS)) > 0).mean())


def _date(status: Mapping[str, Any]) -> str:
    mtime_ns = status.get("file", {}).get("mtime_ns")
    if not mtime_ns:
        return ""
    return datetime.datetime.fromtimestamp(mtime_ns / 1e9, datetime.UTC).date().isoformat()


def _csv(rows: Sequence[DriftRow]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = ["" if math.isnan(row.values[n]) else f"{row.values[n]:.5g}" for n in MEASURES]
        apart = "; ".join(f"{name} (z {z:+.1f})" for name, z in row.outlier.items())
        writer.writerow([row.slide_id, row.scanner, row.file_date, *values, apart])
    return text.getvalue()
