#!/usr/bin/env python3
"""Measure archive runs: speed against the floor, scaling, overhead of scheduling, memory.

Give a folder of slides; every figure is a ratio or a time of this one run on this machine. Parts
are chosen by name: speed floor slow scaling executors cluster overhead memory (default: all).
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
from benching import Stopwatch, local_cluster, peak_of_the_tree

from wsi_pipeline.archive import make_jobs, run_slides
from wsi_pipeline.archive.slide_task import SlideOutcome, SlideTask, do_task
from wsi_pipeline.archive.states import put_in_queue, state_of
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.execution.block_executor import ThreadBlockExecutor
from wsi_pipeline.execution.cluster import ClusterExecutor
from wsi_pipeline.execution.executor import SendProgress, discard_progress
from wsi_pipeline.execution.processes import ProcessExecutor
from wsi_pipeline.geometry import Box
from wsi_pipeline.inputs import SlideEntry, find_slides
from wsi_pipeline.pipeline.blocks import cut_patches
from wsi_pipeline.pipeline.plan import SlidePlan, kept_in, plan_slide
from wsi_pipeline.pipeline.resolved import ResolvedRun, resolve_run
from wsi_pipeline.results.status import Queued
from wsi_pipeline.results.summary import Summary
from wsi_pipeline.slides import read_canvas, tiff_tiles

PARTS = ("speed", "floor", "slow", "scaling", "executors", "cluster", "overhead", "memory")
EXECUTORS = ("one process", "processes", "local cluster", "remote cluster")
EXECUTOR_ROUNDS = 2
CLUSTER_SLIDES = 1000
MEDIAN_LATENCY_SECONDS = 2.0
QUEUED_SLIDES = 10_000
UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
}
WARM_ROUNDS = 2
READ_LATENCY_SECONDS = 0.01
"""Of each tile on the simulated slow drive: a busy network drive answers in 1 to 20 ms."""
DRIVE_BYTES_PER_SECOND = 50e6
"""Of a file that is copied from it as a whole."""


def main() -> int:
    options = _parse()
    entries = find_slides(options.slides)
    with scratch() as folder:
        for part in options.parts or PARTS:
            print(part, flush=True)
            globals()[f"bench_{part}"](entries, folder, options)
    return 0


def bench_speed(entries: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    seconds = timed_run(entries, folder, config_of(options, options.workers))
    print(f"  all outputs, {options.workers} workers: {seconds / len(entries):.3f} s a slide")


def bench_floor(entries: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    """Compare the map alone with reading and classifying the same patches and nothing else.

    Both run in one thread and in turns, since the speed of a shared machine wanders.
    """
    config = config_of(options, 1, outputs="map")
    run = resolve_run(config, folder / "floor").placed(1, on_gpu_workers=False)
    floor = whole = 0.0
    for entry in entries:
        (job,) = make_jobs([entry], config)
        plan = plan_slide(job.source, config, run.card)
        floor += bare_seconds(plan, run)
        shutil.rmtree(run.folder(job), ignore_errors=True)
        start = time.perf_counter()
        do_task(ThreadBlockExecutor(1), SlideTask(job, run, False), discard_progress)
        whole += time.perf_counter() - start
    print(
        f"  floor (decode + bare classification) {floor / len(entries):.3f} s a slide, "
        f"map alone {whole / len(entries):.3f} s: {whole / floor:.2f} times the floor"
    )


def bench_slow(entries: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    """Read from a drive that lets every tile wait: what processes and a local cache save."""
    latency_ms = 1e3 * READ_LATENCY_SECONDS
    for factor, cache in (
        (1, None),
        (2, None),
        (4, None),
        (1, folder / "cache"),
        (2, folder / "cache"),
    ):
        workers = factor * options.workers
        config = config_of(options, 1, local_cache=str(cache) if cache else None)
        run = resolve_run(config, folder / f"slow_{workers}_{bool(cache)}")
        run = run.placed(1, on_gpu_workers=False)
        tasks = [SlideTask(job, run, False) for job in make_jobs(entries, config)]
        begun: list[float] = []
        ProcessExecutor(workers).run(
            do_slowly,
            tasks,
            discard_progress,
            lambda *_, begun=begun: begun.append(time.perf_counter()),
        )
        seconds = (time.perf_counter() - begun[0]) / len(tasks)
        words = " and a local cache" if cache else ""
        print(f"  {latency_ms:.0f} ms a tile, -j {workers}{words}: {seconds:.2f} s a slide")


def bench_scaling(entries: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    one, two = (timed_run(entries, folder, config_of(options, workers)) for workers in (1, 2))
    print(f"  1 worker {one:.1f} s, 2 workers {two:.1f} s: {one / two:.2f} times")


def bench_executors(entries: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    """Do the slides by each executor in turns, each time in a new process as a command would.

    Start-up lasts until the first slide begins. The remote cluster's workers wait already: what
    they take to start is not counted, but for the first task's imports.
    """
    spawn = multiprocessing.get_context("spawn")
    seconds: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(EXECUTOR_ROUNDS):
        for name in EXECUTORS:
            ours, theirs = spawn.Pipe()
            arguments = (name, entries, folder / "executors", options, theirs)
            process = spawn.Process(target=time_executor, args=arguments)
            process.start()
            seconds.setdefault(name, []).append(ours.recv())
            process.join()
    own = min(whole for _, whole, _ in seconds["processes"])
    for name, rounds in seconds.items():
        start, whole, memory = (min(column) for column in zip(*rounds, strict=True))
        print(
            f"  {name}: {whole:.1f} s ({', '.join(f'{r[1]:.1f}' for r in rounds)}), "
            f"{whole / own:.2f} times own processes, the first slide after {start:.1f} s, "
            f"{memory:.0f} MB in all"
        )


def time_executor(
    name: str, entries: list[SlideEntry], folder: Path, options: argparse.Namespace, pipe: Any
) -> None:
    """Send the seconds until the first slide began and until the end, and the memory, MB."""
    shutil.rmtree(folder, ignore_errors=True)
    execution: dict[str, Any] = {"workers": options.workers, "isolation": "processes"}
    with ExitStack() as stack:
        if name == "one process":
            execution["isolation"] = "threads"
        if name == "remote cluster":
            cluster = stack.enter_context(local_cluster(options.workers))
            execution["scheduler"] = cluster.scheduler_address
        start = time.perf_counter()
        if name == "local cluster":
            cluster = stack.enter_context(local_cluster(options.workers))
            execution["scheduler"] = cluster.scheduler_address
        config = load_config(options.config, {"model": options.model, "execution": execution})
        watch, peak = Stopwatch(), stack.enter_context(peak_of_the_tree())
        run_slides(make_jobs(entries, config), resolve_run(config, folder), watch)
        if name == "local cluster":
            stack.close()  # to be stopped like the own processes, which have been
        whole = time.perf_counter() - start
    pipe.send((watch.first - start, whole, peak[0]))


def bench_cluster(_: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    """Give 1,000 slides of random latency to simulated clusters through a real scheduler.

    Client, scheduler and workers are real and speak TCP; they share this one process, so that a few
    cores carry 64 workers. Each worker would sample its own process 100 times a second for the
    dashboard: that is turned off, since here it is one process 64 times over. Efficiency is the sum
    of the latencies over workers x time; the best that any schedule could do is stated with it.
    """
    import dask
    from distributed import Client

    del folder, options
    draw = random.Random(0)
    latencies = [
        draw.lognormvariate(np.log(MEDIAN_LATENCY_SECONDS), 0.4) for _ in range(CLUSTER_SLIDES)
    ]
    latencies.sort(reverse=True)  # as a run does: the largest slides first
    for n_workers in (16, 64):
        with (
            dask.config.set(UNWATCHED),
            local_cluster(n_workers, processes=False, protocol="tcp") as cluster,
            Client(cluster) as client,
        ):
            start = time.perf_counter()
            ClusterExecutor(client).run(wait, latencies, discard_progress, discard_progress)
            seconds = time.perf_counter() - start
        busy = sum(latencies) / n_workers
        print(
            f"  {n_workers} simulated workers: {seconds:.1f} s, efficiency {busy / seconds:.3f} "
            f"(the best schedule: {busy / shortest_seconds(latencies, n_workers):.3f})"
        )


def shortest_seconds(latencies: Sequence[float], n_workers: int) -> float:
    """Return how long workers take that are given the longest slide that is left at no cost."""
    free_at = [0.0] * n_workers
    for seconds in latencies:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


def bench_overhead(entries: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    """Time what a queued slide costs beside its work: its state, its task, its row."""
    config = config_of(options, 2)
    run = resolve_run(config, folder / "queue").placed(1, on_gpu_workers=False)
    many = [SlideEntry(f"{n:05d}", entries[n % len(entries)].path) for n in range(QUEUED_SLIDES)]
    jobs = make_jobs(many, config)
    (folder / "queue" / "slides").mkdir(parents=True)
    start = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: state_of(job, run), jobs))
        list(pool.map(lambda job: put_in_queue(job, run), jobs))
    queued = time.perf_counter()
    summary = Summary(folder / "queue")
    tasks = [SlideTask(job, run, False) for job in jobs]
    ProcessExecutor(2).run(nothing, tasks[:2], discard_progress, discard_progress)
    started = time.perf_counter()
    ProcessExecutor(2).run(
        nothing,
        tasks,
        lambda task, _: summary.update(task.job.slide_id, Queued()),
        discard_progress,
    )
    done = time.perf_counter()
    for what, seconds in (("state and queue", queued - start), ("task and row", done - started)):
        print(f"  {what}: {1e3 * seconds / QUEUED_SLIDES:.2f} ms a slide of {QUEUED_SLIDES}")


def bench_memory(entries: list[SlideEntry], folder: Path, options: argparse.Namespace) -> None:
    """Do the slides over and over in this process and fit a line through its memory.

    A point is the mean over a round of all slides, which takes out that some need more than others;
    the first two rounds fill caches and the allocator's arenas and are left out.
    """
    config = config_of(options, 1)
    run = resolve_run(config, folder / "memory").placed(1, on_gpu_workers=False)
    used: list[float] = []
    for number in range(options.memory_slides):
        (job,) = make_jobs([entries[number % len(entries)]], config)
        do_task(ThreadBlockExecutor(1), SlideTask(job, run, True), discard_progress)
        used.append(psutil.Process().memory_info().rss / 1e6)
    n_rounds = len(used) // len(entries)
    means = np.reshape(used[: n_rounds * len(entries)], (n_rounds, -1)).mean(1)
    line = f"  {len(used)} slides: at most {max(used):.0f} MB"
    if n_rounds >= WARM_ROUNDS + 4:
        at = np.arange(n_rounds)[WARM_ROUNDS:] * len(entries)
        (slope, _), covariance = np.polyfit(at, means[WARM_ROUNDS:], 1, cov=True)
        line += f", {slope:+.3f} ± {2 * np.sqrt(covariance[0, 0]):.3f} MB a slide"
    print(line)


def bare_seconds(plan: SlidePlan, run: ResolvedRun) -> float:
    """Time reading and classifying the patches of a plan."""
    classifier = run.model.load()
    side, stride = plan.grid.patch_px, plan.grid.stride_px
    with plan.source.open() as reader:
        start = time.perf_counter()
        for block in plan.blocks:
            inside = kept_in(plan.keep, block)
            if inside is None:
                continue
            inner, keep = inside
            left, top = (block.col + inner.col) * stride, (block.row + inner.row) * stride
            width, height = (stride * (n - 1) + side for n in (inner.n_cols, inner.n_rows))
            canvas = read_canvas(reader, plan.read_plan, Box(left, top, width, height))
            rows, cols = np.nonzero(keep)
            classifier.predict(cut_patches(canvas, rows, cols, side, stride))
        return time.perf_counter() - start


def timed_run(entries: Sequence[SlideEntry], folder: Path, config: Config) -> float:
    """Return the seconds from the first slide's start to the last one's end."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    watch = Stopwatch()
    run_slides(make_jobs(entries, config), resolve_run(config, out), watch)
    if watch.failed:
        sys.exit(f"{watch.failed} slides failed: see {out}")
    return watch.last - watch.first


