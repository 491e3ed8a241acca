"""`wsi-pipeline export`: the results in other programs' formats."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.results.exporting import (
    FORMAT_NAMES,
    FORMAT_WORDS,
    Exported,
    export_slides,
    unfinished_slides,
)

EPILOG = "\n".join(
    [
        "formats:",
        *(f"  {name:14} {words}" for name, words in FORMAT_WORDS.items()),
        "",
        "exit status: 0 all written; 1 a slide could not be exported (the rest is); 2 wrong usage",
    ]
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="output folder of a run")
    add("--to", action="append", required=True, choices=FORMAT_NAMES, metavar="FORMAT",
        help="may be given several times")  # fmt: skip
    add("-o", "--folder", type=Path, metavar="DIR",
        help="write to DIR/<slide_id>/ (default: OUT/slides/<slide_id>/)")  # fmt: skip
    add("--threshold", type=float, metavar="P",
        help="probability from which a cell is IDC (default: the run's)")  # fmt: skip
    add("--tiles", action="store_true", help="with geojson: every patch as a tile, too")
    add("--slides", type=Path, metavar="DIR",
        help="where the slide files lie now (DICOM formats)")  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Export every finished slide and say where the files are."""
    tiles = ["geojson-tiles"] if options.tiles else []
    n_written = n_failed = 0
    for exported in export_slides(
        options.out,
        list(dict.fromkeys([*options.to, *tiles])),
        folder=options.folder,
        threshold=options.threshold,
        slides_dir=options.slides,
    ):
        print(_line(exported), flush=True)
        n_written += exported.path is not None
        n_failed += exported.problem is not None
    for slide_id in unfinished_slides(options.out):
        print(f"{slide_id}: left out, it failed or is not finished (see its status.json)")
    print(f"\n{n_written} files written" + (f", {n_failed} failed" if n_failed else ""))
    return EXIT_SOME_FAILED if n_failed else EXIT_DONE


def _line(exported: Exported) -> str:
    name = f"{exported.slide_id}: {exported.format_name}".rstrip(": ")
    if exported.problem is not None:
        return f"{name}: FAILED: {exported.problem}"
    if exported.path is None:
        return f"{name}: nothing to draw, the slide is empty"
    return f"{name}: {exported.path}"
