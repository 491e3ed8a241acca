"""Looking at an archive before anything is computed: one row a slide, for people and for `run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypedDict

import numpy as np

from wsi_pipeline.archive.states import CRASH_ADVICE
from wsi_pipeline.classifier import ModelCard, ModelRequest, find_model
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ReadError, WsiPipelineError
from wsi_pipeline.execution.backend import open_backend
from wsi_pipeline.execution.executor import Lost, SendProgress, discard_progress
from wsi_pipeline.files import write_atomic
from wsi_pipeline.geometry import Box
from wsi_pipeline.inputs.slide_list import SlideEntry
from wsi_pipeline.names import shown
from wsi_pipeline.pipeline.plan import SlidePlan, overlay_um_px, plan_slide
from wsi_pipeline.pipeline.run import NO_TISSUE_ADVICE
from wsi_pipeline.slides import SlideInfo, read_canvas
from wsi_pipeline.slides.identity import fingerprint
from wsi_pipeline.slides.pyramid import Pyramid
from wsi_pipeline.tables import csv_bytes

COLUMNS: Final = (
    "slide",
    "id",
    "skip",
    "problem",
    "advice",
    "vendor",
    "width",
    "height",
    "levels",
    "objective_power",
    "mpp_x",
    "mpp_y",
    "mpp_source",
    "tissue_mm2",
    "patches",
    "seconds",
    "output_mb",
    "file_mb",
    "quickhash",
    "fingerprint",
    "duplicate_of",
)
VIEWS: Final = 8
"""Of test-time augmentation."""
PROBE_PATCHES: Final = 64
"""Classified once to learn how fast this machine is."""
PROBE_SIDE_PX: Final = 512
"""Of the rectangle read from each slide to learn how fast its drive and decoder are."""
BYTES_A_PATCH: Final = 40.0
"""Of patches.csv and the map; measured on whole-mount slides, as are the next two."""
BYTES_A_PICTURE_PX: Final = 1.6
"""Of overlay, heatmap and thumbnail together."""
FIXED_BYTES: Final = 30_000.0
PICTURE_SECONDS_A_MPX: Final = 0.15
FIXED_SECONDS: Final = 0.05


class _Cells(TypedDict, total=False):
    """What was found of a slide: a cell a column; what is not known is not there, or empty."""

    problem: str
    advice: str
    vendor: str | None
    width: int
    height: int
    levels: int
    objective_power: float | Literal[""]
    mpp_x: float | Literal[""]
    mpp_y: float | Literal[""]
    mpp_source: str
    tissue_mm2: float
    patches: int
    seconds: float
    output_mb: float
    file_mb: float
    quickhash: str
    fingerprint: str
    duplicate_of: str


class ScanRow(_Cells):
    """A slide of the list."""

    slide: str
    id: str


@dataclass(frozen=True, slots=True)
class ScanTask:
    """One slide to look at."""

    entry: SlideEntry
    config: Config
    card: ModelCard
    patch_seconds: float
    """What classifying a patch takes on this machine."""


def scan_slides(
    entries: Sequence[SlideEntry],
    config: Config,
    seen: Callable[[ScanRow], None],
    leave: Callable[[list[ScanRow]], None],
) -> list[ScanRow]:
    """Return a row for each slide, in their order; `seen` is told of each as it comes.

    Many slides are opened in processes of their own: a file that crashes its decoder, or hangs, is
    a row too. A few are opened in this one; where a slide hangs there, `leave` gets the rows, of
    the slides that were not looked at too, from a thread of its own: it has to end the process,
    since nothing else can end the hanging thread.
    """
    card = find_model(config.model)
    seconds = patch_seconds(config, card)
    rows: dict[str, ScanRow] = {}

    def report(task: ScanTask, result: ScanRow | Lost) -> None:
        row = _lost_row(task, result) if isinstance(result, Lost) else result
        rows[task.entry.slide_id] = row
        seen(row)
        if isinstance(result, Lost) and result.still_here:
            missing = [one for one in tasks if one.entry.slide_id not in rows]
            rows.update({one.entry.slide_id: _unseen_row(one, task) for one in missing})
            leave(mark_duplicates([rows[entry.slide_id] for entry in entries]))

    local = config.execution.model_copy(update={"scheduler": None, "slurm": None})
    config = config.model_copy(update={"execution": local})
    tasks = [ScanTask(entry, config, card, seconds) for entry in entries]
    with open_backend(config, len(tasks)) as backend:
        backend.executor.run(partial(scan_slide, backend.threads), tasks, report, discard_progress)
    return mark_duplicates([rows[entry.slide_id] for entry in entries])


def scan_slide(threads: int, task: ScanTask, _send_progress: SendProgress) -> ScanRow:
    """Return the row of one slide; what is wrong with it stands in `problem` and `advice`."""
    entry, config = task.entry, task.config
    source = entry.source(config)
    row: ScanRow = {"slide": str(entry.path), "id": entry.slide_id}
    try:
        with source.open() as reader:
            row = {**row, **_facts(reader.info, reader.pyramid)}
        row["fingerprint"] = fingerprint(entry.path)
        start = time.perf_counter()
        plan = plan_slide(source, config, task.card)
        planning_seconds = time.perf_counter() - start
        row = {**row, **_estimate(task, plan, planning_seconds, threads)}
    except WsiPipelineError as error:
        row = {**row, "problem": error.problem, "advice": error.advice}
    except OSError as error:
        row = {**row, "problem": str(error), "advice": "Check the drive and its permissions"}
    return row


def patch_seconds(config: Config, card: ModelCard) -> float:
    """Return what classifying one patch takes on this machine, s."""
    classifier, side = ModelRequest.of(card, config).load(), card.patch_size_px
    patches = np.random.default_rng(0).integers(
        0, 255, (PROBE_PATCHES, side, side, 3), dtype=np.uint8
    )
    classifier.predict(patches[:1])
    start = time.perf_counter()
    classifier.predict(patches)
    views = VIEWS if config.inference.tta else 1
    return views * (time.perf_counter() - start) / PROBE_PATCHES


def mark_duplicates(rows: list[ScanRow]) -> list[ScanRow]:
    """Name, for each slide whose content came before, the first that has it."""
    first: dict[str, str] = {}
    marked = []
    for row in rows:
        content = row.get("fingerprint")
        original = first.setdefault(content, row["id"]) if content else row["id"]
        again = original != row["id"]
        marked.append({**row, "duplicate_of": original} if again else row)
    return marked


def write_scan(path: Path, rows: list[ScanRow]) -> None:
    """Write the rows as a list that `run` takes; unknown is empty.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    # Backslashes in a name that `shown` has made are bytes again when the list is read.
    shown_rows = [{**row, "slide": shown(row["slide"])} for row in rows]
    write_atomic(path, csv_bytes(COLUMNS, shown_rows, for_excel=True))