def do_slowly(task: SlideTask, send_progress: SendProgress) -> SlideOutcome:
    """Do a slide whose tiles come late, or that is copied at once."""
    if task.run.config.execution.local_cache:
        time.sleep(READ_LATENCY_SECONDS + task.job.source.stamp[0] / DRIVE_BYTES_PER_SECOND)
        return do_task(ThreadBlockExecutor(1), task, send_progress)
    tiff_tiles._PositionedFile.read = _late  # type: ignore[assignment,method-assign]
    return do_task(ThreadBlockExecutor(1), task, send_progress)


def _late(file: Any, offset: int, n_bytes: int) -> bytes:
    time.sleep(READ_LATENCY_SECONDS)
    return os.pread(file._descriptor, n_bytes, offset)


def wait(seconds: float, _send_progress: SendProgress) -> None:
    time.sleep(seconds)


def nothing(_task: SlideTask, _send_progress: SendProgress) -> None: ...


def config_of(
    options: argparse.Namespace, workers: int, local_cache: str | None = None, **more: Any
) -> Config:
    execution = {"workers": workers, "isolation": "processes", "local_cache": local_cache}
    return load_config(options.config, {"model": options.model, "execution": execution, **more})


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+", type=Path, help="slide files or folders")
    parser.add_argument("--parts", nargs="+", choices=PARTS)
    parser.add_argument("-c", "--config", type=Path)
    parser.add_argument("--model")
    parser.add_argument("-j", "--workers", type=int, default=2)
    parser.add_argument("--memory-slides", type=int, default=500)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
