"""Fitting the refinement of a map by neighbors, on whole slides with truth."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import ContextRefinement, ModelCard, available_cores, read_card
from wsi_pipeline.classifier.context import N_FEATURES, ring_features
from wsi_pipeline.config import load_config
from wsi_pipeline.errors import DatasetError, ModelError
from wsi_pipeline.execution.block_executor import ThreadBlockExecutor
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.data.folds import OutOfFold, fold_folder
from wsi_pipeline.learning.data.truth import SlideTruth, find_truths
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.training.extend import extend_model
from wsi_pipeline.learning.training.logistic import fit_weighted, of_either_label
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.resolved import SlideJob, resolve_run
from wsi_pipeline.pipeline.run import do_slide
from wsi_pipeline.slides import SlideSource

logger = logging.getLogger(__name__)

PENALTY: Final = 0.03
"""L2 on the weights: the rings are strongly correlated."""
OTHER_SHARE: Final = 0.25
"""Of the weight of all cells, those of other tissue: scattered false calls there must not join."""
NOT_CLASSIFIED: Final = "cells not classified count as 0"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledMap:
    """A slide's unrefined map and its truth on the same cells."""

    slide_id: str
    values: FloatArray
    """float32, shape (rows, cols); NaN = not classified."""
    truth: NDArray[np.uint8]
    """uint8, shape (rows, cols): 0 = no label, 1 = not IDC, 2 = IDC."""
    tissue: FloatArray | None = field(default=None, kw_only=True)
    """float32, shape (rows, cols): share of each cell on tissue; None = all of it."""

    @property
    def features(self) -> NDArray[np.float64]:
        """What the neighbors' weights are fitted on, float64 (rows, cols, N_FEATURES)."""
        return ring_features(self.values, 1, self.tissue)[..., :N_FEATURES]


def add_context(card: ModelCard, slides: Path, out: Path) -> ModelCard:
    """Fit the refinement for a model on slides that it was not trained on; write a model folder.

    The threshold and the figures in the card come from leaving one slide out in turn; the weights
    that are stored come from all of them.

    Parameters
    ----------
    card : ModelCard
        Of the model to extend.
    slides : Path
        Folder with slides and ``*_truth.png`` beside them.
    out : Path
        Model folder to write; may be the model's own.

    Raises
    ------
    DatasetError
        Where there are fewer than three slides with truth.
    """
    truths = find_truths(slides)
    if len(truths) < 3:
        raise DatasetError(
            f"{slides} holds {len(truths)} slides with a *_truth.png",
            "At least three are needed to fit on some and judge on another",
        )
    labelled = [classify_truth(card, truth) for truth in truths]
    context, figures = judge(
        fit_context(labelled), labelled, leave_one_out(labelled), card.threshold
    )
    figures = {"on": f"each slide by weights of the others; {NOT_CLASSIFIED}", **figures}
    slides_used = {"slides": [item.slide_id for item in labelled]}
    fitted_context = {**context.to_dict(), **slides_used, "metrics": figures}
    return extend_model(card, {"context": fitted_context}, out)


