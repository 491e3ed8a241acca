"""Fitting how cells without neighbors are judged, on cores and strips cut from training slides."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.classifier import ContextRefinement, ModelCard
from wsi_pipeline.classifier.context import N_FEATURES, AloneCalibration, ring_features
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.data.negatives import negative_slides
from wsi_pipeline.learning.data.pieces import (
    CORES,
    IDC,
    OTHER,
    STRIPS,
    Mount,
    Shape,
    cut_pieces,
    mount,
)
from wsi_pipeline.learning.data.truth import SlideTruth, find_truths
from wsi_pipeline.learning.training.context import (
    NOT_CLASSIFIED,
    PENALTY,
    LabelledMap,
    classify_negative,
    classify_slide,
    classify_truth,
    fit_context,
    judge,
)
from wsi_pipeline.learning.training.extend import extend_model
from wsi_pipeline.learning.training.logistic import fit_weighted, of_either_label

logger = logging.getLogger(__name__)

N_EACH: Final = 8
"""Cores of each size and label of a slide."""
N_STRIPS: Final = 2
SHIFTS: Final = np.arange(-1.0, 1.01, 0.05)
"""Tried for the judgement of cells alone, in logits."""
MOST_CALLED: Final = 0.05
"""Share of cores without IDC that may be called."""
CHOOSING, JUDGING = 2000, 1000
"""First seeds of the cores that choose the shift, and of others of the same slides that judge."""


@dataclass(frozen=True, slots=True, eq=False)
class PiecesMap:
    """The unrefined map of pieces on one glass."""

    map: LabelledMap
    mount: Mount


def add_pieces(
    card: ModelCard, slides: Path, out: Path, negatives: Path | None = None
) -> ModelCard:
    """Fit the refinement by neighbors, and how cells without any are judged; write a model folder.

    The weights are fitted on the training slides and on slides without IDC, where there are any;
    the judgement of cells alone on pieces cut from the training slides. The network is surer on
    slides it was trained on than it will be on others, so the threshold comes from the validation
    slides, whole, and the shift of cells alone from cores cut from these: as many of IDC called as
    can be while at most `MOST_CALLED` of others are.

    Parameters
    ----------
    card : ModelCard
        Of the model to extend.
    slides : Path
        Folder with slides and ``*_truth.png`` beside them, named by patient; those of training and
        validation patients are used.
    out : Path
        Model folder to write; may be the model's own.
    negatives : Path, optional
        Folder of slides without any IDC.

    Raises
    ------
    DatasetError
        Where there is no slide of the training or of the validation patients.
    """
    training, validation = _sides(card, slides)
    other = [] if negatives is None else negative_slides(negatives)
    neighbors = fit_context(
        [classify_truth(card, truth) for truth in training],
        [classify_negative(card, path) for path in other],
    )
    judged = [classify_truth(card, truth) for truth in validation]
    neighbors, _ = _judge(neighbors, judged, card)
    pieces = [item for k, truth in enumerate(training) for item in classify_pieces(card, truth, k)]
    context = replace(neighbors, alone=fit_alone(neighbors, [item.map for item in pieces]))
    cores = [
        piece
        for k, truth in enumerate(validation)
        for piece in classify_pieces(card, truth, CHOOSING + k, n_each=20, strips=False)
    ]
    context, figures = _judge(shifted_for_cores(context, cores), judged, card)
    record = {
        **context.to_dict(),
        "slides": [truth.slide_id for truth in training],
        "validation_slides": [truth.slide_id for truth in validation],
        "other_slides": [path.stem for path in other],
        "pieces": int(sum(item.mount.piece_of_cell.max() + 1 for item in pieces)),
        "metrics": {
            "on": f"validation slides, which chose the threshold; {NOT_CLASSIFIED}",
            **figures,
            "cores": judge_cores(card, context, validation),
        },
    }
    return extend_model(card, {"context": record}, out)


def _judge(
    context: ContextRefinement, judged: Sequence[LabelledMap], card: ModelCard
) -> tuple[ContextRefinement, dict[str, Any]]:
    refined = [context.refine(item.values, 1, item.tissue) for item in judged]
    return judge(context, judged, refined, card.threshold)


def shifted_for_cores(context: ContextRefinement, cores: Sequence[PiecesMap]) -> ContextRefinement:
    """Shift the judgement of cells alone so that the most cores of IDC are called.

    At most `MOST_CALLED` of those without IDC may be; where even the lowest shift calls more, that
    one is taken. Of shifts that call as many of IDC the middle one is. The threshold stays.
    """
    if context.alone is None:
        raise ValueError("cells alone have no judgement of their own to shift")
    tried = [
        replace(context, alone=replace(context.alone, bias=context.alone.bias + float(shift)))
        for shift in SHIFTS
    ]
    allowed = [one for one in tried if _called(one, cores, OTHER) <= MOST_CALLED]
    found = [_called(one, cores, IDC) for one in allowed]
    best = [one for one, share in zip(allowed, found, strict=True) if share == max(found)]
    return best[len(best) // 2] if best else tried[0]


def _called(context: ContextRefinement, cores: Sequence[PiecesMap], label: int) -> float:
    """Return the share of the cores of a label that are called; 0 where there are none."""
    calls = [
        called
        for item in cores
        for of, called in cores_called(
            item.mount, context.refine(item.map.values, 1, item.map.tissue), context.threshold
        )
        if of == label
    ]
    return float(np.mean(calls)) if calls else 0.0


def _sides(card: ModelCard, slides: Path) -> tuple[list[SlideTruth], list[SlideTruth]]:
    split = card.record.get("split") or {}
    truths = find_truths(slides)
    training, validation = (
        [truth for truth in truths if truth.slide_id in set(split.get(side, ()))]
        for side in ("train", "validation")
    )
    if not training or not validation:
        raise DatasetError(
            f"{slides} holds {len(training)} slides of the model's training patients and "
            f"{len(validation)} of its validation patients",
            "At least one of each is needed; a slide is named by its patient",
        )
    return training, validation


def classify_pieces(
    card: ModelCard, truth: SlideTruth, seed: int, *, n_each: int = N_EACH, strips: bool = True
) -> list[PiecesMap]:
    """Cut pieces from a slide and run them, one glass a kind, without refinement."""
    rng = np.random.default_rng([seed, 1])
    kinds: list[list[tuple[Shape, int, int]]] = [
        [(core, OTHER, n_each), (core, IDC, n_each)] for core in CORES
    ]
    if strips:
        kinds.append([(strip, label, N_STRIPS) for strip in STRIPS for label in (OTHER, IDC)])
    found = []
    for wanted in kinds:
        cut = cut_pieces(truth, card.patch_size_px, card.spacing_um_px, wanted, rng)
        if cut:
            laid = mount(cut, card.patch_size_px, card.spacing_um_px, rng)
            found.append(PiecesMap(classify_mount(card, laid, truth.slide_id), laid))
    return found


def classify_mount(card: ModelCard, laid: Mount, slide_id: str) -> LabelledMap:
    """Run a glass of pieces without refinement."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pieces.png"
        Image.fromarray(laid.rgb).save(path)
        map_ = classify_slide(card, path, laid.um_px)
    return LabelledMap(slide_id, map_.values, laid.cells, tissue=map_.tissue)


