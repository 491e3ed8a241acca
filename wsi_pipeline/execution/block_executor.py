"""Running the blocks of a slide: threads on this machine, or the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Protocol

from wsi_pipeline.errors import WorkersLostError
from wsi_pipeline.execution.cluster import ClusterExecutor
from wsi_pipeline.execution.executor import Lost, Result, SendProgress, Task, discard_progress


class BlockExecutor(Protocol):
    """Runs a function on many tasks."""

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        report: Callable[[Result], None],
    ) -> None:
        """Call `report` with each result as it comes, one at a time; raise a task's first error."""
        ...


class ThreadBlockExecutor:
    """Threads of this process: no server, nothing to import, memory bounded by their number."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = max(1, n_threads)

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        report: Callable[[Result], None],
    ) -> None:
        """Run the tasks on `n_threads` threads; after an error no further one is begun."""
        if self.n_threads == 1:
            for task in tasks:
                report(function(task))
            return
        with ThreadPoolExecutor(self.n_threads, thread_name_prefix="blocks") as pool:
            futures = [pool.submit(function, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    report(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


class ClusterBlockExecutor:
    """The workers of a Dask cluster. A worker that dies costs only the blocks it held.

    Parameters
    ----------
    cluster : ClusterExecutor
    """

    def __init__(self, cluster: ClusterExecutor) -> None:
        self.cluster = cluster

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        report: Callable[[Result], None],
    ) -> None:
        """Run the tasks on the cluster's workers, a bounded number under way.

        Raises
        ------
        WorkersLostError
            Where every worker that took a task up died over it, or hangs.
        """

        def report_found(_: Task, result: Result | Lost) -> None:
            if isinstance(result, Lost):
                raise WorkersLostError(
                    result.reason, "See the workers' logs; are they short of memory?"
                )
            report(result)

        self.cluster.run(partial(_do_block, function), tasks, report_found, discard_progress)


def _do_block(
    function: Callable[[Task], Result], task: Task, send_progress: SendProgress
) -> Result:
    send_progress(None)  # it begins
    return function(task)
