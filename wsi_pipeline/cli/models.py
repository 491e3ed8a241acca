"""`wsi-pipeline models`: list and describe models."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from wsi_pipeline.classifier import DEFAULT_MODEL, bundled_folders, find_model
from wsi_pipeline.cli.invocation import own_command
from wsi_pipeline.cli.main import EXIT_DONE

SHOWN_METRICS = ("auc", "balanced_accuracy", "f1", "ece")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "model", nargs="?", metavar="NAME_OR_DIR", help="describe this one; default: list all"
    )
    parser.add_argument(
        "--new", type=Path, metavar="FILE.keras",
        help="make a model folder of a network trained elsewhere: writes a filled model.json and "
        "says what has to be edited",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, metavar="MODEL_DIR",
        help="with --new: the folder (default: beside the file, named like it)",
    )  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Print the models, or one card in full."""
    if options.new:
        return _new(options.new, options.out)
    if options.model:
        print(json.dumps(find_model(options.model).record, indent=2))
        return EXIT_DONE
    for name in bundled_folders():
        card = find_model(name)
        default = " (default)" if name == DEFAULT_MODEL else ""
        print(f"{name}{default}: {card.architecture}, sha256 {card.sha256[:12]}")
        print(f"  patches of {card.patch_size_px} px at {card.spacing_um_px:g} µm/px")
        neighbors = "refined by neighbors" if card.context else "no refinement by neighbors"
        print(f"  stain {card.stain}, threshold {card.threshold:.3f}, {neighbors}")
        size_mb = card.weights_path.stat().st_size / 1e6
        license_name = card.record.get("license", "not stated")
        print(f"  {size_mb:.1f} MB, license {license_name}, {card.folder}")
        metrics = card.record.get("metrics", {})
        figures = [f"{key} {metrics[key]:.3f}" for key in SHOWN_METRICS if key in metrics]
        if figures:
            print(f"  validation patients: {', '.join(figures)}")
    return EXIT_DONE


def _new(weights: Path, out: Path | None) -> int:
    """Make a model folder and say what its owner has to fill in."""
    from wsi_pipeline.classifier.new_card import new_model_folder

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    beside = weights.parent if weights.name == "model.keras" else weights.with_suffix("")
    folder = out or beside
    notes = new_model_folder(weights, folder)
    print(f"{folder / 'model.json'} is written. Before it can be used, edit or check there:")
    print("\n".join(f"  {note}" for note in notes))
    print(f"Then: {own_command('run', 'SLIDE', '--model', folder, '-o', 'OUT')}")
    return EXIT_DONE