def fit_alone(neighbors: ContextRefinement, labelled: Sequence[LabelledMap]) -> AloneCalibration:
    """Fit scale and shift of cells without neighbors at the least cross-entropy.

    Either label counts the same. Among these cells one is as likely IDC as not where its logit is
    that of the map's threshold: the one threshold then serves whole slides and pieces.
    """
    logits, labels = _alone(labelled)
    weight, bias = fit_weighted(logits[:, None], labels, of_either_label(labels), PENALTY)
    border = np.log(neighbors.threshold / (1 - neighbors.threshold))
    return AloneCalibration(float(weight[0]), bias + float(border))


def _alone(labelled: Sequence[LabelledMap]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return logits and labels of the labelled cells that have no neighbors."""
    logits, labels = [], []
    for item in labelled:
        features = ring_features(item.values, 1, item.tissue)
        use = (item.truth > 0) & (features[..., N_FEATURES] == 0)  # NaN where not classified
        logits.append(features[use][:, 0])
        labels.append(item.truth[use] == IDC)
    return np.concatenate(logits), np.concatenate(labels)


class CalledCores(TypedDict):
    """How many cores of a size and label there are, and how many of them are called."""

    cores: int
    called: int


def judge_cores(
    card: ModelCard, context: ContextRefinement, truths: Sequence[SlideTruth], n_each: int = 20
) -> dict[str, CalledCores]:
    """Return how many cores of each size and label are called, cut from slides off the grid.

    A core is called where at least half of its tissue is.
    """
    rows: dict[str, list[bool]] = {}
    for k, truth in enumerate(truths):
        found = classify_pieces(card, truth, JUDGING + k, n_each=n_each, strips=False)
        for core, item in zip(CORES, found, strict=False):
            refined = context.refine(item.map.values, 1, item.map.tissue)
            for label, called in cores_called(item.mount, refined, context.threshold):
                kind = "idc" if label == IDC else "other"
                rows.setdefault(f"{kind}_{core.width_um / 1000:g}_mm", []).append(called)
    return {
        name: {"cores": len(calls), "called": int(sum(calls))}
        for name, calls in sorted(rows.items())
    }


def cores_called(laid: Mount, refined: FloatArray, threshold: float) -> list[tuple[int, bool]]:
    """Return label of each core and whether half of its tissue or more is called."""
    calls = []
    for number in range(int(laid.piece_of_cell.max()) + 1):
        mine = laid.piece_of_cell == number
        share, truth = laid.share_of_cell[mine], laid.cells[mine]
        called = share[np.nan_to_num(refined[mine]) >= threshold].sum() / share.sum()
        calls.append((int(truth.max()), bool(called >= 0.5)))
    return calls
