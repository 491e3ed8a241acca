"""From a data set and a model to an evaluation: of patches, or of whole slides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wsi_pipeline.classifier import ModelCard, load_classifier, operating_points
from wsi_pipeline.config import Config
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.data.normalization import normalize_patches
from wsi_pipeline.learning.data.splits import published_cases
from wsi_pipeline.learning.data.truth import SlideTruth, find_truths
from wsi_pipeline.learning.reports.report import Evaluation
from wsi_pipeline.learning.reports.scoring import (
    PUBLISHED_SIDES,
    choose_patients,
    leakage_notes,
    model_facts,
    predict_patches,
    scores_record,
)
from wsi_pipeline.learning.reports.slide_evaluation import (
    compare_slides,
    pooled_predictions,
    slides_record,
)
from wsi_pipeline.pipeline.stain import stain_reference

logger = logging.getLogger(__name__)


def evaluate_patches(
    dataset: Path,
    card: ModelCard,
    patients: Sequence[str] = ("all",),
    *,
    n_threads: int = 0,
    facts: Mapping[str, Any],
) -> Evaluation:
    """Classify every labelled patch, padded ones too, and score the calls.

    Parameters
    ----------
    dataset : Path
        In any layout of `read_dataset`.
    card : ModelCard
    patients : sequence of str
        See `choose_patients`.
    n_threads : int
        CPU threads; 0 = all cores.
    facts : mapping
        `tta`, and what else the record shall say (`date`).

    Raises
    ------
    DatasetError
        Where the data set or the choice of patients cannot be used.
    """
    data = choose_patients(read_dataset(dataset, card.patch_size_px), patients)
    notes = leakage_notes(np.unique(data.patients).tolist(), card)
    if card.stain != "none":
        data = normalize_patches(data, card.stain, stain_reference(card))
        notes.append(f"Stains normalized by {card.stain}, fitted on each patient's patches.")
    if (data.patients == "").all():
        notes.append("Patients are unknown: intervals are by patch and too narrow.")
        data = replace(data, patients=np.array(data.files))
    classifier = load_classifier(card, n_threads=n_threads)
    predictions = predict_patches(data, classifier, tta=bool(facts.get("tta")))
    record = {
        **scores_record(predictions, operating_points(card)),
        "model": model_facts(card),
        **facts,
        "device": classifier.device,
        "dataset": dataset.name,
        "notes": notes,
        "problems": {kind: len(names) for kind, names in data.problems.items()},
    }
    return Evaluation(f"Patch evaluation of {card.name}", card, record, predictions, data.images)


def evaluate_slides(
    folder: Path,
    card: ModelCard,
    config: Config,
    out: Path,
    patients: Sequence[str],
    facts: Mapping[str, Any],
) -> Evaluation:
    """Run the pipeline on every slide with a truth and score its map; results stay in `out`.

    Raises
    ------
    DatasetError
        Where there is no such slide, or a truth cannot be used.
    """
    slides = _chosen(find_truths(folder), patients)
    comparisons = tuple(compare_slides(slides, card, config, out))
    predictions = pooled_predictions(list(comparisons))
    refined = all(c.raw is not None for c in comparisons)
    # The thresholds of the card are those of patches; a refined map has one of its own.
    points = operating_points(card) if not refined else {"balanced": comparisons[0].threshold}
    notes = leakage_notes([slide.slide_id for slide in slides], card)
    fitted_on = set((card.record.get("context") or {}).get("slides", ())) if refined else set()
    if own := fitted_on & {slide.slide_id for slide in slides}:
        notes.append(
            f"{len(own)} of {len(slides)} slides fitted the refinement by neighbors: see "
            "`context` in model.json for figures by weights of the other slides."
        )
    missed = int((~predictions.classified).sum()) if predictions.classified is not None else 0
    if missed:
        notes.append(
            f"{missed} of {len(predictions)} labelled cells were taken for background; they count "
            "as not IDC."
        )
    record = {
        **scores_record(predictions, points),
        **slides_record(list(comparisons), raw_threshold=card.threshold),
        "model": model_facts(card),
        **facts,
        "context": refined,
        "dataset": folder.name,
        "notes": notes,
    }
    title = f"Whole-slide evaluation of {card.name}"
    return Evaluation(title, card, record, predictions, comparisons=comparisons)


def _chosen(slides: list[SlideTruth], wanted: Sequence[str]) -> list[SlideTruth]:
    if "all" in wanted or not wanted:
        return slides
    ids = set(wanted)
    for name in ids & set(PUBLISHED_SIDES):
        ids |= published_cases(PUBLISHED_SIDES[name])
    chosen = [slide for slide in slides if slide.slide_id in ids]
    if not chosen:
        raise DatasetError(
            f"none of the {len(slides)} slides is one of {', '.join(wanted)}",
            f"There are {', '.join(slide.slide_id for slide in slides[:8])} ...",
        )
    return chosen
