#!/usr/bin/env python3
"""Do thousands of small slides in one run: is memory flat, is no slide lost and none done twice?

Draws slides of about 1 mm² of synthetic tissue, each of other content, and does them (a) in
processes of this machine and (b) on a local Dask cluster of four workers, of which one drawn at
random is killed every 20 s. Then says how memory went, and compares both runs with each other and
with the list. Exit status 1 where anything is lost, twice or different.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import tifffile
from benching import Stopwatch, local_cluster
from numpy.typing import NDArray

from wsi_pipeline.archive import make_jobs, run_slides
from wsi_pipeline.config import load_config
from wsi_pipeline.demo import make_demo_slide
from wsi_pipeline.geometry import Size
from wsi_pipeline.inputs import find_slides
from wsi_pipeline.pipeline.resolved import SlideJob, resolve_run
from wsi_pipeline.results.status import AnyStatus

PARTS = ("processes", "cluster")
SIDE_PX, TISSUE_PX, MPP = 512, 256, 4.0
GLASS = 240
N_WORKERS = 4
KILL_SECONDS = 20.0
LOOK_SECONDS = 1.0
WARM_SHARE, N_MEANS = 0.2, 20
"""Caches fill over the first share of the slides; the slope is of so many means over the rest."""


@dataclass
class Memory:
    """Resident memory of this process and its descendants, MB, over the slides done."""

    main: list[tuple[int, float]] = field(default_factory=list)
    others: list[tuple[int, float]] = field(default_factory=list)
    """The mean of the descendants that do slides."""
    largest: float = 0.0
    """Of one of them."""


class Tally(Stopwatch):
    """Counts how often each slide was told as finished."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Counter[str] = Counter()

    def slide_finished(self, job: SlideJob, status: AnyStatus | None, *, skipped: bool) -> None:
        super().slide_finished(job, status, skipped=skipped)
        self.told[job.slide_id] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=2000)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--outputs", choices=("all", "map"), default="all")
    parser.add_argument("--folder", type=Path, help="keep slides and results, do a part at a time")
    parser.add_argument("-j", "--workers", type=int, default=2, help="processes of part (a)")
    options = parser.parse_args()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        names = draw_slides(folder / "slides", options.slides)
        for part in options.parts:
            problems += long_run(part, folder, names, options)
        outs = [folder / part for part in PARTS if (folder / part).exists()]
        if len(outs) == len(PARTS):
            problems += differences(*outs)
    print("\n".join(problems) or "no slide lost, none twice, none different")
    return int(bool(problems))


def draw_slides(folder: Path, n_slides: int) -> list[str]:
    """Write slides of one piece of drawn tissue, turned, shaded and shifted; return their ids."""
    names = [f"slide-{number:05d}" for number in range(n_slides)]
    if folder.exists():
        return names
    start = time.perf_counter()
    folder.mkdir(parents=True)
    tissue = drawn_tissue(folder.parent)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        top, left = rng.integers(0, np.array(tissue.shape[:2]) - TISSUE_PX)
        piece = tissue[top : top + TISSUE_PX, left : left + TISSUE_PX]
        piece = np.rot90(piece, int(rng.integers(4)))
        noisy = piece * rng.uniform(0.9, 1.0) + rng.normal(0, 2, piece.shape)
        picture = np.full((SIDE_PX, SIDE_PX, 3), GLASS, np.uint8)
        y, x = rng.integers(0, SIDE_PX - TISSUE_PX, 2)
        picture[y : y + TISSUE_PX, x : x + TISSUE_PX] = np.clip(noisy, 0, 255)
        tifffile.imwrite(
            folder / f"{name}.tif",
            picture,
            tile=(256, 256),
            compression="jpeg",
            photometric="rgb",
            resolution=(1e4 / MPP, 1e4 / MPP),
            resolutionunit="CENTIMETER",
        )
    print(f"{n_slides} slides drawn in {time.perf_counter() - start:.0f} s", flush=True)
    return names


