"""From a data set to a model folder: read, split, train, calibrate, choose thresholds, package."""

from __future__ import annotations

import datetime
import logging
import platform
import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

import keras
import numpy as np
from numpy.typing import NDArray

import wsi_pipeline
from wsi_pipeline.classifier import (
    ModelCard,
    available_cores,
    find_model,
    load_classifier,
    logit,
    operating_points,
    predict_views,
    sha256_of,
    sigmoid,
)
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.division import Division, divide
from wsi_pipeline.learning.data.folds import TABLE, OutOfFold
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.data.negatives import read_negatives
from wsi_pipeline.learning.data.normalization import normalize_patches, stain_reference_of
from wsi_pipeline.learning.networks.packaging import write_card, write_networks
from wsi_pipeline.learning.networks.quantization import quantize_where_as_good
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.reports.model_card import write_model_card
from wsi_pipeline.learning.reports.report import Evaluation, write_report
from wsi_pipeline.learning.reports.scoring import (
    leakage_notes,
    model_facts,
    predict_patches,
    scores_record,
)
from wsi_pipeline.learning.training.calibration import fit_temperature
from wsi_pipeline.learning.training.familiarity import add_familiarity, with_features
from wsi_pipeline.learning.training.options import PLACES, TrainingOptions, as_arguments
from wsi_pipeline.learning.training.trainer import EpochProgress, predict, train

logger = logging.getLogger(__name__)

