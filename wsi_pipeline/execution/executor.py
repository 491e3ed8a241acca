"""Where slides are done: the port, and the plainest of its implementations.

A executor knows nothing of slides. It calls a function on many tasks and reports what each came to:
its result, or that its worker was lost under it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Protocol, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

SendProgress = Callable[[Any], None]
"""Sends a small message (progress) to whoever started the executor; may come to nothing."""
Work = Callable[[Task, SendProgress], Result]
"""What is done with a task. In processes and on clusters a module's function, or a partial."""


class LossCause(Enum):
    """Why a worker was lost."""

    CRASHED = "crashed"
    """It ended by itself: a fault of what it did."""
    SILENT = "silent"
    """It gave no sign of life and was ended."""
    OUT_OF_MEMORY = "out of memory"
    """It used more memory than it may, and was ended."""
    EARLIER_RUN = "earlier run"
    """It died in a run of before, unseen."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker of a task died under it."""

    cause: LossCause
    reason: str
    """In words: "killed by signal 11 (SIGSEGV)", "used more than 4.0 GB" ..."""
    still_here: bool = False
    """It is this process that hangs in the task: it cannot go on, and holds the slide's lock."""


class Executor(Protocol):
    """Calls a function on many tasks."""

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        on_progress: Callable[[Task, Any], None],
    ) -> None:
        """Do every task; the callbacks are called one at a time, in the caller's thread.

        An exception of the work itself ends the run: it is raised here.
        """
        ...


class SerialExecutor:
    """One task after the other in this process: nothing to start.

    A thread that hangs cannot be ended without its process. A task that tells nothing for
    `silence_seconds` is therefore reported as lost (`still_here`) from a thread of the executor's
    own, and whoever is told so ends the process.
    """

    def __init__(self, silence_seconds: float | None = None) -> None:
        self.silence_seconds = silence_seconds

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        on_progress: Callable[[Task, Any], None],
    ) -> None:
        """Do the tasks in order."""
        for task in tasks:
            with _SilenceWatchdog(self.silence_seconds, partial(report, task)) as watchdog:

                def send_progress(
                    message: Any, task: Task = task, watchdog: _SilenceWatchdog = watchdog
                ) -> None:
                    watchdog.reset()
                    on_progress(task, message)

                result = work(task, send_progress)
            report(task, result)


class _SilenceWatchdog:
    """Notices, in a thread of its own, that nothing has come for too long."""

    def __init__(self, silence_seconds: float | None, report: Callable[[Lost], None]) -> None:
        self._silence_seconds, self._report = silence_seconds, report
        self._last_reset, self._is_over = time.monotonic(), threading.Event()

    def reset(self) -> None:
        self._last_reset = time.monotonic()

    def __enter__(self) -> Self:
        if self._silence_seconds is not None:
            threading.Thread(
                target=self._listen, args=(self._silence_seconds,), daemon=True
            ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def _listen(self, limit: float) -> None:
        left = limit
        while not self._is_over.wait(left):
            left = self._last_reset + limit - time.monotonic()
            if left <= 0:
                reason = f"gave no sign of life for {limit:g} s"
                self._report(Lost(LossCause.SILENT, reason, still_here=True))
                return


def discard_progress(*_message: object) -> None:
    """Let a message come to nothing."""