def add_context_by_teachers(card: ModelCard, slides: Path, teachers: Path, out: Path) -> ModelCard:
    """Fit the refinement on training slides, each classified by the network that did not see it.

    On slides that it was trained on a network is surer than it will ever be again. The threshold
    and the figures in the card come from the model itself on its validation slides, whose labels
    have no part in the weights. A slide's id is its patient's.

    Parameters
    ----------
    card : ModelCard
        Of the model to extend.
    slides : Path
        Folder with slides and ``*_truth.png`` beside them; others than those of the training and
        the validation patients are left alone.
    teachers : Path
        Folder of `wsi_pipeline.learning.training.teachers.train_teachers`.
    out : Path
        Model folder to write; may be the model's own.

    Raises
    ------
    DatasetError
        Where there are too few slides of either kind, or the teachers saw a validation patient.
    ModelError
        Where a teacher works at another scale than the model.
    """
    predictions = OutOfFold.read(teachers)
    validating = set((card.record.get("split") or {}).get("validation", ()))
    predictions.require_unseen(validating)
    truths, fold_of = find_truths(slides), predictions.fold_of
    training = [truth for truth in truths if truth.slide_id in fold_of]
    validation = [truth for truth in truths if truth.slide_id in validating]
    if len(training) < 2 or not validation:
        raise DatasetError(
            f"{slides} holds {len(training)} slides of the teachers' patients and "
            f"{len(validation)} of the model's validation patients",
            "At least two of the first and one of the second are needed; a slide is named by its "
            "patient",
        )
    cards = {
        fold: _same_scale(card, read_card(fold_folder(teachers, fold)))
        for fold in sorted({fold_of[truth.slide_id] for truth in training})
    }
    fitted = [classify_truth(cards[fold_of[truth.slide_id]], truth) for truth in training]
    judged = [classify_truth(card, truth) for truth in validation]
    context = fit_context(fitted)
    refined = [context.refine(item.values, 1, item.tissue) for item in judged]
    context, figures = judge(context, judged, refined, card.threshold)
    figures = {"on": f"validation slides, which chose the threshold; {NOT_CLASSIFIED}", **figures}
    slides_used = {
        "slides": [item.slide_id for item in fitted],
        "validation_slides": [item.slide_id for item in judged],
        "teachers": {str(fold): teacher.sha256 for fold, teacher in cards.items()},
    }
    fitted_context = {**context.to_dict(), **slides_used, "metrics": figures}
    return extend_model(card, {"context": fitted_context}, out)


def _same_scale(card: ModelCard, teacher: ModelCard) -> ModelCard:
    ours, theirs = ((c.patch_size_px, c.spacing_um_px) for c in (card, teacher))
    if ours != theirs:
        raise ModelError(
            f"{teacher.name} takes patches of {theirs[0]} px at {theirs[1]:g} µm/px, {card.name} "
            f"of {ours[0]} px at {ours[1]:g} µm/px",
            "Teachers must work at the model's scale",
        )
    return teacher


def judge(
    context: ContextRefinement,
    judged: Sequence[LabelledMap],
    refined: Sequence[FloatArray],
    raw_threshold: float,
) -> tuple[ContextRefinement, dict[str, Any]]:
    """Return the refinement with the best threshold on maps, and the scores there."""
    labels, after, before = _pooled(judged, refined)
    threshold = round(metrics.best_threshold(labels, after), 4)
    raw = [item.values for item in judged]
    figures = {
        "refined": _rounded(metrics.all_scores(labels, after, threshold)),
        "raw": _rounded(metrics.all_scores(labels, before, raw_threshold)),
        "mean_over_slides": {
            "refined": _mean_over_slides(judged, refined, threshold),
            "raw": _mean_over_slides(judged, raw, raw_threshold),
        },
    }
    return replace(context, threshold=threshold), figures


def _mean_over_slides(
    judged: Sequence[LabelledMap], maps: Sequence[FloatArray], threshold: float
) -> dict[str, float]:
    """Return each score's mean over the slides where it is defined."""
    rows = []
    for item, map_ in zip(judged, maps, strict=True):
        use = item.truth > 0
        rows.append(metrics.all_scores(item.truth[use] == 2, np.nan_to_num(map_[use]), threshold))
    names = ("auc", "balanced_accuracy", "f1")
    defined = {name: [row[name] for row in rows if np.isfinite(row[name])] for name in names}
    return {name: round(float(np.mean(values)), 4) for name, values in defined.items() if values}


def leave_one_out(labelled: Sequence[LabelledMap]) -> list[FloatArray]:
    """Return each slide's map refined by weights that were fitted on all the others."""
    return [
        fit_context([*labelled[:k], *labelled[k + 1 :]]).refine(item.values, 1, item.tissue)
        for k, item in enumerate(labelled)
    ]


