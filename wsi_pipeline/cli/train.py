"""`wsi-pipeline train`: train a patch classifier and write its model folder."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from wsi_pipeline.cli.main import EXIT_DONE

TRAINING_OPTIONS = (
    "architecture", "weights", "input_px", "head_epochs", "tuned_share", "tuning_rate",
    "epochs", "patience", "batch_size", "optimizer", "learning_rate", "weight_decay",
    "loss", "sampling", "positive_weight", "jpeg", "stain", "seed",
)  # fmt: skip
"""Options that are fields of `TrainingOptions` under the same name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET",
        help="folder PATIENT/0|1/*.png, class folders, or a CSV of labels")  # fmt: skip
    add("-o", "--out", type=Path, required=True, metavar="MODEL_DIR", help="model folder to write")
    add("--slides", action="store_true",
        help="DATASET is a folder of slides with *_truth.png beside them: fit the refinement by "
        "neighbors for --model, which must not have been trained on them")  # fmt: skip
    add("--model", metavar="NAME_OR_DIR", help="with --slides: the model to extend")
    add("--name", help="name in the card (default: the folder's)")
    add("--split", choices=("auto", "published", "random", "folders", "patch"), default="auto",
        help="by patient: published case lists, random, or as the sub-folders say; 'patch' splits "
        "neighbors apart and is recorded as such")  # fmt: skip
    add("--patch-size-px", type=int, default=50)
    add("--spacing-um-px", type=float, default=8.0, help="µm/px of the patches")
    _add_network_arguments(parser.add_argument_group("network"))
    _add_training_arguments(parser.add_argument_group("training"))


def _add_network_arguments(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--architecture", default="compact-residual", metavar="NAME",
        help="compact-residual, baseline-cnn, vgg16, vgg19, resnet50, inception-v3, "
        "inception-resnet-v2, densenet201, mobilenet-v2, efficientnet-b0")  # fmt: skip
    add("--weights", default="", metavar="imagenet|FILE", help="default: from scratch")
    add("--input-px", type=int, default=0, help="side that ImageNet networks resize patches to")
    add("--head-epochs", type=int, default=0, help="epochs that train the last layer alone")
    add("--tuned-share", type=float, default=0.5, help="part of the base that trains after them")
    add("--tuning-rate", type=float, default=2e-4, help="peak learning rate after them")


def _add_training_arguments(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--epochs", type=int, default=24)
    add("--patience", type=int, default=0, help="stop after so many epochs without a better AUC")
    add("--batch-size", type=int, default=64)
    add("--optimizer", choices=("adamw", "adam", "sgd"), default="adamw")
    add("--learning-rate", type=float, default=1.5e-3, help="peak of the cosine schedule")
    add("--weight-decay", type=float, default=0.02)
    add("--loss", choices=("cross-entropy", "focal"), default="cross-entropy")
    add("--sampling", choices=("natural", "balanced"), default="natural")
    add("--positive-weight", type=float, default=1.0, help="weight of an IDC patch in the loss")
    add("--no-jpeg", dest="jpeg", action="store_false", help="do not train for compressed slides")
    add("--no-stain-jitter", dest="stain", action="store_false", help="do not vary the stain")
    add("--seed", type=int, default=0)


def execute(options: argparse.Namespace) -> int:
    """Train; the state after each epoch lies in MODEL_DIR/training, so a kill loses one epoch."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("wsi_pipeline").setLevel(logging.INFO)
    if options.slides:
        return _extend(options)
    from wsi_pipeline.learning.recipe import Recipe, train_model
    from wsi_pipeline.learning.training import TrainingOptions

    recipe = Recipe(
        name=options.name or options.out.resolve().name,
        split=options.split,
        patch_size_px=options.patch_size_px,
        spacing_um_px=options.spacing_um_px,
        training=TrainingOptions(**{name: getattr(options, name) for name in TRAINING_OPTIONS}),
    )
    card = train_model(options.dataset, options.out, recipe)
    metrics = card.record["metrics"]
    print(
        f"{card.name}: validation AUC {metrics['auc']:.4f}, balanced accuracy "
        f"{metrics['balanced_accuracy']:.4f}, F1 {metrics['f1']:.4f} at threshold "
        f"{card.threshold:.3f}"
    )
    print(
        f"model folder {options.out}, report {options.out / 'report' / 'index.html'}\n"
        f"use it with `wsi-pipeline run SLIDE --model {options.out} -o OUT`"
    )
    return EXIT_DONE


def _extend(options: argparse.Namespace) -> int:
    """Fit the refinement by neighbors and say what it brings."""
    from wsi_pipeline.classifier import DEFAULT_MODEL, find_model
    from wsi_pipeline.learning.context import add_context

    card = add_context(find_model(options.model or DEFAULT_MODEL), options.dataset, options.out)
    for name, words in (("raw", "patches alone"), ("refined", "with neighbors")):
        scores = card.record["context"]["metrics"][name]
        print(
            f"{words}: AUC {scores['auc']:.4f}, balanced accuracy "
            f"{scores['balanced_accuracy']:.4f}, F1 {scores['f1']:.4f}"
        )
    print(f"model folder {options.out}, judged by leaving one slide out")
    return EXIT_DONE
