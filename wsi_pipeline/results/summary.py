"""summary.csv and the gallery's rows: kept in memory during a run, written as slides finish.

Rows lie in files of a few hundred, of which only the changed ones are written again, and never more
often than costs a twentieth of the time: a slide costs the same in an archive of 100 or 100,000.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from wsi_pipeline.execution.locks import shared_files
from wsi_pipeline.files import check_way, make_folder, storing, write_atomic
from wsi_pipeline.names import printable
from wsi_pipeline.results.gallery import gallery_page, manifest_script, rows_script
from wsi_pipeline.results.layout import (
    GALLERY_NAME,
    PAGE_NAME,
    PARQUET_NAME,
    SLIDES_NAME,
    SUMMARY_NAME,
    slide_folder,
)
from wsi_pipeline.results.measures import MEASURE_COLUMNS, slide_date, slide_measures
from wsi_pipeline.results.parquet import parquet_bytes
from wsi_pipeline.results.status import AnyStatus, Done, Empty, Failed, Running, read_status
from wsi_pipeline.tables import csv_bytes

COLUMNS: Final = (
    "slide_id",
    "state",
    "slide",
    "tissue_mm2",
    "idc_mm2",
    "idc_share",
    "regions",
    "mean_probability",
    "max_probability",
    "uncertainty",
    "flagged_share",
    "familiar",
    "familiarity_score",
    "scanner",
    "scan_date",
    "scan_date_source",
    *MEASURE_COLUMNS,
    "patches",
    "patches_lost",
    "mpp_x",
    "mpp_y",
    "mpp_source",
    "seconds",
    "duplicate_of",
    "notes",
    "stage",
    "error",
    "advice",
)
SummaryRow = dict[str, str | float | None]
"""A slide's cells by column; None = not known, never zero."""
ROWS_A_FILE: Final = 500
READING_THREADS: Final = 8
"""Statuses are small files, on network drives slow to open: several are read at once."""
SHARE_OF_TIME: Final = 0.05
LEAST_SECONDS: Final = 2.0
FINAL_STATES: Final = frozenset({"done", "empty", "failed"})


