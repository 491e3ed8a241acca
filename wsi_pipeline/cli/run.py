"""`wsi-pipeline run`: slides -> probability maps, regions, overlays."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from wsi_pipeline import NOTICE
from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.config import STAIN_METHODS, Config, load_config

if TYPE_CHECKING:  # loaded when there is something to do
    from wsi_pipeline.archive.discovery import Inventory
    from wsi_pipeline.classifier import ModelCard
    from wsi_pipeline.pipeline.run import SlideJob


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
    add("--mask", type=Path, help="tissue mask (GeoJSON or PNG), or a folder of <slide_id>.geojson")
    add("-j", "--workers", type=int, metavar="N", help="slides at a time (default: all cores)")
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
        "inference": {"tta": value("tta"), "context": value("context")},
        "regions": {
            "threshold": value("threshold"),
            "min_area_mm2": value("min_area_mm2"),
            "smoothing_cells": value("smoothing"),
        },
        "render": {
            "colormap": value("colormap"),
            "opacity": value("opacity"),
            "flagged": value("flagged"),
        },
        "execution": {"workers": value("workers"), "scheduler": value("scheduler")},
    }
    return load_config(options.config, overrides)


def execute(options: argparse.Namespace) -> int:
    """Do the slides and say where the results are."""
    config = config_of(options)
    from wsi_pipeline.archive import make_jobs, run_slides, search_inputs
    from wsi_pipeline.classifier import find_model
    from wsi_pipeline.cli.logs import TerminalWatcher
    from wsi_pipeline.pipeline.stain import settle_reference

    card = find_model(config.model)
    found = search_inputs(options.inputs)
    say_what_was_found(found.inventory)
    jobs = make_jobs(found.entries, options.out, config, options.mask)
    if options.dry_run:
        _describe(options, config, card, jobs)
        return EXIT_DONE
    config = settle_reference(config, card, options.out)
    jobs = [replace(job, config=config) for job in jobs]
    outcome = run_slides(
        jobs,
        options.out,
        config,
        TerminalWatcher(),
        overwrite=options.overwrite,
        retry_failed=options.retry_failed,
    )
    _say(options.out, jobs[0].slide_id if len(jobs) == 1 else None, outcome)
    return EXIT_SOME_FAILED if outcome.failed else EXIT_DONE


def say_what_was_found(inventory: Inventory) -> None:
    """Say how many files are slides, and why the others are none."""
    words = inventory.describe()
    if words:
        print(words, flush=True)


def _describe(
    options: argparse.Namespace, config: Config, card: ModelCard, jobs: list[SlideJob]
) -> None:
    """Say what would be done; a stain reference is fitted all the same, but not kept."""
    from wsi_pipeline.archive.dry_run import describe
    from wsi_pipeline.pipeline.stain import settle_reference

    with TemporaryDirectory() as folder:
        config = settle_reference(config, card, Path(folder))
        jobs = [replace(job, config=config) for job in jobs]
        words = describe(jobs, card, overwrite=options.overwrite, retry_failed=options.retry_failed)
        print("\n".join(words))


def _say(out: Path, slide_id: str | None, outcome: Any) -> None:
    words = f"{outcome.done} done, {outcome.empty} empty, {outcome.failed} failed"
    skipped = f" ({outcome.skipped} of them before this run)" if outcome.skipped else ""
    print(f"\n{words}{skipped}")
    if slide_id and outcome.done:
        folder = out / "slides" / slide_id
        for what, name in (
            ("overlay", "overlay.png"),
            ("map", "probability.zarr"),
            ("regions", "regions.geojson"),
            ("patches", "patches.csv"),
        ):
            if (folder / name).exists():
                print(f"  {what:8} {folder / name}")
    print(f"  summary  {out / 'summary.csv'}\n  gallery  {out / 'index.html'}")
    print(NOTICE)
