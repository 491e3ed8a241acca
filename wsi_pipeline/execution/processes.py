"""Supervised processes: a task that crashes, hangs or eats memory costs its process, not the run.

Processes are spawned, never forked, and do one task at a time: while one reads, another classifies,
so that the cores are busy across the borders of slides.

Dask's LocalCluster was weighed in their place. It holds the fault table too, but its nannies kill
without a word: which slide exceeded `memory_gb` is then told by nobody, and each one that dies
without a stack costs as many workers as Dask allows failures, which count against the tasks that
wait on those workers too. A worker that takes more than 15 s to come back is given up for good,
unless `distributed.deploy.lost-worker-timeout` is raised: on a busy machine a run of 600 slides
stood without any worker after 42. And it costs time: 25 whole mounts took two workers 45.6 s on it
and 37.6 s here, the first slide 3.3 and 2.2 s, with 938 and 849 MB (best of two turns, quiet
machine; `scripts/bench_archive.py --parts executors`).
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from typing import Any, Final

from wsi_pipeline.execution.executor import LossCause, Lost, Result, Task, Work, watched_progress
from wsi_pipeline.execution.watchdog import outer_limit
from wsi_pipeline.execution.worker_logging import log_again, send_logs

logger = logging.getLogger(__name__)

GIGA: Final = 1e9
WATCH_SECONDS: Final = 0.25
"""How often the memory of the processes is looked at."""
MEMORY_SHARE: Final = 0.8
"""Of the machine's memory, for all processes together."""
STOP_SECONDS: Final = 2.0
"""What a process that is asked to stop has for it, before it is killed."""
WATCHDOG_STATUS: Final = 1
"""What a process ends with that its watchdog has ended, ..."""
ABOUT: Final = 0.5
"""... and for what share of its limit nothing was heard then: messages may arrive late."""
KILLED_TWICE: Final = 2
"""A process killed from outside may have been in the way of another: its task gets one more try."""
_BEGUN, _RESULT, _ERROR, _PROGRESS, _LOG = range(5)


class ProcessExecutor:
    """Does tasks in processes of this machine.

    Parameters
    ----------
    n_processes : int
    memory_bytes : float, optional
        What one process may use; default: its share of four fifths of the memory.
    stall_seconds : float, optional
        A process that neither tells nor finishes anything in this time ends itself; after the
        outer limit it is killed.
    """

    def __init__(
        self,
        n_processes: int,
        memory_bytes: float | None = None,
        stall_seconds: float | None = None,
    ) -> None:
        self.n_processes = max(1, n_processes)
        self.stall_seconds = stall_seconds
        self.outer_limit = outer_limit(stall_seconds or math.inf)
        self.memory_bytes = memory_bytes or _memory_share(self.n_processes)

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        on_progress: Callable[[Task, Any], None],
    ) -> None:
        """Do the tasks; an interrupt ends the processes at once."""
        workers = [
            _Process(work, self.stall_seconds) for _ in range(min(self.n_processes, len(tasks)))
        ]
        waiting = deque((task, 0) for task in tasks)
        try:
            while waiting or any(process.is_busy for process in workers):
                for process in workers:
                    if waiting and not process.is_busy:
                        process.give(*waiting.popleft())
                for process in _ready(workers):
                    self._listen(process, waiting, report, on_progress)
                self._watch(workers)
        finally:
            for process in workers:
                process.stop()
            for process in workers:
                process.end()

    def _listen(
        self,
        process: _Process,
        waiting: deque[tuple[Any, int]],
        report: Callable[[Any, Any], None],
        on_progress: Callable[[Any, Any], None],
    ) -> None:
        """Take what a process has sent; where it died, report its task as lost."""
        is_alive = process.is_alive  # asked first: what a dead process sent is all there
        for kind, message in process.messages():
            if kind == _BEGUN:
                process.has_begun = True
            elif kind == _PROGRESS:
                on_progress(process.task, message)
            elif kind == _LOG:
                log_again(message)
            elif kind == _ERROR:
                raise message
            else:
                task = process.task
                process.is_busy = process.has_begun = False
                report(task, message)
        if not is_alive:
            task, tries, was_busy = process.task, process.tries + 1, process.is_busy
            lost, killed = process.cause_of_death()
            process.restart()
            if was_busy and killed and tries < KILLED_TWICE:
                logger.warning("a process was killed from outside; its slide is tried again")
                waiting.append((task, tries))
            elif was_busy:
                report(task, lost)

    def _watch(self, workers: list[_Process]) -> None:
        for process in workers:
            if process.is_busy and process.memory_bytes() > self.memory_bytes:
                reason = f"used more than {self.memory_bytes / GIGA:.1f} GB of memory"
                process.kill(Lost(LossCause.OUT_OF_MEMORY, reason))
            elif process.has_begun and process.silent_seconds > self.outer_limit:
                reason = f"gave no sign of life for {self.outer_limit:g} s"
                process.kill(Lost(LossCause.SILENT, reason))