class Summary:
    """What stands in summary.csv and the gallery: every slide of an output folder.

    Parameters
    ----------
    out : Path
        The output folder; the slides of earlier runs in it are listed too.
    parquet : bool
        Write summary.parquet in the end. Without, one of an earlier run is removed then: it would
        no longer agree with summary.csv.
    """

    def __init__(self, out: Path, *, parquet: bool = False) -> None:
        self._out, self._parquet = out, parquet
        self._rows: dict[str, SummaryRow] = {}
        self._changed: set[int] = set()
        self._places: dict[str, int] = {}
        self._next_flush = time.monotonic() + LEAST_SECONDS
        self._read_all()

    def update(self, slide_id: str, status: AnyStatus | None) -> None:
        """Take in how a slide stands; the files follow within seconds."""
        self._set(slide_row(slide_id, status))
        if time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> None:
        """Write what has changed."""
        start = time.monotonic()
        with shared_files(self._out):
            self._write()
        self._changed.clear()
        now = time.monotonic()
        self._next_flush = now + max(LEAST_SECONDS, (now - start) / SHARE_OF_TIME)

    def _write(self) -> None:
        folder = self._out / GALLERY_NAME
        make_folder(folder, self._out)
        rows = list(self._rows.values())
        for number in sorted(self._changed):
            part = rows[number * ROWS_A_FILE : (number + 1) * ROWS_A_FILE]
            write_atomic(folder / f"rows-{number:04d}.js", rows_script(number, part).encode())
        n_files = -(-len(rows) // ROWS_A_FILE)
        write_atomic(folder / "manifest.js", manifest_script(n_files, len(rows)).encode())
        write_atomic(self._out / PAGE_NAME, gallery_page().encode())
        write_atomic(self._out / SUMMARY_NAME, _csv(rows))

    def close(self) -> None:
        """Read again what other runs of this folder may have finished, and write all."""
        self._read([name for name, row in self._rows.items() if row["state"] not in FINAL_STATES])
        self.flush()
        path = self._out / PARQUET_NAME
        if self._parquet:
            rows = sorted(self._rows.values(), key=_slide_id)
            write_atomic(path, parquet_bytes(rows, COLUMNS))
        else:
            with storing(path):
                path.unlink(missing_ok=True)

    def _read_all(self) -> None:
        slides = self._out / SLIDES_NAME
        with storing(slides):
            check_way(slides, self._out)
            slides.mkdir(parents=True, exist_ok=True)
            self._read(sorted(path.name for path in slides.iterdir() if path.is_dir()))

    def _read(self, names: list[str]) -> None:
        folders = [slide_folder(self._out, name) for name in names]
        with ThreadPoolExecutor(READING_THREADS) as pool:
            for name, status in zip(names, pool.map(read_status, folders), strict=True):
                self._set(slide_row(name, status))

    def _set(self, row: SummaryRow) -> None:
        name = str(row["slide_id"])
        if self._rows.get(name) == row:
            return
        self._rows[name] = row  # a new slide comes last: the files before stay as they are
        place = self._places.setdefault(name, len(self._places))
        self._changed.add(place // ROWS_A_FILE)


def write_summary(out: Path, *, parquet: bool = False) -> None:
    """Write summary.csv, the gallery and, if asked for, summary.parquet of an output folder."""
    Summary(out, parquet=parquet).close()


def slide_row(slide_id: str, status: AnyStatus | None) -> SummaryRow:
    """Return a slide's row of the summary; what is not known is empty, not zero."""
    day, source = slide_date(status)
    row: SummaryRow = {
        **dict.fromkeys(COLUMNS),
        "slide_id": slide_id,
        "state": status.state if status else "unknown",
        "slide": (printable(status.slide) or None) if status else None,
        **{name: _known(value) for name, value in slide_measures(status).items()},
        "scan_date": day or None,
        "scan_date_source": source or None,
    }
    if isinstance(status, Done | Empty | Failed):
        stages = status.seconds
        row |= {
            "stage": status.stage,
            "error": printable(status.error),
            "advice": printable(status.advice),
            "seconds": round(sum(stages.values()), 3) if stages else None,
        }
    if isinstance(status, Done | Empty):
        row |= _result_columns(status)
    elif isinstance(status, Running):
        row["stage"] = status.stage
    return row


def _result_columns(status: Done | Empty) -> SummaryRow:
    totals, mpp = status.totals, status.mpp or (None, None)
    columns: SummaryRow = {
        "scanner": status.vendor,
        "tissue_mm2": status.tissue_mask.area_mm2,
        "mpp_x": mpp[0],
        "mpp_y": mpp[1],
        "mpp_source": status.mpp_source,
        "duplicate_of": status.duplicate_of or None,
        "notes": "; ".join(status.cautions) or None,
        "patches": status.patches,
        "patches_lost": status.patches_lost,
        "uncertainty": status.uncertainty,
        "flagged_share": status.flagged_share,
        "familiar": _yes_or_no(status),
        "familiarity_score": status.familiarity.score if status.familiarity else None,
    }
    if totals is not None:
        columns |= {
            "tissue_mm2": _known(totals.tissue_mm2),
            "idc_mm2": _known(totals.idc_mm2),
            "idc_share": _known(totals.idc_share),
            "regions": _known(totals.n_regions),
            "mean_probability": _known(totals.mean_probability),
            "max_probability": _known(totals.max_probability),
        }
    if isinstance(status, Empty):
        columns |= {"idc_mm2": 0.0, "regions": 0}
    return columns


def _yes_or_no(status: Done | Empty) -> str | None:
    """Return whether the slide is familiar to the model; None where it cannot be known."""
    if status.familiarity is None:
        return None
    return "yes" if status.familiarity.familiar else "no"


def _csv(rows: list[SummaryRow]) -> bytes:
    in_order = sorted(rows, key=_slide_id)
    return csv_bytes(COLUMNS, ({k: _cell(v) for k, v in row.items()} for row in in_order))


def _slide_id(row: SummaryRow) -> str:
    return str(row["slide_id"])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: str | float | None) -> str | float:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
