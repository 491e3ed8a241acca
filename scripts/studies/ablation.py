#!/usr/bin/env python3
"""What each part of the training brings: named variants x seeds, short trainings, one table.

    python scripts/studies/ablation.py PATCHES -o RESULTS.jsonl [--minutes 60] [--seeds 0 1 2]
    python scripts/studies/ablation.py -o RESULTS.jsonl --table-only

PATCHES: the IDC archive's layout. Every variant trains on the same sample of the training patients
and is judged on the validation patients, which choose epoch and threshold too: look at differences,
not at figures. One line of RESULTS.jsonl a training; what stands there is not done again, so the
script can be stopped and goes on where it was. The table is printed, and written into ablation.md
beside this script. `--teachers` names a folder of
`wsi-pipeline train --folds` on the same PATCHES, `--imagenet` weights of MobileNetV2; without them
their variants are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from conditions import CONDITIONS, Condition
from study_table import beside, measured_today, write_table

from wsi_pipeline.classifier import logit
from wsi_pipeline.classifier.classifier import dihedral_views
from wsi_pipeline.files import write_atomic
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.division import divide
from wsi_pipeline.learning.data.folds import OutOfFold
from wsi_pipeline.learning.data.layouts import read_dataset
from wsi_pipeline.learning.data.normalization import normalize_patches, stain_reference_of
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.training.options import TrainingOptions

BASE = "base"
VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "no dihedral": {"dihedral": False},
    "no stain jitter": {"stain": False},
    "no blur": {"focus": False},
    "no JPEG": {"jpeg": False},
    "scale 10 %": {"scale": 0.1},
    "MixUp 0.2": {"mixup": 0.2},
    "CutMix 1.0": {"cutmix": 1.0},
    "focal loss": {"loss": "focal"},
    "balanced sampling": {"sampling": "balanced"},
    "positive weight 2.7": {"positive_weight": 2.7},
    "Macenko": {"stain_normalization": "macenko"},
    "Reinhard": {"stain_normalization": "reinhard"},
    "distilled": {"teacher_weight": 0.5},
    "bfloat16": {"precision": "mixed_bfloat16"},
    "baseline CNN": {"architecture": "baseline-cnn"},
    "small": {"architecture": "compact-residual-small"},
    "MobileNetV2": {"architecture": "mobilenet-v2", "learning_rate": 5e-4},
    "MobileNetV2, ImageNet": {"architecture": "mobilenet-v2", "learning_rate": 5e-4},
}
"""What each changes in the training options. The order is that of the work and of the table."""
COLUMNS = {
    "auc_tta": "AUC, 8 views",
    "balanced_accuracy": "balanced accuracy",
    "auc_jpeg": "JPEG 80 4:2:0",
    "auc_stains": "other stains",
    "auc_blur": "blurred",
    "auc_light": "darker",
}
CHANGES = {
    "auc_jpeg": ("JPEG 80 4:2:0",),
    "auc_stains": ("both x 0.7", "both x 1.4", "hematoxylin x 1.4", "eosin x 1.4"),
    "auc_blur": ("blur, sigma 1.2 px",),
    "auc_light": ("light x 0.85",),
}
"""Columns of validation patches that were changed, by the conditions whose mean each is."""


def main() -> int:
    """Train what is missing, as long as there is time, and print the table."""
    options = _arguments()
    if not options.table_only:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        _work(options)
    results = _results(options.out)
    lines = table(results).splitlines()
    print("\n".join(lines))
    if results:
        write_table(options.table, [measured_today(_facts(results[0])), "", *lines])
    return 0


def _facts(line: dict[str, Any]) -> str:
    """Return what the trainings have in common, from one of them."""
    patients = line["patients"] or "all"
    return (
        f"{line['architecture']} where a variant names no other, {line['precision']}, {patients} "
        f"patients, {line['per_patient'] or 'all'} patches of each at most, {line['epochs']} epochs"
    )


def _work(options: argparse.Namespace) -> None:
    end = time.monotonic() + 60 * options.minutes
    done = _results(options.out)
    if any(line[key] != value for line in done for key, value in _setting(options).items()):
        raise SystemExit(f"{options.out} holds trainings of another length: name another file")
    jobs = [job for job in _jobs(options) if not _is_done(job, done)]
    if not jobs:
        return
    training, validation = _sides(options)
    changed = {name: changed_by(CONDITIONS[name], validation) for name in sum(CHANGES.values(), ())}
    for job in jobs:
        if time.monotonic() >= end:
            print(f"time is over; {len(jobs) - jobs.index(job)} trainings are left", flush=True)
            return
        start = time.perf_counter()
        scores = _run(job, training, validation, changed, options)
        line = {**job, **scores, "seconds": round(time.perf_counter() - start, 1)}
        done.append(line)
        write_atomic(options.out, "".join(json.dumps(one) + "\n" for one in done).encode())
        print(json.dumps(line), flush=True)


def _jobs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what tells one training from another: seed by seed, so that every stop leaves a table.

    The spread of the base is needed first.
    """
    left_out = {"distilled"} if options.teachers is None else set()
    left_out |= {"MobileNetV2, ImageNet"} if options.imagenet is None else set()
    wanted = [name for name in options.variants or VARIANTS if name not in left_out]
    for seed in options.seeds:
        for name in wanted:
            yield {"variant": name, "seed": seed, **_setting(options)}


