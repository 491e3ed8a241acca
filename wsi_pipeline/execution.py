"""Running many like tasks with Dask: threads on this machine, or the workers of a cluster.

Knows nothing of slides. Tasks are plain data and results small values; what is large goes through
files. So the same function runs in a thread, in another process or on another machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs a function on many tasks."""

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        report: Callable[[Result], None],
    ) -> None:
        """Call `report` with each result as it comes, one at a time; raise a task's first error."""
        ...


class ThreadExecutor:
    """Dask's threaded scheduler: no server, nothing to start, memory bounded by the threads."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = max(1, n_threads)

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        report: Callable[[Result], None],
    ) -> None:
        """Run the tasks on `n_threads` threads."""
        import dask

        lock = threading.Lock()

        def run_one(task: Task) -> None:
            result = function(task)
            with lock:
                report(result)

        # traverse=False: the tasks are ours, Dask need not look for graphs inside them.
        lazy = [dask.delayed(run_one, pure=False, traverse=False)(task) for task in tasks]
        dask.compute(*lazy, scheduler="threads", num_workers=self.n_threads)


class ClusterExecutor:
    """The workers of a Dask cluster. A worker that dies costs only the tasks it held.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    ahead : int
        Tasks under way for each worker thread: enough that none waits, few enough that a scheduler
        with an archive of slides stays light.
    """

    def __init__(self, client: Any, ahead: int = 2) -> None:
        self.client, self.ahead = client, ahead

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        report: Callable[[Result], None],
    ) -> None:
        """Run the tasks on the cluster's workers, a bounded number under way."""
        from distributed import as_completed

        waiting = iter(tasks)
        n_threads = sum(self.client.nthreads().values()) or 1
        first = [task for _, task in zip(range(n_threads * self.ahead), waiting, strict=False)]
        running = as_completed(self._submit(function, task) for task in first)
        for future in running:
            report(future.result())
            future.release()
            following = next(waiting, None)
            if following is not None:
                running.add(self._submit(function, following))

    def _submit(self, function: Callable[[Task], Result], task: Task) -> Any:
        return self.client.submit(function, task, pure=False, retries=2)
