"""`wsi-pipeline train`: train a patch classifier and write its model folder."""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wsi_pipeline.cli.invocation import own_command
from wsi_pipeline.cli.main import EXIT_DONE
from wsi_pipeline.cli.training_bar import TrainingBar
from wsi_pipeline.config import STAIN_METHODS
from wsi_pipeline.learning.training.options import TrainingOptions

if TYPE_CHECKING:
    from wsi_pipeline.learning.training.recipe import Recipe

DEFAULTS: Final = {field.name: field.default for field in fields(TrainingOptions)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET",
        help="folder PATIENT/0|1/*.png, class folders, or a CSV of labels")  # fmt: skip
    add("-o", "--out", type=Path, required=True, metavar="MODEL_DIR", help="model folder to write")
    add("--slides", action="store_true",
        help="DATASET is a folder of slides with *_truth.png beside them: fit the refinement by "
        "neighbors for --model, which must not have been trained on them")  # fmt: skip
    add(
        "--model", metavar="NAME_OR_DIR", help="with --slides or --familiarity: the model to extend"
    )
    add("--pieces", action="store_true",
        help="with --slides: fit on the training slides and --negatives, and on cores and strips "
        "cut from the first how cells without neighbors are judged; validation slides choose "
        "thresholds")  # fmt: skip
    add("--familiarity", action="store_true",
        help="train nothing: measure anew which slides are familiar to --model and what others "
        "lose, on the DATASET that it was made with, with --negatives as other tissue")  # fmt: skip
    add("--folds", type=int, metavar="K",
        help="train K teachers instead, each without one fold of the training patients; MODEL_DIR "
        "then holds fold-1 ... and out_of_fold.csv")  # fmt: skip
    add("--teacher", type=Path, metavar="DIR",
        help="a folder of --folds: train on labels softened by what its networks say of patients "
        "that they did not see; with --slides: fit the refinement on the training slides by the "
        "same networks, choose its threshold on the validation slides")  # fmt: skip
    add("--negatives", type=Path, metavar="DIR",
        help="slides without any IDC (other organs, benign breast, other laboratories): patches of "
        "their tissue train as negatives, see --negatives-share")  # fmt: skip
    add("-c", "--config", type=Path, metavar="FILE",
        help="YAML of network and training options by their names, such as learning_rate; options "
        "stand above it")  # fmt: skip
    add("--name", help="name in the card (default: the folder's)")
    add("--split", choices=("auto", "published", "random", "folders", "patch"), default="auto",
        help="by patient: published case lists, random, or as the sub-folders say; 'patch' splits "
        "neighbors apart and is recorded as such (default: %(default)s)")  # fmt: skip
    add("--patch-size-px", type=int, default=50, help="side of a patch (default: %(default)s)")
    add("--spacing-um-px", type=float, default=8.0,
        help="µm/px of the patches (default: %(default)s)")  # fmt: skip
    add("--no-quantize", dest="quantize", action="store_false",
        help="CPUs run float32 too, not eight-bit integers where these are as good")  # fmt: skip
    _add_network_arguments(parser.add_argument_group("network"))
    _add_training_arguments(parser.add_argument_group("training"))


def _option(group: argparse._ArgumentGroup, name: str, **words: Any) -> None:
    """Add an option of `TrainingOptions`, whose default its help states."""
    default = DEFAULTS.get(words.get("dest", name.lstrip("-").replace("-", "_")))
    if "action" not in words and default not in ("", None):
        words["help"] = f"{words.get('help', '')} (default: {default})".strip()
    group.add_argument(name, default=argparse.SUPPRESS, **words)


