"""Tasks on the workers of a Dask cluster: slides, or the blocks of one.

Knows nothing of either. Tasks are plain data and results small values; what is large goes through
files. So the same function runs in a thread, in another process or on another machine.
"""

from __future__ import annotations

import json
import logging
import math
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from wsi_pipeline.errors import WorkersLostError, WsiPipelineError
from wsi_pipeline.execution.executor import (
    LossCause,
    Lost,
    Result,
    Task,
    Work,
    watched_progress,
)
from wsi_pipeline.execution.watchdog import outer_limit
from wsi_pipeline.execution.worker_logging import log_again, logs_sent_to

logger = logging.getLogger(__name__)

AHEAD: Final = 2
"""Tasks under way for each worker thread: enough that none waits, few enough that a scheduler with
an archive of slides stays light."""
LOOK_SECONDS: Final = 2.0
"""How often workers that have come, gone or fallen silent are looked for."""
TRIES: Final = 3
"""Of a task under which workers died, not all of them over it: Dask counts the death of a worker
against every task that it was given, also those that only waited."""
LIGHT_DASK: Final = {"distributed.admin.low-level-log-length": 10}
"""Settings for whoever starts a scheduler or a client: each else keeps the last 1,000 messages to
each worker, a task in every one, which was 150 MB after 1,000 slides on two workers."""
_BEGUN, _PROGRESS, _LOG = "begun", "progress", "log"

WorkerSelector = Callable[[], Mapping[str, Any]]
"""Says where tasks may run now: arguments of `Client.submit`, e.g. resources={"GPU": 1}."""


def anywhere() -> Mapping[str, Any]:
    """Let tasks run on any worker."""
    return {}


class ClusterExecutor:
    """The workers of a Dask cluster. A worker that dies costs only what it had not finished.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    worker_selector : callable
        Which workers may be given tasks.
    stall_seconds : float, optional
        A worker whose task gives no sign of life for so long ends itself; after the outer limit
        the run is given up.
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
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        on_progress: Callable[[Task, Any], None],
    ) -> None:
        """Do the tasks on the workers; what they tell and log arrives here.

        Raises
        ------
        WorkersLostError
            Where a worker hangs in a task and cannot end itself.
        WsiPipelineError
            Where the scheduler is gone.
        """
        run = _ClusterRun(self.client, self.stall_seconds, on_progress)
        with run.listening():
            for task, future in run.completed(work, tasks, self.worker_selector):
                report(task, _result_of(future))


@dataclass(slots=True)
class _Tracked:
    """A task, and what is known of its workers."""

    task: Any
    future: Any = None
    tries: int = 0
    n_begun: int = 0
    """How often a worker said that it begins; each has died over it."""
    worker: str = ""
    """Which was heard of last, ..."""
    heard: float = math.inf
    """... and when."""

    def is_to_blame(self, killed: Any) -> bool:
        """Return whether as many workers died while the task ran as Dask (KilledWorker) allows."""
        return self.n_begun > killed.allowed_failures or self.tries >= TRIES


class _ClusterRun:
    """Tasks under way on a cluster, and when each was last heard of.

    Parameters
    ----------
    client : distributed.Client
    stall_seconds : float, optional
    on_progress : callable
        Is told what the tasks send, in the thread of `completed`.
    """

    def __init__(
        self, client: Any, stall_seconds: float | None, on_progress: Callable[[Any, Any], None]
    ) -> None:
        self.client, self.stall_seconds, self.on_progress = client, stall_seconds, on_progress
        self._topic = f"wsi_pipeline-{uuid.uuid4().hex}"
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._running: dict[str, _Tracked] = {}
        self._is_waiting = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have what tasks send arrive; an interrupt leaves nothing running for nobody."""
        self.client.subscribe_topic(self._topic, self._inbox.put)
        try:
            yield
        finally:
            self.client.cancel([one.future for one in self._running.values()])
            self.client.unsubscribe_topic(self._topic)

    def completed(
        self, work: Work[Any, Any], tasks: Sequence[Task], worker_selector: WorkerSelector
    ) -> Iterator[tuple[Task, Any]]:
        """Submit tasks, a bounded number at a time, and yield each with its finished future.

        The bound follows the workers as they come and go.
        """
        from distributed import KilledWorker

        function = partial(_on_worker, self._topic, work, self.stall_seconds)
        waiting, again = deque(tasks), deque[_Tracked]()
        bound, place, look_again = 0, worker_selector(), 0.0
        while waiting or again or self._running:
            if time.monotonic() >= look_again:
                bound, place = AHEAD * max(1, self._n_threads()), worker_selector()
                self._check_silence()
                look_again = time.monotonic() + LOOK_SECONDS
            while (waiting or again) and len(self._running) < bound:
                one = _Tracked(waiting.popleft()) if waiting else again.popleft()
                one.future = self.client.submit(function, one.task, pure=False, **place)
                one.tries, one.heard = one.tries + 1, math.inf
                self._running[one.future.key] = one
                one.future.add_done_callback(self._inbox.put)
            try:
                item = self._inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, tuple):  # an event: its time, and what `_message_sender` has sent
                self._take(*json.loads(item[1]))
                continue
            if item.status == "lost":  # its worker died with the result: Dask does it again
                item.add_done_callback(self._inbox.put)
                continue
            one = self._running.pop(item.key)
            error = item.exception() if item.status == "error" else None
            if isinstance(error, KilledWorker) and not one.is_to_blame(error):
                again.append(one)  # last, where it meets the fewest others
            else:
                yield one.task, item
            item.release()

    def _n_threads(self) -> int:
        """Return how many tasks the workers can do at a time; say it once where there are none."""
        try:
            n_threads = int(sum(self.client.nthreads().values()))
        except (OSError, TimeoutError) as error:
            raise _scheduler_lost() from error
        if not n_threads and not self._is_waiting:
            logger.warning("no worker is connected: all waits until one comes")
        self._is_waiting = not n_threads
        return n_threads

    def _take(self, key: str, address: str, kind: str, content: Any) -> None:
        if key not in self._running:
            return
        one = self._running[key]
        one.worker, one.heard = address, time.monotonic()
        if kind == _BEGUN:
            one.n_begun += 1
        elif kind == _LOG:
            log_again(content)
        else:
            self.on_progress(one.task, content)

    def _check_silence(self) -> None:
        """Give the run up where a worker hangs that should have ended itself long ago."""
        if self.stall_seconds is None:
            return
        limit = outer_limit(self.stall_seconds)
        before = time.monotonic() - limit
        silent = {key: one.worker for key, one in self._running.items() if one.heard < before}
        if not silent:
            return
        held = {key: worker for worker, keys in self.client.processing().items() for key in keys}
        # What has gone to another worker since begins again there.
        hanging = {worker for key, worker in silent.items() if held.get(key) == worker}
        if hanging:
            raise WorkersLostError(
                f"{', '.join(sorted(hanging))} gave no sign of life for {limit:g} s",
                "The drive does not answer or the file sends the decoder in circles: end these "
                "workers, see their logs, raise execution.stall_seconds where the drive is slow",
            )