def _facts(info: SlideInfo, pyramid: Pyramid) -> _Cells:
    return {
        "vendor": info.vendor,
        "width": pyramid.size_l0.width,
        "height": pyramid.size_l0.height,
        "levels": len(pyramid.level_sizes),
        "objective_power": "" if info.objective_power is None else info.objective_power,
        "mpp_x": "" if info.mpp is None else info.mpp.x,
        "mpp_y": "" if info.mpp is None else info.mpp.y,
        "mpp_source": info.mpp_source,
        "file_mb": round(info.n_bytes / 1e6, 3),
        "quickhash": info.quickhash,
        "problem": "; ".join(info.warnings),
    }


def _estimate(task: ScanTask, plan: SlidePlan, planning_seconds: float, threads: int) -> _Cells:
    """Return what the slide will take: patches, seconds on all cores, bytes of results."""
    with_pictures = task.config.outputs == "all"
    um_px = overlay_um_px(plan, task.config.render.um_px)
    bounds, mpp = plan.bounds_l0, plan.mpp
    picture_px = (
        bounds.width * mpp.x / um_px * bounds.height * mpp.y / um_px if with_pictures else 0
    )
    n_cells = plan.grid.rows * plan.grid.cols
    seconds = (
        FIXED_SECONDS
        + planning_seconds
        + plan.n_patches * task.patch_seconds
        + _read_seconds(plan) / threads
        + PICTURE_SECONDS_A_MPX * picture_px / 1e6
    )
    n_bytes = FIXED_BYTES + BYTES_A_PATCH * n_cells + BYTES_A_PICTURE_PX * picture_px
    return {
        "tissue_mm2": round(plan.tissue_mask.area_mm2, 2),
        "patches": plan.n_patches,
        "seconds": round(seconds, 2),
        "output_mb": round(n_bytes / 1e6, 3),
        **({} if plan.n_patches else {"problem": "no tissue found", "advice": NO_TISSUE_ADVICE}),
    }


def _read_seconds(plan: SlidePlan) -> float:
    """Return how long reading the blocks will take, from one rectangle of the slide."""
    if not plan.n_patches:
        return 0.0
    rows, cols = np.nonzero(plan.keep)
    stride, middle = plan.grid.stride_px, len(rows) // 2
    box = Box(int(cols[middle]) * stride, int(rows[middle]) * stride, PROBE_SIDE_PX, PROBE_SIDE_PX)
    start = time.perf_counter()
    try:
        read_canvas(plan.source.open_shared(), plan.read_plan, box)
    except ReadError:
        return 0.0
    a_px = (time.perf_counter() - start) / PROBE_SIDE_PX**2
    return a_px * plan.n_patches * (stride * plan.lattice_step) ** 2


def _lost_row(task: ScanTask, lost: Lost) -> ScanRow:
    return {
        "slide": str(task.entry.path),
        "id": task.entry.slide_id,
        "problem": f"the process that opened it was lost ({lost.reason})",
        "advice": CRASH_ADVICE,
    }


def _unseen_row(task: ScanTask, hanging: ScanTask) -> ScanRow:
    return {
        "slide": str(task.entry.path),
        "id": task.entry.slide_id,
        "problem": f"not looked at, since {hanging.entry.slide_id} hangs",
        "advice": f"Leave {hanging.entry.slide_id} out and scan again",
    }
