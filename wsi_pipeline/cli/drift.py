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
    from wsi_pipeline.results.drift import write_drift

    folder = options.folder or options.out / "drift"
    for row in write_drift(options.out, folder):
        if row.outlier:
            print(f"{row.slide_id} stands out in {', '.join(sorted(row.outlier))}")
    print(f"{folder / 'drift.csv'}\n{folder / 'drift.png'}")
    return EXIT_DONE
