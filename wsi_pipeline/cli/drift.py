"""`wsi-pipeline drift`: how stain, tissue and focus vary over an archive, with outliers named."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsi_pipeline.cli.main import EXIT_DONE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("out", type=Path, metavar="OUT", help="output folder of a run")
    parser.add_argument("-o", "--folder", type=Path, help="where to write (default: OUT/drift)")


def execute(options: argparse.Namespace) -> int:
    """Write drift.csv and drift.png."""
    from wsi_pipeline.results.drift import MIN_SLIDES, write_drift

    folder = options.folder or options.out / "drift"
    rows = write_drift(options.out, folder)
    for row in rows:
        if row.outlier:
            print(f"{row.slide_id} stands out in {', '.join(sorted(row.outlier))}")
    if len(rows) < MIN_SLIDES:
        print(f"too few slides to say which stand out ({len(rows)} of the {MIN_SLIDES} needed)")
    elif not any(row.outlier for row in rows):
        print(f"none of {len(rows)} slides stands out")
    print(f"{folder / 'drift.csv'}\n{folder / 'drift.png'}")
    return EXIT_DONE
