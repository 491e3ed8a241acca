"""Where slides are done: the port, and the plainest of its implementations.

An executor knows nothing of slides. It calls a function on many tasks and reports what each came
to: its result, or that its worker was lost under it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Protocol, TypeVar

from wsi_pipeline.execution.watchdog import watched

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

    A thread that hangs cannot be ended without its process, and nobody outside waits for this one.
    A task that gives no sign of life for `stall_seconds` is therefore reported as lost
    (`still_here`) from a thread of the watchdog's, and whoever is told so ends the process.
    """

    def __init__(self, stall_seconds: float | None = None) -> None:
        self.stall_seconds = stall_seconds

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        on_progress: Callable[[Task, Any], None],
    ) -> None:
        """Do the tasks in order."""
        for task in tasks:

            def on_stall(task: Task = task) -> None:
                reason = f"gave no sign of life for {self.stall_seconds:g} s"
                report(task, Lost(LossCause.SILENT, reason, still_here=True))

            progress = partial(on_progress, task)
            with watched_progress(progress, self.stall_seconds, on_stall) as send_progress:
                result = work(task, send_progress)
            report(task, result)


@contextmanager
def watched_progress(
    send_progress: SendProgress,
    stall_seconds: float | None,
    on_stall: Callable[[], None] | None = None,
) -> Iterator[SendProgress]:
    """Arm the watchdog of this process for a task; what the task sends resets it."""
    with watched(stall_seconds, on_stall) as alive:

        def send_and_reset(message: Any) -> None:
            alive()
            send_progress(message)

        yield send_and_reset


def discard_progress(*_message: object) -> None:
    """Let a message come to nothing."""
