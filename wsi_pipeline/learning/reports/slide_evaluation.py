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
from typing import Any, Final, Literal, NotRequired, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import ModelCard, ModelRequest, available_cores
from wsi_pipeline.config import Config
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.execution.block_executor import ThreadBlockExecutor
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
    """Look the map up on the truth's cells: the mean over the classified cells in each.

    A truth cell is in a region where half of the map's cells in it are.
    """
    in_region = (regions_of(map_, config).labels > 0).astype(np.float32)
    in_region[np.isnan(map_.values)] = np.nan
    covered = on_truth_cells(map_, in_region, truth.shape)
    return SlideComparison(
        slide_id,
        truth,
        on_truth_cells(map_, map_.values, truth.shape),
        None if map_.raw is None else on_truth_cells(map_, map_.raw, truth.shape),
        None if map_.uncertainty is None else on_truth_cells(map_, map_.uncertainty, truth.shape),
        np.nan_to_num(covered) >= 0.5,
        map_.threshold,
    )


def on_truth_cells(map_: ProbabilityMap, values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Return the mean of a layer over the map's cells whose centers lie in each truth cell.

    Returns
    -------
    ndarray of float32, shape of the truth
        NaN where there is none with a value.
    """
    step = [TRUTH_CELL_UM / mpp for mpp in (map_.mpp.y, map_.mpp.x)]
    row, col = (
        np.floor((map_.origin_l0[1 - axis] + (np.arange(n) + 0.5) * map_.step_l0[1 - axis])
                 / step[axis]).astype(np.intp)
        for axis, n in enumerate(map_.values.shape)
    )  # fmt: skip
    inside = ((row >= 0) & (row < shape[0]))[:, None] & ((col >= 0) & (col < shape[1]))
    known = inside & ~np.isnan(values)
    place = (row[:, None] * shape[1] + col)[known]
    n_places = shape[0] * shape[1]
    total = np.bincount(place, values[known].astype(np.float64), minlength=n_places)
    count = np.bincount(place, minlength=n_places)
    mean = np.full(n_places, np.nan, np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean.reshape(shape[:2])


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


class SlideScores(metrics.CallScores):
    """A slide's figures, over its labelled cells unless said otherwise."""

    slide: str
    cells: int
    prevalence: float
    coverage: float
    """Share of the cells that were classified."""
    auc: float
    cell_dice: float
    region_dice: float
    cells_called_without_label: int


class RefinedSlideScores(SlideScores):
    """The same where the map was refined by its neighbors."""

    auc_without_context: float


class SlidesRecord(TypedDict):
    """What metrics.json says of slides beside the pooled scores."""

    dice: float
    dice_ci95: list[float]
    region_dice: float
    coverage: float
    mean_over_slides: dict[str, float]
    slides: list[SlideScores | RefinedSlideScores]
    without_context: NotRequired[dict[str, float]]


MeanName = Literal["auc", "balanced_accuracy", "cell_dice", "region_dice", "coverage"]
MEANS: Final[tuple[MeanName, ...]] = get_args(MeanName)


def slide_row(comparison: SlideComparison) -> SlideScores | RefinedSlideScores:
    """Return the figures of one slide."""
    c, labelled = comparison, comparison.labelled
    y, p = c.idc[labelled], c.scores[labelled]
    called = c.scores >= c.threshold
    row: SlideScores = {
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
    if c.raw is None:
        return row
    refined: RefinedSlideScores = {
        **row,
        "auc_without_context": metrics.auc(y, np.nan_to_num(c.raw, nan=0.0)[labelled]),
    }
    return refined


def slides_record(comparisons: list[SlideComparison], *, raw_threshold: float) -> SlidesRecord:
    """Return what metrics.json says of slides beside the pooled scores.

    `dice` pools the cells of all slides; its interval comes from drawing slides.

    Parameters
    ----------
    comparisons : list of SlideComparison
    raw_threshold : float
        Of the map before refinement by neighbors; the refined map states its own.
    """
    rows = [slide_row(c) for c in comparisons]
    record: SlidesRecord = {
        "dice": _pooled(comparisons, regions=False),
        "dice_ci95": _dice_interval(comparisons),
        "region_dice": _pooled(comparisons, regions=True),
        "coverage": float(
            np.average([r["coverage"] for r in rows], weights=[r["cells"] for r in rows])
        ),
        "mean_over_slides": {n: float(np.nanmean([row[n] for row in rows])) for n in MEANS},
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
