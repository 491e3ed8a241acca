"""`wsi-pipeline compare`: run against run, or run against a pathologist's outlines."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.results.comparing import compare_run
from wsi_pipeline.results.comparison import Comparison
from wsi_pipeline.results.references import is_run

MAX_UNUSED = 10
EPILOG = """\
REFERENCE is one of
  - the output folder of another run; slides are matched by the hash of their content, else by id
  - a folder of outlines, searched with its subfolders: GeoJSON (QuPath), XML of Aperio, ASAP or
    HALO (.annotations), each also as .gz or .zip; *_truth.png. A file belongs to the slide that it
    is named by: ID.geojson, ID.svs.geojson, ID_anna.xml, bert/ID.geojson, ID_truth.png. Several
    files for a slide are several readers, who are compared with each other
  - one file of outlines

figures:
  Pooled figures come from the areas summed over all slides. Where several readers drew on a slide,
  its row sums over them too. Where a reference says what was judged (a truth image; another run's
  classified tissue), nothing outside of it counts. A region is hit where 10 % of it are covered.

exit status:
  0  compared, and every stated tolerance is kept
  1  a stated tolerance is missed, or a slide or reference could not be read or compared
       --min-dice D    missed where the pooled Dice of the regions is below D
       --tolerance T   missed where in any slide the probability of a cell differs by more than T
                       or a cell was classified by one run alone; 0 asks for equal maps
       either          missed, too, where the other run finished a slide that this one has not
  2  wrong usage: no such reference, or none of its files is named by a slide of the run
Slides without a reference do not count; their number is printed, and -v lists them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="output folder of the run that is judged")
    add("reference", type=Path, metavar="REFERENCE", help="another run, or outlines; see below")
    add("-o", "--folder", type=Path, metavar="DIR",
        help="for compare.csv, compare.json and the pictures (default: OUT/compare)")  # fmt: skip
    add("--class", action="append", default=[], dest="classes", metavar="NAME",
        help="count outlines of this class, and of those derived from it, alone: QuPath's class, "
        "the layer of Aperio and HALO, ASAP's group; may be given several times (default: all "
        "count alike)")  # fmt: skip
    add("--min-dice", type=_share, metavar="D", help="exit 1 below this pooled Dice, 0 to 1")
    add("--tolerance", type=_share, metavar="T",
        help="run against run: exit 1 where a probability differs by more, 0 to 1")  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Compare, print the table and judge it."""
    if options.tolerance is not None and not is_run(options.reference):
        raise ConfigError(
            "--tolerance is about probabilities, and outlines have none",
            "Give another run as REFERENCE, or --min-dice",
        )
    if options.classes and is_run(options.reference):
        raise ConfigError(
            "--class chooses among a pathologist's outlines, and REFERENCE is a run",
            "Leave it out",
        )
    folder = options.folder or options.out / "compare"
    comparison = compare_run(options.out, options.reference, folder, options.classes)
    for line in problem_lines(comparison, verbose=options.verbose):
        print(line)
    print(f"  table     {folder / 'compare.csv'}\n  figures   {folder / 'compare.json'}")
    print(f"  pictures  {folder}\n")
    print("\n".join(table_lines(comparison)))
    missed = comparison.misses(min_dice=options.min_dice, tolerance=options.tolerance)
    for words in missed:
        print(f"MISSED: {words}")
    failed = any(slide.has_failed for slide in comparison.slides)
    return EXIT_SOME_FAILED if missed or failed else EXIT_DONE


def problem_lines(comparison: Comparison, *, verbose: bool) -> list[str]:
    """Return what could not be compared: failures by name, the unmatched by name or as a count."""
    told = [slide for slide in comparison.slides if slide.problem]
    unmatched = [slide for slide in told if not slide.has_failed and not slide.readings]
    lines = [
        f"{slide.slide_id}: {'FAILED: ' if slide.has_failed else ''}{slide.problem}"
        for slide in told
        if slide not in unmatched
    ]
    if verbose:
        lines += [f"{slide.slide_id}: {slide.problem}" for slide in unmatched]
        lines += [f"{name}: only the reference has finished it" for name in comparison.missing]
    else:
        if unmatched:
            n, n_all = len(unmatched), len(comparison.slides)
            lines.append(f"{n} of {n_all} slides are not compared (-v lists them)")
        if comparison.missing:
            lines.append(f"{len(comparison.missing)} more are finished by the reference alone (-v)")
    return lines + _unused_lines(comparison.unused, verbose=verbose)


def _unused_lines(unused: Sequence[str], *, verbose: bool) -> list[str]:
    shown = unused if verbose else unused[:MAX_UNUSED]
    lines = [f"not used: {name}" for name in shown]
    if len(unused) > len(shown):
        lines.append(f"not used: {len(unused) - len(shown)} more (-v), see compare.json")
    return lines


def table_lines(comparison: Comparison) -> list[str]:
    """Return the table of the slides and, last, the pooled figures."""
    rows: list[tuple[str, ...]] = [
        ("slide", "Dice", "IoU", "sens.", "prec.", "mm²", "ref. mm²", "missed", "false")
    ]
    compared = [slide for slide in comparison.slides if slide.readings]
    rows += [_cells(slide.slide_id, slide.row()) for slide in compared]
    rows.append(_cells("pooled", comparison.pooled))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    lines.insert(-1, "-" * len(lines[0]))
    return [*_reader_lines(comparison), *lines]


def _cells(name: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        *(_figure(figures[key], ".3f") for key in ("dice", "iou", "sensitivity", "precision")),
        *(_figure(figures[key], ".2f") for key in ("result_mm2", "reference_mm2")),
        f"{figures['regions_missed']:.0f}/{figures['reference_regions']:.0f}",
        f"{figures['regions_false']:.0f}/{figures['regions']:.0f}",
    )


def _reader_lines(comparison: Comparison) -> list[str]:
    pairs = [pair for slide in comparison.slides for pair in slide.pairs]
    if not pairs:
        return []
    dice = _figure(comparison.inter_reader_dice, ".3f")
    n_slides = sum(bool(slide.pairs) for slide in comparison.slides)
    return [f"between readers: mean Dice {dice} ({len(pairs)} pairs on {n_slides} slides)"]


def _figure(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not within 0 to 1")
    return value