def fit_context(
    labelled: Sequence[LabelledMap], other: Sequence[LabelledMap] = ()
) -> ContextRefinement:
    """Fit the weights at the least cross-entropy, see `fit_logistic`.

    Returns
    -------
    ContextRefinement
        With threshold 0.5: choose one on validation slides.
    """
    maps = [*labelled, *other]
    weights, bias = fit_logistic([item.features for item in maps], labelled, other)
    return ContextRefinement(tuple(float(v) for v in weights), bias, 0.5)


def fit_logistic(
    features: Sequence[NDArray[np.float64]],
    labelled: Sequence[LabelledMap],
    other: Sequence[LabelledMap] = (),
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression on features of cells.

    Each slide counts the same, and of each slide either label: a cell is as likely IDC as not where
    the fitted probability is one half, however much of the slides is IDC.

    Parameters
    ----------
    features : sequence of ndarray, shape (rows, cols, n)
        One a slide, `labelled` first; finite where a cell is classified.
    labelled : sequence of LabelledMap
    other : sequence of LabelledMap, optional
        Slides without IDC, with `OTHER_SHARE` of the weight.

    Returns
    -------
    weights : ndarray of float64, shape (n,)
    bias : float
    """
    maps = [*labelled, *other]
    use = [(item.truth > 0) & ~np.isnan(item.values) for item in maps]
    x = np.concatenate([map_[u] for map_, u in zip(features, use, strict=True)])
    labels = [item.truth[u] == 2 for item, u in zip(maps, use, strict=True)]
    own_share = 1 - OTHER_SHARE if other else 1.0
    weights = [own_share / len(labelled)] * len(labelled)
    weights += [OTHER_SHARE / len(other) for _ in other]
    w = np.concatenate(
        [weight * of_either_label(y) for weight, y in zip(weights, labels, strict=True)]
    )
    start = np.zeros(x.shape[1] + 1)
    start[0] = 1.0
    return fit_weighted(x, np.concatenate(labels), w / w.sum(), PENALTY, start)


def classify_negative(card: ModelCard, path: Path) -> LabelledMap:
    """Run a slide without any IDC without refinement."""
    map_ = classify_slide(card, path)
    logger.info("%s classified", path.name)
    truth = np.ones(map_.values.shape, np.uint8)
    return LabelledMap(path.stem, map_.values, truth, tissue=map_.tissue)


def classify_truth(card: ModelCard, truth: SlideTruth) -> LabelledMap:
    """Run the slide without refinement and bring its truth onto the map's cells."""
    map_ = classify_slide(card, truth.slide_path)
    logger.info("%s classified", truth.slide_id)
    cells = truth.on_cells(map_.values.shape)
    return LabelledMap(truth.slide_id, map_.values, cells, tissue=map_.tissue)


def classify_slide(card: ModelCard, path: Path, um_px: float | None = None) -> ProbabilityMap:
    """Run a slide or picture by the model's folder without refinement."""
    config = load_config(
        None,
        {"model": str(card.folder), "outputs": "map", "inference": {"context": False}},
    )
    with tempfile.TemporaryDirectory() as scratch:
        cores = available_cores()
        run = resolve_run(config, Path(scratch)).placed(cores, on_gpu_workers=False)
        job = SlideJob(path.stem, SlideSource(path, um_px))
        result = do_slide(run, job, ThreadBlockExecutor(cores))
        return ProbabilityMap.open(result.map_path)


def _pooled(
    labelled: Sequence[LabelledMap], refined: Sequence[FloatArray]
) -> tuple[NDArray[np.int8], FloatArray, FloatArray]:
    """Return labels, refined and raw probabilities of all labelled cells, 0 where there is none."""
    use = [item.truth > 0 for item in labelled]
    labels = [(item.truth[u] == 2).astype(np.int8) for item, u in zip(labelled, use, strict=True)]
    after = [np.nan_to_num(map_[u]) for map_, u in zip(refined, use, strict=True)]
    before = [np.nan_to_num(item.values[u]) for item, u in zip(labelled, use, strict=True)]
    return np.concatenate(labels), np.concatenate(after), np.concatenate(before)


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}