def _add_network_arguments(group: argparse._ArgumentGroup) -> None:
    add = partial(_option, group)
    add("--architecture", metavar="NAME",
        help="compact-residual, compact-residual-small, baseline-cnn, vgg16, vgg19, "
        "resnet50, inception-v3, inception-resnet-v2, densenet201, mobilenet-v2, "
        "mobilenet-v2-short, efficientnet-b0")  # fmt: skip
    add("--weights", metavar="imagenet|FILE", help="default: from scratch")
    add("--start", metavar="NAME_OR_DIR", help="go on from the network of this model")
    add("--blend", metavar="NAME_OR_DIR",
        help="average the trained weights with those of this model, see --blend-share")  # fmt: skip
    add("--blend-share", type=float, help="part of the average that is the other model's (0.5)")
    add("--distill", metavar="NAME_OR_DIR",
        help="learn from what this model says of the unchanged patches, by "
        "--teacher-weight; for a network that goes on under a stronger augmentation")  # fmt: skip
    add("--input-px", type=int, help="side that ImageNet networks resize patches to")
    add("--head-epochs", type=int, help="epochs that train the last layer alone")
    add("--tuned-share", type=float, help="part of the base that trains after them")
    add("--tuning-rate", type=float, help="peak learning rate after them")


def _add_training_arguments(group: argparse._ArgumentGroup) -> None:
    add = partial(_option, group)
    add("--epochs", type=int)
    add("--judge-altered", action="store_true",
        help="judge epochs by the validation patches under the augmentation too")  # fmt: skip
    add("--patience", type=int, help="stop after so many epochs without a better AUC; 0 = never")
    add("--batch-size", type=int)
    add("--optimizer", choices=("adamw", "adam", "sgd"))
    add("--learning-rate", type=float, help="peak of the cosine schedule")
    add("--weight-decay", type=float)
    add("--loss", choices=("cross-entropy", "focal"))
    add("--label-smoothing", type=float)
    add("--sampling", choices=("natural", "balanced", "patients"))
    add("--positive-weight", type=float, help="weight of an IDC patch in the loss")
    add("--teacher-weight", type=float, help="share of --teacher or --distill in the target")
    add("--teacher-temperature", type=float, help="divides the teacher's logits")
    add("--no-jpeg", dest="jpeg", action="store_false", help="do not train for compressed slides")
    add("--no-stain-jitter", dest="stain", action="store_false",
        help="do not vary stain, tint and light")  # fmt: skip
    add("--stain-strength", type=float, help="each stain times exp of up to this")
    add("--stain-turn", type=float, help="noise on the stains' vectors, such as 0.06; 0 = none")
    add("--tint", type=float, help="density added to each channel, up to this")
    add("--light", type=float, help="density added to half of the patches, up to this; 0 = none")
    add("--ink", type=float, help="share of patches with a drawn pen line; 0 = none")
    add("--glass", type=float, help="share of patches that glass covers in part; 0 = none")
    add("--color-exchange", type=float,
        help="share of patches that take on the colors of another slide; 0 = none")  # fmt: skip
    add("--negatives-share", type=float, help="part of an epoch that is --negatives")
    add("--no-dihedral", dest="dihedral", action="store_false", help="do not flip and turn")
    add("--no-focus", dest="focus", action="store_false", help="do not blur and sharpen")
    add("--scale", type=float, help="enlarge and reduce by up to this share, such as 0.1; 0 = not")
    add("--mixup", type=float, metavar="ALPHA", help="blend patches; 0 = not")
    add("--cutmix", type=float, metavar="ALPHA", help="paste patches into others; 0 = not")
    add("--stain-normalization", choices=STAIN_METHODS,
        help="of each patient's patches; `run` then does it with slides")  # fmt: skip
    add("--precision", choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="what the layers compute in; the model that is written is float32")  # fmt: skip
    add("--seed", type=int)