HIGH_SENSITIVITY: Final = 0.95


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a model beside its data."""

    name: str
    split: str = "auto"
    """See `divide`."""
    patch_size_px: int = 50
    spacing_um_px: float = 8.0
    training: TrainingOptions = field(default_factory=TrainingOptions)
    teachers: Path | None = None
    """Folder of `train_teachers` whose out-of-fold logits make the distillation targets."""
    negatives: Path | None = None
    """Folder of slides without IDC that train too, see `read_negatives`."""
    quantize: bool = True
    """Eight-bit integers on CPUs, where the validation AUC does not fall by it."""


def train_model(
    dataset: Path, out: Path, recipe: Recipe, *, progress: EpochProgress | None = None
) -> ModelCard:
    """Train on a data set in any layout of `read_dataset` and write the model folder.

    Best epoch, temperature and thresholds come from the validation patients alone. `progress` is
    told after each batch.

    Raises
    ------
    DatasetError
        Where the folder holds no labelled patches or cannot be split by patient.
    """
    data = read_dataset(dataset, recipe.patch_size_px)
    division = prepare(data, recipe)
    if recipe.teachers is not None:
        division, recipe = _taught(division, recipe, recipe.teachers)
    elif recipe.training.distill:
        division = replace(division, training=distilled(division.training, recipe.training))
    training, validation, split = division.training, division.validation, division.split
    logger.info(
        "%d patches of %d patients to train, %d of %d to validate, %d patients left out",
        len(training),
        len(split.train),
        len(validation),
        len(split.validation),
        len(split.left_out),
    )
    network, history = train(
        training,
        validation,
        recipe.training,
        out / "training",
        division.negatives,
        progress=progress,
    )
    card = package(network, history, division, out, recipe)
    report_on(card, validation)
    return card


def prepare(data: PatchDataset, recipe: Recipe) -> Division:
    """Divide a data set, normalize its stains and read other tissue, as the recipe says."""
    if recipe.teachers is not None and recipe.training.distill:
        raise ConfigError(
            "both teachers and a model to distill are given",
            "Choose --teacher, whose networks did not see what they say, or --distill",
        )
    division = divide(data, recipe.split, recipe.training.seed)
    reference, method = stain_reference_of(division.training), recipe.training.stain_normalization
    negatives = None
    if recipe.negatives is not None:
        negatives = read_negatives(
            recipe.negatives,
            recipe.patch_size_px,
            recipe.spacing_um_px,
            recipe.training.seed,
            reference.glass_rgb if reference else None,
        )
        negatives = normalize_patches(negatives, method, reference)
    return replace(
        division,
        training=normalize_patches(division.training, method, reference),
        validation=normalize_patches(division.validation, method, reference),
        reference=reference,
        negatives=negatives,
    )


def distilled(data: PatchDataset, options: TrainingOptions) -> PatchDataset:
    """Return the data with targets between the label and what a model says of the clean patch.

    Under an augmentation stronger than the model's own this keeps what it knows of its archive,
    label noise at outlines among it. Unlike teachers the model may have seen the patches: use one
    that was taught by networks that had not.
    """
    probabilities, _ = predict_views(load_classifier(find_model(options.distill)), data.images)
    weight, temperature = options.teacher_weight, np.float32(options.teacher_temperature)
    soft = sigmoid(logit(probabilities) / temperature)
    return replace(data, targets=((1 - weight) * data.labels + weight * soft).astype(np.float32))


def _taught(division: Division, recipe: Recipe, teachers: Path) -> tuple[Division, Recipe]:
    """Take distillation targets from the teachers, and name the teachers in the recipe."""
    options, predictions = recipe.training, OutOfFold.read(teachers)
    predictions.require_unseen(division.validation.patients)
    with_targets = predictions.distillation_targets(
        division.training, options.teacher_weight, options.teacher_temperature
    )
    name = f"{teachers.resolve().name}, {TABLE} sha256 {sha256_of(teachers / TABLE)}"
    taught = replace(recipe, training=replace(options, teacher=name))
    return replace(division, training=with_targets), taught


def report_on(card: ModelCard, validation: PatchDataset) -> Path:
    """Write the report on the validation patches and the model card in words; return its path.

    The engine that will serve the model makes the predictions, so that it is checked too.
    """
    classifier = load_classifier(card, device="cpu")
    predictions = predict_patches(validation, classifier)
    record = {
        **scores_record(predictions, operating_points(card)),
        "model": model_facts(card),
        "tta": False,
        "device": classifier.device,
        "notes": leakage_notes(np.unique(validation.patients).tolist(), card),
    }
    title = f"{card.name} on its validation patients"
    write_report(
        Evaluation(title, card, record, predictions, validation.images), card.folder / "report"
    )
    return write_model_card(card)


def package(
    network: keras.Model,
    history: list[dict[str, float]],
    division: Division,
    out: Path,
    recipe: Recipe,
) -> ModelCard:
    """Calibrate a trained network, choose its thresholds and write its folder.

    Temperature, thresholds and figures are of the network as CPUs will run it.
    """
    validation = division.validation
    written = with_features(network, division.training)
    litert = write_networks(written, out)
    served = {"precision": "float32"}
    raw = predict(network, validation.images)
    if recipe.quantize:
        raw, served = quantize_where_as_good(litert, division.training, validation, raw)
    temperature = fit_temperature(validation.labels, raw)
    record = {
        **_interface(recipe),
        "glass_rgb": list(division.reference.glass_rgb) if division.reference else None,
        "temperature": round(temperature, 4),
        **_judged(validation, sigmoid(logit(raw) / np.float32(temperature))),
        "training_data": _data_record(division),
        "split": asdict(division.split),
        "training": _training_record(recipe, history),
        "parameters": int(written.count_params()),
        "litert": served,
        "license": "Apache-2.0",
        "notice": "Research use only. Not for diagnosis. Never for screening patients.",
    }
    card = write_card(out, record, division.reference)
    return add_familiarity(card, division.training, validation, division.negatives, out)


class _Interface(TypedDict):
    """What a network takes and gives, as its card says."""

    name: str
    architecture: str
    patch_size_px: int
    spacing_um_px: float
    class_names: list[str]
    input_range: list[int]
    output: str
    stain: str


class _Judgement(TypedDict):
    """Thresholds that the validation patients choose, and the scores on these."""

    threshold: float
    operating_points: dict[str, float]
    metrics: dict[str, Any]
    """See `_metrics`."""


class _OtherTissue(TypedDict):
    slides: list[str]
    patches: int


class _DataRecord(TypedDict):
    """What a network was trained on."""

    patches: int
    patients: int
    prevalence: float
    problems: dict[str, int]
    other_tissue: NotRequired[_OtherTissue]


def _interface(recipe: Recipe) -> _Interface:
    """Return what the network takes and gives."""
    return {
        "name": recipe.name,
        "architecture": recipe.training.architecture,
        "patch_size_px": recipe.patch_size_px,
        "spacing_um_px": recipe.spacing_um_px,
        "class_names": ["IDC"],
        "input_range": [0, 255],
        "output": "probability",
        "stain": recipe.training.stain_normalization,
    }


def _judged(validation: PatchDataset, probabilities: NDArray[np.float32]) -> _Judgement:
    """Return the thresholds that the validation patches choose, and the scores on these."""
    threshold = metrics.best_threshold(validation.labels, probabilities)
    sensitive = metrics.threshold_of_sensitivity(validation.labels, probabilities, HIGH_SENSITIVITY)
    points = {"balanced": round(threshold, 4), "high_sensitivity": round(sensitive, 4)}
    return {
        "threshold": points["balanced"],
        "operating_points": points,
        "metrics": _metrics(validation, probabilities, threshold),
    }


def _training_record(
    recipe: Recipe, history: list[dict[str, float]]
) -> dict[str, Any]:  # every training option is a key of it
    return {
        **asdict(recipe.training),
        # where they lie is nobody's business
        **{name: Path(getattr(recipe.training, name)).name for name in PLACES},
        **_origins(recipe.training),
        "command": _command(recipe),
        "history": [{k: round(v, 5) for k, v in entry.items()} for entry in history],
        "made": datetime.date.today().isoformat(),
        "with": f"wsi_pipeline {wsi_pipeline.__version__}, Keras {keras.__version__}",
        "machine": f"{platform.machine()}, {available_cores()} cores",
    }


def _origins(options: TrainingOptions) -> dict[str, dict[str, object]]:
    """Return how the model was made that the training started from, so that it can be made again.

    It may be the one that this training replaces.
    """
    keys = ("command", "teacher", "started_from", "made", "with", "machine")
    found = {}
    for name, model in (("started_from", options.start), ("blended_with", options.blend)):
        if model:
            card = find_model(model)
            record = card.record.get("training") or {}
            found[name] = {"sha256": card.sha256, **{k: record[k] for k in keys if k in record}}
    return found


def _command(recipe: Recipe) -> str:
    """Return the command that trains this again, with names in place of folders."""
    words = ["wsi-pipeline", "train", "DATASET", "-o", recipe.name]
    for name in ("split", "patch_size_px", "spacing_um_px"):
        if getattr(recipe, name) != getattr(Recipe(""), name):
            words += [f"--{name.replace('_', '-')}", str(getattr(recipe, name))]
    words += ["--teacher", recipe.teachers.name] if recipe.teachers else []
    words += ["--negatives", recipe.negatives.name] if recipe.negatives else []
    words += [] if recipe.quantize else ["--no-quantize"]
    return shlex.join([*words, *as_arguments(recipe.training)])


def _data_record(division: Division) -> _DataRecord:
    training, negatives = division.training, division.negatives
    record: _DataRecord = {
        "patches": len(training),
        "patients": len(np.unique(training.patients)),
        "prevalence": round(float(training.labels.mean()), 4),
        "problems": {kind: len(names) for kind, names in training.problems.items()},
    }
    if negatives is not None:
        slides = np.unique(negatives.patients).tolist()
        record["other_tissue"] = {"slides": slides, "patches": len(negatives)}
    return record


def _metrics(
    validation: PatchDataset, probabilities: NDArray[np.float32], threshold: float
) -> dict[str, Any]:  # the names of the intervals are made of those of the scores
    scores = metrics.all_scores(validation.labels, probabilities, threshold)
    intervals = metrics.patient_bootstrap(
        validation.labels,
        probabilities,
        validation.patients,
        threshold,
        rng=np.random.default_rng(0),
    )
    return {
        "on": "validation patients, which also chose epoch, temperature and threshold",
        **{name: round(value, 4) for name, value in scores.items()},
        **{f"{name}_ci95": [round(v, 4) for v in pair] for name, pair in intervals.items()},
        "patches": len(validation),
        "patients": len(np.unique(validation.patients)),
        "prevalence": round(float(validation.labels.mean()), 4),
    }
