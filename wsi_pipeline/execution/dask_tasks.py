"""Running many like tasks: in threads of this process, or with Dask on the workers of a cluster.

Knows nothing of slides. Tasks are plain data and results small values; what is large goes through
files. So the same function runs in a thread, in another process or on another machine.
"""

from __future__ import annotations

import faulthandler
import json
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from wsi_pipeline.errors import WorkersLostError, WsiPipelineError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD: Final = 2
"""Tasks under way for each worker thread: enough that none waits, few enough that a scheduler with
an archive of slides stays light."""
LOOK_SECONDS: Final = 2.0
"""How often workers that have come or gone are looked for."""
PATIENCE: Final = 2.0
"""Processes watch over themselves; one that has not ended itself after so many times the limit, or
that has no such watch, is given up from outside."""

WorkerSelector = Callable[[], Mapping[str, Any]]
"""Says where tasks may run now: arguments of `Client.submit`, e.g. resources={"GPU": 1}."""


def anywhere() -> Mapping[str, Any]:
    """Let tasks run on any worker."""
    return {}


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
    """The workers of a Dask cluster. A worker that dies costs only the tasks it held.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    worker_selector : callable
        Which workers may be given the tasks.
    stall_seconds : float, optional
        A worker that takes longer for a task ends itself; a run in which nothing is finished for
        twice as long is given up.
    """

    def __init__(
        self,
        client: Any,
        worker_selector: WorkerSelector = anywhere,
        stall_seconds: float | None = None,
    ) -> None:
        self.client, self.worker_selector = client, worker_selector
        self.stall_seconds = stall_seconds

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
            Where every worker that took a task up died over it, or all of them stand still.
        """
        silence = self.stall_seconds and PATIENCE * self.stall_seconds
        function = partial(_watched, self.stall_seconds, function)
        for _, future in completed(self.client, function, tasks, self.worker_selector, silence):
            report(result_of(future))


def _watched(
    stall_seconds: float | None,
    function: Callable[[Task], Result],
    task: Task,
) -> Result:
    """Do a task on a worker, which ends itself where that takes too long."""
    if stall_seconds is None:
        return function(task)
    # To the worker's log. A thread that hangs cannot be ended without its process.
    faulthandler.dump_traceback_later(stall_seconds, exit=True)
    try:
        return function(task)
    finally:
        faulthandler.cancel_dump_traceback_later()


def completed(
    client: Any,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    worker_selector: WorkerSelector = anywhere,
    silence_seconds: float | None = None,
    on_message: Callable[[Task, Any], None] | None = None,
    topic: str = "",
) -> Iterator[tuple[Task, Any]]:
    """Submit tasks, a bounded number at a time, and yield each with its finished future.

    The bound follows the workers as they come and go. `on_message` is told what tasks send to the
    topic (`progress_sender`), in this thread.

    Raises
    ------
    WorkersLostError
        Where workers have tasks and finish none of them in `silence_seconds`.
    WsiPipelineError
        Where the scheduler is gone.
    """
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting, running = deque(tasks), dict[str, tuple[Task, Any]]()
    bound, place, look_again, last = 0, worker_selector(), 0.0, time.monotonic()
    if on_message:
        client.subscribe_topic(topic, inbox.put)
    try:
        while waiting or running:
            if time.monotonic() >= look_again:
                bound, place = AHEAD * max(1, _n_threads(client)), worker_selector()
                look_again = time.monotonic() + LOOK_SECONDS
            while waiting and len(running) < bound:
                task = waiting.popleft()
                future = client.submit(function, task, pure=False, **place)
                running[future.key] = (task, future)
                future.add_done_callback(inbox.put)
            try:
                item = inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                last = _still_patient(client, last, silence_seconds)
                continue
            if isinstance(item, tuple):  # an event: its time, and what a progress_sender has sent
                key, message = json.loads(item[1])
                if on_message and key in running:
                    on_message(running[key][0], message)
                continue
            last = time.monotonic()
            task, _ = running.pop(item.key)
            yield task, item
            item.release()
    finally:  # an interrupt: nothing is left running for nobody
        client.cancel([future for _, future in running.values()])
        if on_message:
            client.unsubscribe_topic(topic)


def progress_sender(topic: str) -> Callable[[Any], None]:
    """Return what sends a task's small messages to the client that submitted it.

    To be called in the task's own thread; what it returns may be called in any. Messages are what
    JSON can hold; they are lost with their worker.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def send_progress(message: Any) -> None:
        worker.log_event(topic, json.dumps((key, message), default=str))

    return send_progress


def _n_threads(client: Any) -> int:
    try:
        return sum(client.nthreads().values())
    except (OSError, TimeoutError) as error:
        raise _scheduler_lost() from error


def _still_patient(client: Any, last: float, silence_seconds: float | None) -> float:
    """Return since when nothing was finished; time in which no worker had a task does not count."""
    if not any(client.processing().values()):
        return time.monotonic()
    if silence_seconds is not None and time.monotonic() - last > silence_seconds:
        raise WorkersLostError(
            f"the workers finished nothing in {silence_seconds:g} s",
            "The drive is slow or the file sends the decoder in circles: see the workers' logs, "
            "restart them, raise execution.stall_seconds where it is slow",
        )
    return last


def _scheduler_lost() -> WsiPipelineError:
    return WsiPipelineError(
        "the Dask scheduler was lost", "Start it and the workers, then run again: it goes on"
    )


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
        raise _scheduler_lost()
    try:
        return future.result()
    except KilledWorker as error:
        raise WorkersLostError(
            "every worker that took it up died", "See the workers' logs; are they short of memory?"
        ) from error
