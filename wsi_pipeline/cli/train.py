"""`wsi-pipeline train`: train a patch classifier and write its model folder."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from wsi_pipeline.cli.main import EXIT_DONE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="folder PATIENT/0|1/*.png, at any depth")
    add("-o", "--out", type=Path, required=True, metavar="MODEL_DIR", help="model folder to write")
    add("--name", help="name in the card (default: the folder's)")
    add("--architecture", default="compact-residual", help="network, by name")
    add("--split", choices=("published", "random"), default="published", help="by patient, always")
    add("--epochs", type=int, default=24)
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=1.5e-3, help="peak of the cosine schedule")
    add("--positive-weight", type=float, default=1.0, help="weight of an IDC patch in the loss")
    add("--no-jpeg", action="store_true", help="do not train for compressed slides")
    add("--no-stain-jitter", action="store_true", help="do not vary the stain")
    add("--patch-size-px", type=int, default=50)
    add("--spacing-um-px", type=float, default=8.0, help="µm/px of the patches")
    add("--seed", type=int, default=0)


def execute(options: argparse.Namespace) -> int:
    """Train; the state after each epoch lies in MODEL_DIR/training, so a kill loses one epoch."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("wsi_pipeline").setLevel(logging.INFO)
    from wsi_pipeline.learning.recipe import Recipe, train_model
    from wsi_pipeline.learning.training import TrainingOptions

    recipe = Recipe(
        name=options.name or options.out.resolve().name,
        split=options.split,
        patch_size_px=options.patch_size_px,
        spacing_um_px=options.spacing_um_px,
        training=TrainingOptions(
            architecture=options.architecture,
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            positive_weight=options.positive_weight,
            jpeg=not options.no_jpeg,
            stain=not options.no_stain_jitter,
            seed=options.seed,
        ),
    )
    card = train_model(options.dataset, options.out, recipe)
    metrics = card.record["metrics"]
    print(
        f"{card.name}: validation AUC {metrics['auc']:.4f}, balanced accuracy "
        f"{metrics['balanced_accuracy']:.4f}, F1 {metrics['f1']:.4f} at threshold "
        f"{card.threshold:.3f}"
    )
    print(
        f"model folder {options.out}\n"
        f"use it with `wsi-pipeline run SLIDE --model {options.out} -o OUT`"
    )
    return EXIT_DONE
