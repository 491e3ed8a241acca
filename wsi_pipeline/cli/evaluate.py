"""`wsi-pipeline evaluate`: a model on labelled patches or on whole slides with a truth."""

from __future__ import annotations

import argparse
import datetime
import logging
from pathlib import Path
from typing import Any

from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import DEFAULT_MODEL
from wsi_pipeline.cli.main import EXIT_DONE

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="folder PATIENT/0|1/*.png, class folders, "
        "a CSV of labels; with --slides a folder of slides with *_truth.png")  # fmt: skip
    add("-o", "--out", type=Path, required=True, metavar="REPORT_DIR", help="report folder")
    add("--model", default=DEFAULT_MODEL, metavar="NAME_OR_DIR", help="default: the bundled one")
    add("--tta", action="store_true", help="average eight views")
    add("--slides", action="store_true", help="run the pipeline on whole slides with a truth")
    add("--context", action=argparse.BooleanOptionalAction, default=None,
        help="use neighbors, for --slides")  # fmt: skip
    add("--patients", nargs="+", default=["all"], metavar="ID",
        help="all, published-val, published-test, published-train, or patient ids")  # fmt: skip
    add("--mpp", type=float, metavar="UM", help="µm/px for slides that state none")
    add("-j", "--workers", type=int, metavar="N", help="threads (default: all cores)")


def execute(options: argparse.Namespace) -> int:
    """Evaluate, write the report and say the main figures."""
    from wsi_pipeline.classifier import find_model
    from wsi_pipeline.learning.reports.evaluation import evaluate_patches, evaluate_slides
    from wsi_pipeline.learning.reports.report import write_report

    card = find_model(options.model)
    common = {"tta": options.tta, "date": datetime.date.today().isoformat()}
    if options.slides:
        config = _config(options)
        evaluation = evaluate_slides(
            options.dataset, card, config, options.out, options.patients, common
        )
    else:
        if options.context:
            logger.warning("single patches have no neighbors: --context has no effect")
        evaluation = evaluate_patches(
            options.dataset, card, options.patients, n_threads=options.workers or 0, facts=common
        )
    page = write_report(evaluation, options.out)
    _say(evaluation.record, card.name)
    print(f"report {page}\n{NOTICE}")
    return EXIT_DONE


def _config(options: argparse.Namespace) -> Any:
    from wsi_pipeline.config import load_config

    overrides = {
        "model": options.model,
        "outputs": "map",
        "slide": {"mpp": options.mpp},
        "inference": {"tta": options.tta, "context": options.context},
        "execution": {"workers": options.workers},
    }
    return load_config(None, overrides)


def _say(record: dict[str, Any], model: str) -> None:
    unit = "labelled cells" if "slides" in record else "patches"
    of = "slides" if "slides" in record else "patients"
    print(f"{model}: {record['patches']} {unit} of {record['patients']} {of}")
    for name in ("auc", "balanced_accuracy", "f1", "dice", "region_dice", "ece"):
        if name in record:
            low, high = record.get(f"{name}_ci95", (float("nan"), float("nan")))
            interval = f"  [{low:.4f}, {high:.4f}]" if low == low else ""
            print(f"  {name:18} {record[name]:.4f}{interval}")
    for note in record["notes"]:
        print(f"  note: {note}")