def _setting(options: argparse.Namespace) -> dict[str, Any]:
    """Return what must be alike for two trainings to be compared."""
    names = ("epochs", "patients", "per_patient", "validation_per_patient", "architecture")
    return {name: getattr(options, name) for name in (*names, "precision")}


def _is_done(job: dict[str, Any], results: Sequence[dict[str, Any]]) -> bool:
    return any(all(line[key] == value for key, value in job.items()) for line in results)


def _sides(options: argparse.Namespace) -> tuple[PatchDataset, PatchDataset]:
    """Return the same sample of the training and the validation patients for every training."""
    division = divide(read_dataset(options.patches, 50), "auto", 0)
    rng = np.random.default_rng(0)
    patients = np.unique(division.training.patients)
    chosen = rng.permutation(patients)[: options.patients or len(patients)].tolist()
    training = division.training.of_patients(chosen).sample(options.per_patient, rng)
    validation = division.validation.sample(options.validation_per_patient, rng)
    print(f"{len(training)} patches to train, {len(validation)} to judge", flush=True)
    return training, validation


def changed_by(condition: Condition, data: PatchDataset) -> PatchDataset:
    """Return the data with each patient's patches changed."""
    images = np.empty_like(data.images)
    for patient in np.unique(data.patients):
        mine = data.patients == patient
        images[mine] = condition(data.images[mine])
    return replace(data, images=images)


def _run(
    job: dict[str, Any],
    training: PatchDataset,
    validation: PatchDataset,
    changed: dict[str, PatchDataset],
    options: Any,
) -> dict[str, Any]:
    """Train one variant with one seed and score it."""
    import keras

    from wsi_pipeline.learning.training.trainer import train

    chosen = replace(
        TrainingOptions(architecture=options.architecture, precision=options.precision),
        epochs=job["epochs"],
        seed=job["seed"],
        **VARIANTS[job["variant"]],
    )
    if job["variant"] == "MobileNetV2, ImageNet":
        chosen = replace(chosen, weights=str(options.imagenet))
    method, reference = chosen.stain_normalization, stain_reference_of(training)
    seen = normalize_patches(training, method, reference)
    if job["variant"] == "distilled":
        predictions = OutOfFold.read(options.teachers)
        predictions.require_unseen(validation.patients)
        seen = predictions.distillation_targets(
            seen, chosen.teacher_weight, chosen.teacher_temperature
        )
    judged = normalize_patches(validation, method, reference)
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as work:
        network, history = train(seen, judged, chosen, Path(work))
    return {
        **_scores(network, judged),
        **_robustness(
            network, {n: normalize_patches(d, method, reference) for n, d in changed.items()}
        ),
        "training_patches": len(seen),
        "patches_per_second": round(
            len(seen) * len(history) / sum(entry["seconds"] for entry in history), 1
        ),
        "options": asdict(chosen),
    }