class _Process:
    """One process and what it is doing."""

    def __init__(self, work: Work[Any, Any], stall_seconds: float | None) -> None:
        self._work, self._stall_seconds = work, stall_seconds
        self.is_busy = self.has_begun = False
        self.task: Any = None
        self.tries = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._work, self._stall_seconds), daemon=True
        )
        self._process.start()
        theirs.close()
        self._killed_for: Lost | None = None
        self._next_look = 0.0
        self._last_message = time.monotonic()

    def restart(self) -> None:
        """Put a new process in the place of a dead one."""
        self._process.kill()
        self.end()
        self.is_busy = self.has_begun = False
        self._start()

    def give(self, task: Any, tries: int) -> None:
        """Give a task; a process that died meanwhile shows it when it is listened to."""
        self.task, self.tries, self.is_busy, self.has_begun = task, tries, True, False
        self._last_message = time.monotonic()
        with suppress(OSError):
            self._pipe.send(task)

    @property
    def silent_seconds(self) -> float:
        """Since the process was last heard of."""
        return time.monotonic() - self._last_message

    @property
    def waitables(self) -> list[Any]:
        """What becomes ready when there is something to hear."""
        return [self._pipe, self._process.sentinel]

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._process.is_alive()

    def messages(self) -> list[tuple[int, Any]]:
        """Return what has come; the rest of a message torn by a death is nothing."""
        found = []
        with suppress(EOFError, OSError):
            while self._pipe.poll():
                found.append(self._pipe.recv())
                self._last_message = time.monotonic()
        return found

    def memory_bytes(self) -> float:
        """Return the resident memory, looked at a few times a second."""
        now = time.monotonic()
        if now < self._next_look:
            return 0.0
        self._next_look = now + WATCH_SECONDS
        import psutil  # type: ignore[import-untyped]

        try:
            return float(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0.0

    def kill(self, lost: Lost) -> None:
        """Kill the process; what it did is lost for this reason."""
        self._killed_for = lost
        self._process.kill()

    def cause_of_death(self) -> tuple[Lost, bool]:
        """Return why a dead process died, and whether it was killed from outside."""
        self._process.join(5)
        code = self._process.exitcode or 0
        if self._killed_for:
            return self._killed_for, False
        if code < 0:
            killed = -code in (signal.SIGKILL, signal.SIGTERM) if os.name != "nt" else False
            return Lost(LossCause.CRASHED, f"killed by {_signal_name(-code)}"), killed
        limit = self._stall_seconds
        if code == WATCHDOG_STATUS and limit and self.silent_seconds > ABOUT * limit:
            return Lost(LossCause.SILENT, f"gave no sign of life for {limit:g} s"), False
        reason = f"ended with exit status {code:#x}" if code > 255 else f"exit {code}"
        return Lost(LossCause.CRASHED, reason), False

    def stop(self) -> None:
        """Ask the process to leave what it does."""
        self._process.terminate()

    def end(self) -> None:
        """Release the process; kill it where it does not stop."""
        self._process.join(STOP_SECONDS)
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


def _ready(workers: list[_Process]) -> list[_Process]:
    """Return the processes that have something to say, waiting a little for the first."""
    of = {item: process for process in workers for item in process.waitables}
    found = connection.wait(list(of), timeout=WATCH_SECONDS)
    return list({id(of[item]): of[item] for item in found}.values())


def _memory_share(n_processes: int) -> float:
    import psutil

    return MEMORY_SHARE * float(psutil.virtual_memory().total) / n_processes


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _serve(pipe: Any, work: Work[Any, Any], stall_seconds: float | None) -> None:
    """Be a process: take tasks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # locks and semaphores are given back
    end_with_parent()
    sending = threading.Lock()

    def send(kind: int, message: Any) -> None:
        with sending:
            pipe.send((kind, message))

    send_logs(lambda record: send(_LOG, record))
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        send(_BEGUN, None)
        try:
            with watched_progress(partial(send, _PROGRESS), stall_seconds) as send_progress:
                result = work(task, send_progress)
            send(_RESULT, result)
        except Exception as error:  # noqa: BLE001 - raised again in the parent
            send(_ERROR, error)


def end_with_parent() -> None:
    """End this process at once when its parent is gone: its slides are free for the next run."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
