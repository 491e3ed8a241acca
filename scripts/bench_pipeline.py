#!/usr/bin/env python3
"""Time one slide, stage by stage, against the least that its patches cost.

The floor is what nothing can avoid: decoding the parts of the level that hold the patches, and
running the network over those patches, both alone and in the same process. The slide is then done
as users do it, once more with start-up aside and in a process of its own with everything.

    bench_pipeline.py ../shared/data/slides/breast-lobular-10x.svs --runs 5
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wsi_pipeline import run_slide
from wsi_pipeline.classifier import ModelRequest, available_cores, find_model
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.geometry import Box, RgbArray
from wsi_pipeline.pipeline.blocks import cut_patches
from wsi_pipeline.pipeline.plan import SlidePlan, kept_in, plan_slide
from wsi_pipeline.results.status import Done
from wsi_pipeline.slides import SlideSource, read_canvas

STAGES = {
    "tissue": "open, thumbnail, tissue mask",
    "stain": "stain fit",
    "model": "waiting for the model",
    "classify": "read, classify, store the blocks",
    "map": "Zarr map",
    "pictures": "regions, table, overlay, heatmap",
}
TOTAL = "**one slide, start-up aside**"
DECODE = "floor: decode these parts of the level"
BARE = "floor: bare classification"
PROCESS = "**whole process**, wall"
CPU = "whole process, CPU"

MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True)
wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs in a small process of its own: a child's peak memory counts its parent's at the start."""

Seconds = dict[str, list[float]]


def main() -> None:
    options = _parse()
    config = load_config(options.config)
    card = find_model(config.model)
    plan = plan_slide(SlideSource(options.slide.absolute()), config, card)
    boxes, patches = _boxes_and_patches(plan)
    classifier = ModelRequest.of(card, config).load()
    seconds: Seconds = defaultdict(list)
    peaks = []
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        run_slide(options.slide, out / "warm", config)
        for run in range(options.runs):
            _time(seconds, DECODE, lambda: _decode(plan, boxes))
            _time(seconds, BARE, lambda: classifier.predict(patches))
            _slide(seconds, options.slide, out / f"slide_{run}", config)
            peaks.append(_process(seconds, options.slide, out / f"process_{run}", options.config))
    print(_table(options.slide, plan, seconds, max(peaks)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slide", type=Path)
    parser.add_argument("--runs", type=int, default=5, help="medians are taken over so many")
    parser.add_argument("-c", "--config", type=Path, help="YAML configuration")
    return parser.parse_args()


def _boxes_and_patches(plan: SlidePlan) -> tuple[list[Box], RgbArray]:
    """Return what is read of the level, block by block, and the patches cut from it."""
    reader, side, stride = plan.source.open_shared(), plan.grid.patch_px, plan.grid.stride_px
    (x, y), (ratio_x, ratio_y) = plan.read_plan.origin_level, plan.read_plan.ratio
    boxes, patches = [], []
    for block in plan.blocks:
        kept = kept_in(plan.keep, block)
        if kept is None:
            continue
        inner, keep = kept
        box = Box(
            inner.col * stride,
            inner.row * stride,
            (inner.n_cols - 1) * stride + side,
            (inner.n_rows - 1) * stride + side,
        )
        canvas = read_canvas(reader, plan.read_plan, box)
        rows, cols = np.nonzero(keep)
        patches.append(cut_patches(canvas, rows, cols, side, stride))
        boxes.append(
            Box(
                int(x + box.x * ratio_x),
                int(y + box.y * ratio_y),
                math.ceil(box.width * ratio_x),
                math.ceil(box.height * ratio_y),
            )
        )
    return boxes, np.concatenate(patches)


def _decode(plan: SlidePlan, boxes: list[Box]) -> None:
    reader = plan.source.open_shared()
    for box in boxes:
        reader.read_level(plan.read_plan.level, box)


def _slide(seconds: Seconds, slide: Path, out: Path, config: Config) -> None:
    start = time.perf_counter()
    result = run_slide(slide, out, config)
    seconds[TOTAL].append(time.perf_counter() - start)
    if not isinstance(result.status, Done):
        raise SystemExit(f"{slide}: {type(result.status).__name__}, not done: nothing to measure")
    for stage, elapsed in result.status.seconds.items():
        seconds[stage].append(elapsed)


def _process(seconds: Seconds, slide: Path, out: Path, config: Path | None) -> float:
    """Run the command as a user does; return its peak memory, MiB."""
    command = [sys.executable, "-m", "wsi_pipeline", "run", str(slide), "-o", str(out)]
    command += ["-c", str(config)] if config else []
    # as after an installation: compiled modules are kept
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *command],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    wall, cpu, peak = (float(word) for word in done.stdout.split()[-3:])
    seconds[PROCESS].append(wall)
    seconds[CPU].append(cpu)
    return peak / (1024 if sys.platform == "linux" else 1024**2)


def _time(seconds: Seconds, name: str, function: Callable[[], object]) -> None:
    start = time.perf_counter()
    function()
    seconds[name].append(time.perf_counter() - start)


def _table(slide: Path, plan: SlidePlan, seconds: Seconds, peak_mib: float) -> str:
    median = {name: statistics.median(values) for name, values in seconds.items()}
    size, level = plan.grid.size_l0, plan.read_plan.level
    floor = median[DECODE] + median[BARE]
    named = [*((words, stage) for stage, words in STAGES.items()), (TOTAL, TOTAL)]
    named += [(DECODE, DECODE), (f"{BARE} of {plan.n_patches} patches", BARE)]
    rows = [(words, f"{median[name]:.3f} s") for words, name in named if name in median]
    rows += [
        ("one slide, times the floor", f"{median[TOTAL] / floor:.2f}"),
        (PROCESS, f"{median[PROCESS]:.2f} s"),
        (CPU, f"{median[CPU]:.2f} s"),
        ("whole process, peak memory", f"{peak_mib:.0f} MiB"),
    ]
    head = (
        f"{slide.name}: {size[0]} x {size[1]} px, {plan.mpp.mean:.4g} µm/px, level {level} read, "
        f"{available_cores()} cores, medians of {len(seconds[TOTAL])} runs\n\n"
        "| stage | |\n|---|---:|\n"
    )
    return head + "\n".join(f"| {words} | {value} |" for words, value in rows)


if __name__ == "__main__":
    main()
