"""What a slide's status.json says of its stain, tissue, focus and date: figures of one slide."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Final

from wsi_pipeline.results.status import AnyStatus, Done, Empty, StainFacts
from wsi_pipeline.tissue import QualityFlag

NAN: Final = math.nan
FILE_TIME: Final = "file time"
"""Source of a date that the slide does not state."""

FLAG_COLUMNS: Final[Mapping[str, QualityFlag]] = {
    "out_of_focus_share": QualityFlag.OUT_OF_FOCUS,
    "pen_share": QualityFlag.PEN,
    "fold_share": QualityFlag.FOLD,
    "blank_share": QualityFlag.BLANK,
    "saturated_share": QualityFlag.SATURATED,
}
"""Shares of the classified cells with each flag."""
VECTOR_COLUMNS: Final = tuple(
    f"{stain}_{channel}"
    for stain in ("hematoxylin", "eosin")
    for channel in ("red", "green", "blue")
)
"""The slide's unit vectors of optical density."""
MEASURE_COLUMNS: Final = (
    "tissue_share",
    *VECTOR_COLUMNS,
    "mean_od",
    "lightness",
    *FLAG_COLUMNS,
)


def slide_measures(status: AnyStatus | None) -> dict[str, float]:
    """Return the figures of `MEASURE_COLUMNS`; NaN where not measured.

    `mean_od` and `lightness` (CIELAB L) are means over the stained pixels, shares lie in 0 to 1.
    """
    known = status if isinstance(status, Done | Empty) else Done()
    stain = known.stain or StainFacts()
    matrix = (stain.vectors or {}).get("stain_matrix") or ((NAN,) * 3,) * 2
    flags = known.quality_shares
    return {
        "tissue_share": _number(known.tissue_mask.tissue_share),
        **dict(zip(VECTOR_COLUMNS, map(_number, (*matrix[0], *matrix[1])), strict=True)),
        "mean_od": _number(stain.mean_od),
        "lightness": _number((stain.lab_mean or (None,))[0]),
        **{column: _number(flags.get(str(flag.name))) for column, flag in FLAG_COLUMNS.items()},
    }


def slide_date(status: AnyStatus | None) -> tuple[str, str]:
    """Return the day of the scan (ISO) and where it is stated; else that of the file's last change.

    Both are empty where neither is known.
    """
    if not isinstance(status, Done | Empty):
        return "", ""
    if status.scan_date:
        return status.scan_date, status.scan_date_source or ""
    if not status.file.mtime_ns:
        return "", ""
    moment = datetime.datetime.fromtimestamp(status.file.mtime_ns / 1e9, datetime.UTC)
    return moment.date().isoformat(), FILE_TIME


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)