def _scores(network: Any, judged: PatchDataset) -> dict[str, float]:
    from wsi_pipeline.learning.training.trainer import predict

    y, p = judged.labels, predict(network, judged.images)
    views = np.mean([logit(predict(network, v)) for v in dihedral_views(judged.images)], axis=0)
    calls = metrics.call_scores(y, p, metrics.best_threshold(y, p))
    scores = {
        "auc": metrics.auc(y, p),
        "balanced_accuracy": calls["balanced_accuracy"],
        "f1": calls["f1"],
        "auc_tta": metrics.auc(y, views),
    }
    return {name: round(value, 5) for name, value in scores.items()}


def _robustness(network: Any, changed: dict[str, PatchDataset]) -> dict[str, float]:
    from wsi_pipeline.learning.training.trainer import predict

    auc = {
        n: metrics.auc(data.labels, predict(network, data.images)) for n, data in changed.items()
    }
    return {
        column: round(float(np.mean([auc[name] for name in names])), 5)
        for column, names in CHANGES.items()
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: means over the seeds, and the difference to the base.

    The difference is taken seed by seed, so that what a seed does to every variant cancels.
    """
    if not results:
        return "no results"
    by_variant: dict[str, dict[int, dict[str, Any]]] = {}
    for line in results:
        by_variant.setdefault(line["variant"], {})[line["seed"]] = line
    names = sorted(by_variant, key=[*VARIANTS].index)
    head = ["variant", "seeds", "AUC", *COLUMNS.values(), "AUC - base"]
    rows = [head, ["---"] * len(head)]
    base = by_variant.get(BASE, {})
    for name in names:
        runs = by_variant[name]
        aucs = _mean([run["auc"] for run in runs.values()])
        cells = [f"{np.mean([run[key] for run in runs.values()]):.3f}" for key in COLUMNS]
        common = sorted(set(runs) & set(base)) if name != BASE else []
        gains = [runs[seed]["auc"] - base[seed]["auc"] for seed in common]
        rows.append([name, str(len(runs)), aucs, *cells, _mean(gains, signed=True)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _mean(values: Sequence[float], *, signed: bool = False) -> str:
    if not values:
        return "–"
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):{'+' if signed else ''}.3f}{spread}"


def _results(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("patches", type=Path, nargs="?", metavar="PATCHES")
    add("-o", "--out", type=Path, required=True, metavar="RESULTS.jsonl")
    add("--variants", nargs="+", choices=[*VARIANTS], metavar="NAME",
        help="; ".join(VARIANTS).replace("%", "%%"))  # fmt: skip
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--epochs", type=int, default=8)
    add("--patients", type=int, default=60, help="training patients, 0 = all")
    add("--per-patient", type=int, default=100, help="patches of each at most, 0 = all")
    add("--validation-per-patient", type=int, default=200)
    add("--architecture", default="compact-residual", help="of every variant that names none")
    add("--precision", default="float32", help="of every variant that names none")
    add("--minutes", type=float, default=float("inf"), help="begin no training after these")
    add("--teachers", type=Path, metavar="DIR")
    add("--imagenet", type=Path, metavar="FILE")
    add("--table", type=Path, default=beside(__file__), metavar="FILE.md")
    add("--table-only", action="store_true")
    options = parser.parse_args()
    if options.patches is None and not options.table_only:
        parser.error("PATCHES is needed, or --table-only")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
