"""Dask clusters of this machine: workers that a library starts, and workers that commands start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import benching

ROOT = Path(__file__).parents[1]


@contextmanager
def local_cluster(n_workers: int, memory: str | None = None) -> Iterator[Any]:
    """Start a scheduler with workers that count as ones with a GPU."""
    import dask

    more: dict[str, Any] = {} if memory is None else {"memory_limit": memory}
    with (
        # more tries of a task whose worker died only take longer
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        benching.local_cluster(n_workers, resources={"GPU": 1}, **more) as cluster,
    ):
        yield cluster


@contextmanager
def remote_cluster(folder: Path, n_workers: int, *words: str) -> Iterator[str]:
    """Start `dask scheduler` and `dask worker` as their own processes; give the address."""
    file = folder / "scheduler.json"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }

    def command(program: str, *options: str) -> subprocess.Popen[bytes]:
        words = ["-m", f"distributed.cli.dask_{program}", "--scheduler-file", str(file), *options]
        return subprocess.Popen(
            [sys.executable, *words], stderr=subprocess.DEVNULL, env=environment, cwd=folder
        )

    with ExitStack() as stack:

        def started(program: str, *options: str) -> None:
            process = command(program, *options)
            stack.callback(process.wait)
            stack.callback(process.terminate)

        started("scheduler", "--port", "0", "--no-dashboard")
        started("worker", "--nworkers", str(n_workers), "--nthreads", "1", *words)
        until = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < until, "the scheduler does not start"
            time.sleep(0.05)
        yield str(json.loads(file.read_text())["address"])
