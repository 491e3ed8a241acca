"""The pipeline on whole slides with a known truth, cell by cell.

The truth is a picture ``SLIDE_truth.png`` with one pixel for each 400 µm cell from the slide's
origin: 0 = no patch, 1 = not IDC, 2 = IDC. Every labelled cell counts. One that the pipeline took
for background counts with probability 0, and the share of those is reported as coverage.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import ModelCard, ModelRequest, available_cores
from wsi_pipeline.config import Config
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.execution.dask_tasks import ThreadBlockExecutor
from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.learning.data.truth import SlideTruth
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.reports.scoring import Predictions
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.pipeline.run import do_slide
from wsi_pipeline.results.slide_files import regions_of
from wsi_pipeline.slides import SlideSource

logger = logging.getLogger(__name__)

TRUTH_CELL_UM: Final = 400.0
"""Side of a truth cell: 50 px at 8 µm/px."""
TRUTH_CELL_PX: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class SlideComparison:
    """A map beside its truth, on the truth's cells."""

    slide_id: str
    truth: NDArray[np.uint8]
    """uint8, shape (rows, cols): 0 no patch, 1 not IDC, 2 IDC."""
    probability: FloatArray
    """float32, same shape; NaN = not classified."""
    raw: FloatArray | None
    """Before refinement by the neighbors, where that was done."""
    uncertainty: FloatArray | None
    in_region: BoolMask
    """Inside an IDC region of the run."""
    threshold: float

    @property
    def labelled(self) -> BoolMask:
        """Cells with a label."""
        return self.truth > 0

    @property
    def idc(self) -> BoolMask:
        """Cells that are IDC."""
        return self.truth == 2

    @property
    def scores(self) -> FloatArray:
        """The map with 0 where nothing was classified."""
        return np.nan_to_num(self.probability, nan=0.0)


def compare_slides(
    truths: list[SlideTruth], card: ModelCard, config: Config, out: Path
) -> Iterator[SlideComparison]:
    """Run each slide through the pipeline, into ``out/slides/SLIDE_ID``, and look up its truth.

    Raises
    ------
    DatasetError
        Where a truth labels no cell.
    """
    threads = config.execution.workers or available_cores()
    run = ResolvedRun(out.absolute(), config, card, ModelRequest.of(card, config))
    run = run.placed(threads, on_gpu_workers=False)
    for number, truth in enumerate(truths, 1):
        if not truth.cells.any():
            raise DatasetError(
                f"the truth of {truth.slide_id} labels no cell", "Leave slides without labels out"
            )
        source = SlideSource(truth.slide_path.absolute(), config.slide.mpp)
        job = SlideJob(truth.slide_id, source)
        result = do_slide(run, job, ThreadBlockExecutor(threads))
        map_ = ProbabilityMap.open(result.map_path)
        logger.info("%s (%d of %d) classified", truth.slide_id, number, len(truths))
        yield compare(truth.slide_id, map_, truth.cells, config)


def compare(
    slide_id: str, map_: ProbabilityMap, truth: NDArray[np.uint8], config: Config
) -> SlideComparison:
    """Look the map up at the center of each truth cell."""
    rows, cols, inside = _cells_at_centers(map_, truth.shape)
    in_region = regions_of(map_, config).labels > 0

    def at(values: NDArray[Any], outside: Any) -> NDArray[Any]:
        return np.where(inside, values[rows, cols], outside)

    return SlideComparison(
        slide_id,
        truth,
        at(map_.values, np.float32(np.nan)),
        None if map_.raw is None else at(map_.raw, np.float32(np.nan)),
        None if map_.uncertainty is None else at(map_.uncertainty, np.float32(np.nan)),
        at(in_region, False),
        map_.threshold,
    )


def pooled_predictions(comparisons: list[SlideComparison]) -> Predictions:
    """Return the labelled cells of all slides as predictions, unclassified ones with 0."""
    cells = [c.labelled for c in comparisons]
    spread = [
        c.uncertainty[kept]
        for c, kept in zip(comparisons, cells, strict=True)
        if c.uncertainty is not None
    ]

    def pooled(name: str) -> NDArray[Any]:
        return np.concatenate(
            [getattr(c, name)[kept] for c, kept in zip(comparisons, cells, strict=True)]
        )

    corners = [np.argwhere(kept)[:, ::-1] * TRUTH_CELL_PX + 1 for kept in cells]
    names = np.repeat([c.slide_id for c in comparisons], [int(kept.sum()) for kept in cells])
    return Predictions(
        tuple(map(str, names)),
        names,
        np.concatenate(corners).astype(np.int32),
        pooled("idc").astype(np.int8),
        pooled("scores"),
        np.concatenate(spread) if len(spread) == len(comparisons) else None,
        ~np.isnan(pooled("probability")),
    )