def execute(options: argparse.Namespace) -> int:
    """Train; the state after each epoch lies in MODEL_DIR/training, so a kill loses one epoch."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("wsi_pipeline").setLevel(logging.INFO)
    if options.slides:
        return _extend(options)
    if options.familiarity:
        return _measure_familiarity(options)
    if options.folds is not None:
        return _teach(options)
    from wsi_pipeline.learning.training.recipe import train_model

    recipe = recipe_of(options)
    with TrainingBar(recipe.training.epochs) as bar:
        card = train_model(options.dataset, options.out, recipe, progress=bar.show)
    metrics = card.record["metrics"]
    print(
        f"{card.name}: validation AUC {metrics['auc']:.4f}, balanced accuracy "
        f"{metrics['balanced_accuracy']:.4f}, F1 {metrics['f1']:.4f} at threshold "
        f"{card.threshold:.3f}"
    )
    print(
        f"model folder {options.out}, report {options.out / 'report' / 'index.html'}\n"
        f"To use it: {own_command('run', 'SLIDE', '--model', options.out, '-o', 'OUT')}"
    )
    return EXIT_DONE


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return what the command asks for."""
    from wsi_pipeline.learning.training.options import RECORDED, read_options
    from wsi_pipeline.learning.training.recipe import Recipe

    chosen = read_options(options.config) if options.config else {}
    known = {field.name for field in fields(TrainingOptions)} - set(RECORDED)
    chosen |= {name: value for name, value in vars(options).items() if name in known}
    return Recipe(
        name=options.name or options.out.resolve().name,
        split=options.split,
        patch_size_px=options.patch_size_px,
        spacing_um_px=options.spacing_um_px,
        training=TrainingOptions(**chosen),
        teachers=options.teacher,
        negatives=options.negatives,
        quantize=options.quantize,
    )


def _measure_familiarity(options: argparse.Namespace) -> int:
    """Measure anew what is familiar and say what was found."""
    from wsi_pipeline.classifier import DEFAULT_MODEL, find_model
    from wsi_pipeline.learning.training.familiarity import measure_familiarity

    card = find_model(options.model or DEFAULT_MODEL)
    card = measure_familiarity(card, options.dataset, options.negatives, options.out)
    known = card.familiarity.calibration if card.familiarity else None
    if known is not None:
        print(
            f"unfamiliar slides are raised by {known.most:.2f} * sqrt(1 - score) logits"
            + ("" if known.other_spread.size else "; without --negatives: by nothing")
        )
    print(f"model folder {options.out}")
    return EXIT_DONE


def _teach(options: argparse.Namespace) -> int:
    """Train the networks of the folds and say how well they call patients they did not see."""
    from wsi_pipeline.errors import ConfigError
    from wsi_pipeline.learning.reports import metrics
    from wsi_pipeline.learning.training.teachers import train_teachers

    if options.teacher is not None:
        raise ConfigError(
            "--folds makes teachers and --teacher uses them",
            "Networks taught by others have seen all patients through them: choose one",
        )
    recipe = recipe_of(options)
    with TrainingBar(recipe.training.epochs) as bar:
        predictions = train_teachers(
            options.dataset, options.out, recipe, options.folds, progress=bar.show
        )
    auc = metrics.auc(predictions.labels, predictions.logits)
    print(
        f"{len(predictions)} patches of {len(predictions.fold_of)} patients, each by a network "
        f"that did not see its patient: AUC {auc:.4f}"
    )
    print(f"teachers {options.out}: use them with `wsi-pipeline train ... --teacher {options.out}`")
    return EXIT_DONE


def _extend(options: argparse.Namespace) -> int:
    """Fit the refinement by neighbors and say what it brings."""
    from wsi_pipeline.classifier import DEFAULT_MODEL, find_model
    from wsi_pipeline.learning.training.context import add_context, add_context_by_teachers
    from wsi_pipeline.learning.training.small_pieces import add_pieces

    card = find_model(options.model or DEFAULT_MODEL)
    if options.pieces:
        card = add_pieces(card, options.dataset, options.out, options.negatives)
    elif options.teacher is None:
        card = add_context(card, options.dataset, options.out)
    else:
        card = add_context_by_teachers(card, options.dataset, options.teacher, options.out)
    for name, words in (("raw", "patches alone"), ("refined", "with neighbors")):
        scores = card.record["context"]["metrics"][name]
        print(
            f"{words}: AUC {scores['auc']:.4f}, balanced accuracy "
            f"{scores['balanced_accuracy']:.4f}, F1 {scores['f1']:.4f}"
        )
    print(f"model folder {options.out}, judged on {card.record['context']['metrics']['on']}")
    return EXIT_DONE