def _on_worker(
    topic: str, work: Work[Task, Result], stall_seconds: float | None, task: Task
) -> Result:
    """Do a task on a worker; tell the client that it goes on, and what is logged about it."""
    send = _message_sender(topic)
    rest = math.inf if stall_seconds is None else stall_seconds / 2
    last_sent = -math.inf

    def send_progress(message: Any) -> None:
        nonlocal last_sent
        now = time.monotonic()
        if now - last_sent >= rest:  # the first; all of them are not worth the scheduler's time
            last_sent = now
            send(_PROGRESS, message)

    send(_BEGUN, None)
    with logs_sent_to(partial(send, _LOG)), watched_progress(send_progress, stall_seconds) as tell:
        return work(task, tell)


def _message_sender(topic: str) -> Callable[[str, Any], None]:
    """Return what sends a task's small messages to the client that submitted it.

    To be called in the task's own thread; what it returns may be called in any. Messages are what
    JSON can hold; they are lost with their worker.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def send(kind: str, content: Any) -> None:
        worker.log_event(topic, json.dumps((key, worker.address, kind, content), default=str))

    return send


def _scheduler_lost() -> WsiPipelineError:
    return WsiPipelineError(
        "the Dask scheduler was lost", "Start it and the workers, then run again: it goes on"
    )


def _result_of(future: Any) -> Any:
    """Return a finished future's result, or that every worker which took it up died over it.

    Raises
    ------
    WsiPipelineError
        Where the scheduler is gone.
    """
    from distributed import KilledWorker

    if future.status == "cancelled":
        raise _scheduler_lost()
    try:
        return future.result()
    except KilledWorker:
        return Lost(LossCause.CRASHED, "every worker that took it up died")