def slide_row(comparison: SlideComparison) -> dict[str, Any]:
    """Return the figures of one slide."""
    c, labelled = comparison, comparison.labelled
    y, p = c.idc[labelled], c.scores[labelled]
    called = c.scores >= c.threshold
    row = {
        "slide": c.slide_id,
        "cells": int(labelled.sum()),
        "prevalence": float(y.mean()),
        "coverage": float((~np.isnan(c.probability[labelled])).mean()),
        "auc": metrics.auc(y, p),
        **metrics.call_scores(y, p, c.threshold),
        "cell_dice": dice(c.idc & labelled, called & labelled),
        "region_dice": dice(c.idc & labelled, c.in_region & labelled),
        "cells_called_without_label": int((called & ~labelled).sum()),
    }
    if c.raw is not None:
        row["auc_without_context"] = metrics.auc(y, np.nan_to_num(c.raw, nan=0.0)[labelled])
    return row


def slides_record(comparisons: list[SlideComparison], *, raw_threshold: float) -> dict[str, Any]:
    """Return what metrics.json says of slides beside the pooled scores.

    `dice` pools the cells of all slides; its interval comes from drawing slides.

    Parameters
    ----------
    comparisons : list of SlideComparison
    raw_threshold : float
        Of the map before refinement by neighbors; the refined map states its own.
    """
    rows = [slide_row(c) for c in comparisons]
    names = ("auc", "balanced_accuracy", "cell_dice", "region_dice", "coverage")
    record: dict[str, Any] = {
        "dice": _pooled(comparisons, regions=False),
        "dice_ci95": _dice_interval(comparisons),
        "region_dice": _pooled(comparisons, regions=True),
        "coverage": float(
            np.average([r["coverage"] for r in rows], weights=[r["cells"] for r in rows])
        ),
        "mean_over_slides": {n: float(np.nanmean([row[n] for row in rows])) for n in names},
        "slides": rows,
    }
    raw = [np.nan_to_num(c.raw, nan=0.0)[c.labelled] for c in comparisons if c.raw is not None]
    if len(raw) == len(comparisons):
        y = np.concatenate([c.idc[c.labelled] for c in comparisons])
        record["without_context"] = metrics.all_scores(y, np.concatenate(raw), raw_threshold)
    return record


def dice(one: BoolMask, other: BoolMask) -> float:
    """Return twice the common area over the sum of the areas; NaN where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def _cells_at_centers(
    map_: ProbabilityMap, shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp], BoolMask]:
    """Return the map's row and column at each truth cell's center, and which are on the map."""
    row, col = np.indices(shape[:2])
    x_l0 = (col + 0.5) * TRUTH_CELL_UM / map_.mpp.x
    y_l0 = (row + 0.5) * TRUTH_CELL_UM / map_.mpp.y
    cols = np.floor((x_l0 - map_.origin_l0[0]) / map_.step_l0[0]).astype(np.intp)
    rows = np.floor((y_l0 - map_.origin_l0[1]) / map_.step_l0[1]).astype(np.intp)
    n_rows, n_cols = map_.values.shape
    inside = (rows >= 0) & (rows < n_rows) & (cols >= 0) & (cols < n_cols)
    return np.clip(rows, 0, n_rows - 1), np.clip(cols, 0, n_cols - 1), inside


def _pooled(comparisons: list[SlideComparison], *, regions: bool) -> float:
    truth = np.concatenate([c.idc[c.labelled] for c in comparisons])
    called = [
        (c.in_region if regions else c.scores >= c.threshold)[c.labelled] for c in comparisons
    ]
    return dice(truth, np.concatenate(called))


def _dice_interval(comparisons: list[SlideComparison]) -> list[float]:
    rng = np.random.default_rng(0)
    draws = [
        _pooled([comparisons[i] for i in chosen], regions=False)
        for chosen in rng.integers(len(comparisons), size=(500, len(comparisons)))
    ]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return [float(low), float(high)]
