"""`wsi-pipeline scan`: look at slides without inference; write an editable list."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsi_pipeline.cli.invocation import own_command
from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.cli.printing import counted, duration
from wsi_pipeline.cli.run import add_config_arguments, config_of, say_what_was_found

if TYPE_CHECKING:  # loaded when there is something to do
    from wsi_pipeline.archive.scan import ScanRow

SHOWN_DUPLICATES: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="slide files, folders, or a CSV list of slides")
    add("-o", "--out", type=Path, required=True, metavar="CSV", help="the list to write")
    add("--list-ignored", type=Path, metavar="CSV",
        help="write a second list: every file below the folders, why it is no slide")  # fmt: skip
    add("--overwrite", action="store_true", help="replace a list that somebody has edited")
    add_config_arguments(parser)
    add("--outputs", choices=("all", "map"), help="what a run would write, for the estimate")
    add("-j", "--workers", type=int, metavar="N", help="slides at a time (default: all cores)")


def execute(options: argparse.Namespace) -> int:
    """Look at the slides; exit with 1 where one cannot be classified as it is."""
    config = config_of(options)
    from wsi_pipeline.archive.scan import COLUMNS, scan_slides, write_scan
    from wsi_pipeline.inputs import search_inputs
    from wsi_pipeline.inputs.discovery import write_inventory
    from wsi_pipeline.inputs.list_edits import check_after_scan, check_before_scan

    found = search_inputs(options.inputs)
    say_what_was_found(found.inventory)
    if not options.overwrite:
        check_before_scan(options.out, COLUMNS, found.entries)
    if options.list_ignored:
        write_inventory(options.list_ignored, found.inventory)

    def leave(rows: list[ScanRow]) -> None:
        """Write what was found and end this process: a thread of it hangs in a slide."""
        try:
            write_scan(options.out, rows)
            print(f"  list     {options.out}", flush=True)
        finally:
            os._exit(EXIT_SOME_FAILED)

    rows = scan_slides(found.entries, config, _say, leave)
    if not options.overwrite:
        check_after_scan(options.out, rows)
    write_scan(options.out, rows)
    bad = [row for row in rows if "patches" not in row]
    n_patches = sum(row.get("patches", 0) for row in rows)
    seconds = sum(row.get("seconds", 0) for row in rows)
    megabytes = sum(row.get("output_mb", 0) for row in rows)
    duplicates = [row for row in rows if "duplicate_of" in row]
    print("\n" + "".join(f"{line}\n" for line in _duplicate_words(duplicates)), end="")
    print(
        f"{counted(len(rows), 'slide')}, {len(bad)} unusable as found, "
        f"{counted(len(duplicates), 'duplicate')}; about "
        f"{counted(int(n_patches), 'patch', 'patches')}, {duration(seconds)}, "
        f"{megabytes:.0f} MB of results"
    )
    print(f"  list     {options.out}")
    if options.list_ignored:
        print(f"  files    {options.list_ignored}")
    print(
        "Edit it (mpp_x, mpp_y, id; a word in `skip` leaves a slide out), then: "
        f"{own_command('run', options.out, '-o', 'OUT')}"
    )
    return EXIT_SOME_FAILED if bad else EXIT_DONE


def _duplicate_words(rows: list[ScanRow]) -> Iterator[str]:
    """Yield what to say of slides whose content another one has."""
    for row in rows[:SHOWN_DUPLICATES]:
        yield f"{row['id']}: the same content as {row['duplicate_of']}, done once by a run"
    if len(rows) > SHOWN_DUPLICATES:
        yield f"{len(rows) - SHOWN_DUPLICATES} more duplicates: see the list"


def _say(row: ScanRow) -> None:
    if "patches" in row:
        words = (
            f"{row['vendor']}, {row['width']} x {row['height']}, {row['mpp_x']:.4g} µm/px "
            f"({row['mpp_source']}), tissue {row['tissue_mm2']:.1f} mm², {row['patches']} patches"
        )
        print(f"{row['id']}: {words}", flush=True)
    if row.get("problem"):
        print(f"{row['id']}: {row['problem']}. {row.get('advice', '')}".rstrip(), flush=True)
