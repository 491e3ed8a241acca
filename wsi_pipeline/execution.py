"""Running many like tasks with Dask: threads on this machine, or the workers of a cluster.

Knows nothing of slides. Tasks are plain data and results small values; what is large goes through
files. So the same function runs in a thread, in another process or on another machine.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from wsi_pipeline.errors import WorkersLostError, WsiPipelineError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD: Final = 2
"""Tasks under way for each worker thread: enough that none waits, few enough that a scheduler with
an archive of slides stays light."""
LOOK_SECONDS: Final = 2.0
"""How often workers that have come or gone are looked for."""


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
        if self.n_threads == 1:
            for task in tasks:
                report(function(task))
            return
        import dask
        from dask.threaded import get

        lock = threading.Lock()

        def run_one(task: Task) -> None:
            result = function(task)
            with lock:
                report(result)

        # traverse=False: the tasks are ours, Dask need not look for graphs inside them.
        lazy = [dask.delayed(run_one, pure=False, traverse=False)(task) for task in tasks]
        dask.compute(*lazy, scheduler=get, num_workers=self.n_threads)


class ClusterExecutor:
    """The workers of a Dask cluster. A worker that dies costs only the tasks it held.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    resources : mapping of str to float, optional
        What a worker must declare to be given the tasks, e.g. {"GPU": 1}.
    """

    def __init__(self, client: Any, resources: Mapping[str, float] | None = None) -> None:
        self.client, self.resources = client, resources

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        report: Callable[[Result], None],
    ) -> None:
        """Run the tasks on the cluster's workers, a bounded number under way."""
        for _, future in completed(self.client, function, tasks, self.resources):
            report(result_of(future))


def completed(
    client: Any,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    resources: Mapping[str, float] | None = None,
) -> Iterator[tuple[Task, Any]]:
    """Submit tasks, a bounded number at a time, and yield each with its finished future.

    The bound follows the workers as they come and go.
    """
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting, running = deque(tasks), dict[str, tuple[Task, Any]]()
    bound, look_again = 0, 0.0
    try:
        while waiting or running:
            if time.monotonic() >= look_again:
                bound = AHEAD * max(1, sum(client.nthreads().values()))
                look_again = time.monotonic() + LOOK_SECONDS
            while waiting and len(running) < bound:
                task = waiting.popleft()
                future = client.submit(function, task, pure=False, resources=resources)
                running[future.key] = (task, future)
                future.add_done_callback(finished.put)
            try:
                future = finished.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            task, _ = running.pop(future.key)
            yield task, future
            future.release()
    finally:  # an interrupt: nothing is left running for nobody
        client.cancel([future for _, future in running.values()])


def result_of(future: Any) -> Any:
    """Return a finished future's result.

    Raises
    ------
    WorkersLostError
        Where every worker that took the task up died over it.
    WsiPipelineError
        Where the scheduler is gone.
    """
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        raise WsiPipelineError(
            "the Dask scheduler was lost", "Start it and the workers, then run again: it goes on"
        )
    try:
        return future.result()
    except KilledWorker as error:
        raise WorkersLostError(
            "every worker that took it up died", "See the workers' logs; are they short of memory?"
        ) from error
