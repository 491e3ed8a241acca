"""What benchmarks share: a watch over a run, the memory of a tree of processes, a local cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil  # type: ignore[import-untyped]

from wsi_pipeline.execution.cluster import LIGHT_DASK
from wsi_pipeline.pipeline.resolved import SlideJob
from wsi_pipeline.results.status import AnyStatus, Failed


class Stopwatch:
    """A watcher that knows when the first slide began: start-up is not counted."""

    def __init__(self) -> None:
        self.first = self.last = 0.0
        self.failed = 0

    def run_started(self, run_id: str, n_slides: int, where: str) -> None:  # noqa: ARG002
        print(f"    {where}", flush=True)

    def slide_started(self, job: SlideJob) -> None:  # noqa: ARG002
        self.first = self.first or time.perf_counter()

    def patches_done(self, job: SlideJob, done: int, n_patches: int) -> None: ...

    def slide_finished(self, job: SlideJob, status: AnyStatus | None, *, skipped: bool) -> None:  # noqa: ARG002
        self.last = time.perf_counter()
        self.failed += isinstance(status, Failed)

    def waiting_for(self, job: SlideJob, owner: str) -> None: ...


CLUSTER_SETTINGS = {
    **LIGHT_DASK,
    # else a worker that takes longer than 15 s to come back is given up for good
    "distributed.deploy.lost-worker-timeout": "10 minutes",
}


@contextmanager
def local_cluster(n_workers: int, **more: Any) -> Iterator[Any]:
    """Start a scheduler with workers, each a process of one thread that a nanny brings back."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set(CLUSTER_SETTINGS),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
            **more,
        ) as cluster,
    ):
        yield cluster


@contextmanager
def peak_of_the_tree() -> Iterator[list[float]]:
    """Give the largest sum of the memory of this process and its descendants, MB."""
    peak, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.25):
            peak[0] = max(peak[0], sum(memory_of_the_tree()) / 1e6)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def memory_of_the_tree() -> list[int]:
    """Return the resident memory of this process, then of each descendant, bytes."""
    found = []
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):
            found.append(int(process.memory_info().rss))
    return found