def drawn_tissue(folder: Path) -> NDArray[np.uint8]:
    """Return the middle of the demo slide, tissue all over."""
    truth = make_demo_slide(folder / "demo.tif", size_l0=Size(2400, 1800), seed=1)
    whole = tifffile.imread(truth.slide_path, level=0)
    height, width = whole.shape[:2]
    middle: NDArray[np.uint8] = whole[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
    return middle


def long_run(
    part: str, folder: Path, names: list[str], options: argparse.Namespace
) -> Iterator[str]:
    """Do all slides, say how it went, and yield what is wrong."""
    out, watch, memory = folder / part, Tally(), Memory()
    execution: dict[str, Any] = {"workers": options.workers, "isolation": "processes"}
    with cluster_under_fire(part == "cluster") as (address, killed):
        execution["scheduler"] = address
        config = load_config(None, {"outputs": options.outputs, "execution": execution})
        jobs = make_jobs(find_slides([folder / "slides"]), config)
        start = time.perf_counter()
        with watched_memory(memory, watch):
            outcome = run_slides(jobs, resolve_run(config, out), watch)
        seconds = time.perf_counter() - start
    again = sum('"attempt": 1,' not in _status(out, name) for name in names)
    print(
        f"{part}: {outcome.done} done, {outcome.empty} empty, {outcome.failed} failed in "
        f"{seconds:.0f} s, {seconds / len(names):.3f} s a slide; {len(killed)} workers killed, "
        f"{again} slides begun again\n"
        f"  this process {slope_words(memory.main)}\n"
        f"  a worker {slope_words(memory.others)}, the largest at most {memory.largest:.0f} MB",
        flush=True,
    )
    yield from wrong_with(part, out, names, watch)


def wrong_with(part: str, out: Path, names: list[str], watch: Tally) -> Iterator[str]:
    """Yield what is lost, twice or false in a finished run."""
    with (out / "summary.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    in_summary = Counter(row["slide_id"] for row in rows)
    for what, counts in (("told", watch.told), ("in summary.csv", in_summary)):
        if missing := [name for name in names if name not in counts]:
            yield f"{part}: {len(missing)} slides are not {what}: {', '.join(missing[:3])} ..."
        if twice := [name for name, n in counts.items() if n > 1]:
            yield f"{part}: {len(twice)} slides are {what} twice: {', '.join(twice[:3])} ..."
    if odd := [row["slide_id"] for row in rows if row["state"] != "done"]:
        yield f"{part}: {len(odd)} slides are not done: {', '.join(odd[:3])} ..."
    for row in rows:
        if f'"patches": {row["patches"]}' not in _status(out, row["slide_id"]):
            yield f"{part}: {row['slide_id']} has other patches in summary.csv than in its status"
    if left := list((out / ".locks").rglob("*.lock")):
        yield f"{part}: {len(left)} locks are left"


def differences(first: Path, second: Path) -> Iterator[str]:
    """Yield the slides whose maps differ between the runs."""
    names = [folder.name for folder in sorted((first / "slides").iterdir())]
    odd = [
        n for n in names if _map_sha256(first / "slides" / n) != _map_sha256(second / "slides" / n)
    ]
    if odd:
        yield f"the maps of {len(odd)} slides differ between the runs: {', '.join(odd[:3])} ..."


@contextmanager
def cluster_under_fire(wanted: bool) -> Iterator[tuple[str | None, list[int]]]:
    """Give the address of a cluster, of which a worker is killed now and then, and who was."""
    killed: list[int] = []
    if not wanted:
        yield None, killed
        return
    over, draw = threading.Event(), random.Random(0)
    with local_cluster(N_WORKERS) as cluster:

        def kill() -> None:
            while not over.wait(KILL_SECONDS):
                # One that is killed while it starts is given up by Dask's nanny.
                up = cluster.scheduler_info["workers"]
                pids = [one.pid for one in cluster.workers.values() if one.worker_address in up]
                if pids:
                    killed.append(draw.choice(pids))
                    os.kill(killed[-1], signal.SIGKILL)

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        try:
            yield cluster.scheduler_address, killed
        finally:
            over.set()
            thread.join()


@contextmanager
def watched_memory(memory: Memory, watch: Tally) -> Iterator[None]:
    """Note the memory of this process and of its descendants once a second."""
    over = threading.Event()

    def look() -> None:
        this = psutil.Process()
        while not over.wait(LOOK_SECONDS):
            sizes = []
            for process in this.children(recursive=True):
                try:
                    sizes.append(process.memory_info().rss / 1e6)
                except psutil.Error:
                    continue
            at_work = [size for size in sizes if size > 100]  # not the resource tracker
            done = len(watch.told)
            memory.main.append((done, this.memory_info().rss / 1e6))
            if at_work:
                memory.others.append((done, float(np.mean(at_work))))
                memory.largest = max(memory.largest, *at_work)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def slope_words(points: list[tuple[int, float]]) -> str:
    """Say how memory went: a line through means over equal parts of the run, after it got warm."""
    done, used = np.array(points, float).T
    warm = done >= WARM_SHARE * done[-1]
    parts = np.array_split(np.flatnonzero(warm), N_MEANS)
    at, mean = (np.array([v[part].mean() for part in parts if len(part)]) for v in (done, used))
    if len(at) < N_MEANS:
        return f"{used[-1]:.0f} MB in the end; too short for a slope"
    (slope, _), covariance = np.polyfit(at / 1000, mean, 1, cov=True)
    error = 2 * np.sqrt(covariance[0, 0])
    return f"{mean[0]:.0f} MB, then {slope:+.1f} ± {error:.1f} MB per 1,000 slides"


def _status(out: Path, name: str) -> str:
    path = out / "slides" / name / "status.json"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _map_sha256(folder: Path) -> str:
    sha256 = hashlib.sha256()
    for path in sorted((folder / "probability.zarr").rglob("*")):
        if path.is_file():
            sha256.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return sha256.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
