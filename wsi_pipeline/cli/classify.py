"""`wsi-pipeline classify`: single pictures of patches, or pictures that are cut into patches."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import DEFAULT_MODEL
from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.errors import DatasetError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="pictures, or folders of pictures")
    add("-o", "--out", type=Path, metavar="CSV", help="write the table here, not to the terminal")
    add("--model", default=DEFAULT_MODEL, metavar="NAME_OR_DIR", help="default: the bundled one")
    add("--tta", action="store_true", help="average eight views; adds uncertainty")
    add("--mpp", type=float, metavar="UM",
        help="µm/px of the pictures, reduced to the model's; default: they have it")  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Classify the pictures; one that cannot be used is named and the rest done."""
    from wsi_pipeline.classifier import find_model, load_classifier
    from wsi_pipeline.errors import ConfigError
    from wsi_pipeline.files import write_atomic
    from wsi_pipeline.pipeline.pictures import (
        ImageCall,
        calls_table,
        classify_image,
        find_images,
    )

    if options.mpp is not None and not options.mpp > 0:
        raise ConfigError(f"--mpp is {options.mpp:g}", "µm/px is a positive number, such as 0.5")
    paths = find_images(options.images)
    classifier = load_classifier(find_model(options.model))
    calls: list[ImageCall] = []
    n_failed = 0
    for path in paths:
        try:
            calls += classify_image(path, classifier, tta=options.tta, mpp=options.mpp)
        except DatasetError as error:
            n_failed += 1
            print(f"{error}", file=sys.stderr)
    table = calls_table(calls)
    if options.out:
        write_atomic(options.out, table.encode())
        n_idc = sum(call.calls["balanced"] for call in calls)
        print(f"{len(calls)} patches of {len(paths) - n_failed} pictures, {n_idc} called IDC")
        print(f"table {options.out}")
    else:
        print(table, end="")
    print(NOTICE, file=sys.stderr)
    return EXIT_SOME_FAILED if n_failed else EXIT_DONE
