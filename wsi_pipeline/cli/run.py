"""`wsi-pipeline run`: slides -> probability maps, regions, overlays."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from wsi_pipeline import NOTICE
from wsi_pipeline.cli.invocation import review_command
from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.config import DEVICES, STAIN_METHODS, Config, load_config

if TYPE_CHECKING:  # loaded when there is something to do
    from wsi_pipeline.archive.progress import RunOutcome
    from wsi_pipeline.inputs.discovery import Inventory
    from wsi_pipeline.pipeline.resolved import SlideJob


OUTPUTS: Final = {
    "overlay": "overlay.png",
    "map": "probability.zarr",
    "regions": "regions.geojson",
    "patches": "patches.csv",
}
SHOWN_SLIDES: Final = 5
SHOWN_FAILURES: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="slide files, folders, or a CSV list of slides")
    add("-o", "--out", type=Path, required=True, help="output folder")
    add_config_arguments(parser)
    add("--outputs", choices=("all", "map"), help="'map' writes the probability map alone")
    add("--stain-reference", metavar="FILE",
        help="normalize to this: a stain_reference.json, or a slide or picture, whose reference is "
        "then written to OUT/stain_reference.json")  # fmt: skip
    add("--mask", type=Path, help="tissue mask: outlines (QuPath, Aperio, ASAP, HALO) or a "
        "PNG; or a folder of them, each named by its slide")  # fmt: skip
    add("-j", "--workers", type=int, metavar="N", help="slides at a time (default: all cores)")
    add("--device", choices=DEVICES, help="where patches are classified (default: auto)")
    add("--scheduler", metavar="ADDRESS", help="a running Dask scheduler, e.g. tcp://host:8786")
    add("--overwrite", action="store_true", help="do finished slides again")
    add("--retry-failed", action="store_true", help="do failed slides again too")
    add("--dry-run", action="store_true", help="say what would be done and stop")


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that stand above the configuration file."""
    add = parser.add_argument
    add("-c", "--config", type=Path, metavar="FILE", help="YAML configuration (see configs/)")
    add("--model", metavar="NAME_OR_DIR", help="bundled model or model folder")
    add("--stride", type=int, metavar="PX", help="step between patches at the model's µm/px")
    add("--stain", choices=STAIN_METHODS, help="stain normalization")
    add("--threshold", type=float, metavar="P", help="probability from which a cell is IDC")
    add("--tta", action="store_true", default=None, help="average eight views; adds uncertainty")
    add("--context", action=argparse.BooleanOptionalAction, default=None, help="use neighbors")
    add("--mpp", type=float, metavar="UM", help="µm/px for slides that state none")


def config_of(options: argparse.Namespace) -> Config:
    """Return the configuration with the command's options laid over it."""
    value = vars(options).get
    overrides: dict[str, Any] = {
        "model": value("model"),
        "outputs": value("outputs"),
        "slide": {"mpp": value("mpp")},
        "tiling": {"stride_px": value("stride")},
        "stain": {"method": value("stain"), "reference": value("stain_reference")},
        "inference": {
            "device": value("device"),
            "tta": value("tta"),
            "context": value("context"),
        },
        "regions": {
            "threshold": value("threshold"),
            "min_area_mm2": value("min_area_mm2"),
            "smoothing_cells": value("smoothing"),
            "outline": value("outline"),
        },
        "render": {
            "colormap": value("colormap"),
            "opacity": value("opacity"),
            "map": value("map"),
            "flagged": value("flagged"),
        },
        "execution": {"workers": value("workers"), "scheduler": value("scheduler")},
    }
    return load_config(options.config, overrides)


def execute(options: argparse.Namespace) -> int:
    """Do the slides and say where the results are."""
    config = config_of(options)
    from wsi_pipeline.archive import make_jobs, run_slides
    from wsi_pipeline.cli.logs import TerminalWatcher
    from wsi_pipeline.inputs import search_inputs
    from wsi_pipeline.pipeline.resolved import resolve_run

    found = search_inputs(options.inputs)
    say_what_was_found(found.inventory)
    jobs = make_jobs(found.entries, config, options.mask)
    if options.dry_run:
        _describe(options, config, jobs)
        return EXIT_DONE
    with TerminalWatcher() as watcher:
        outcome = run_slides(
            jobs,
            resolve_run(config, options.out),
            watcher,
            overwrite=options.overwrite,
            retry_failed=options.retry_failed,
        )
    print("\n".join(_closing(options.out, watcher.done, watcher.failed, outcome)))
    return EXIT_SOME_FAILED if outcome.failed else EXIT_DONE


def say_what_was_found(inventory: Inventory) -> None:
    """Say how many files are slides, and why the others are none."""
    words = inventory.describe()
    if words:
        print(words, flush=True)


def _describe(options: argparse.Namespace, config: Config, jobs: list[SlideJob]) -> None:
    """Say what would be done; a stain reference is fitted all the same, but not kept."""
    from wsi_pipeline.archive.dry_run import describe
    from wsi_pipeline.pipeline.resolved import resolve_run

    with TemporaryDirectory() as folder:
        run = resolve_run(config, options.out, reference_folder=Path(folder))
        words = describe(jobs, run, overwrite=options.overwrite, retry_failed=options.retry_failed)
        print("\n".join(words))


def _closing(
    out: Path, shown: list[str], failed: dict[str, str], outcome: RunOutcome
) -> Iterator[str]:
    """Yield the last lines: how many ended how, what failed, where all is, what to type next."""
    words = f"{outcome.done} done, {outcome.empty} empty, {outcome.failed} failed"
    skipped = f" ({outcome.skipped} of them before this run)" if outcome.skipped else ""
    yield f"\n{words}{skipped}"
    for slide_id in [*failed][:SHOWN_FAILURES]:
        yield f"  FAILED   {slide_id}: {failed[slide_id]}"
    if len(failed) > SHOWN_FAILURES:
        yield f"  FAILED   {len(failed) - SHOWN_FAILURES} more: see the summary"
    for slide_id in shown if len(shown) <= SHOWN_SLIDES else []:
        for what, name in OUTPUTS.items():
            path = out / "slides" / slide_id / name
            if path.exists():
                yield f"  {what:8} {path}"
    if len(shown) > SHOWN_SLIDES:
        yield f"  slides   {out / 'slides'}: overlay.png, probability.zarr, regions.geojson of each"
    yield f"  summary  {out / 'summary.csv'}"
    yield f"  gallery  {out / 'index.html'}"
    yield NOTICE
    if outcome.done:
        yield f"To look and review: {review_command(out)}"
