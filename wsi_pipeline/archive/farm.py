"""Where slides are done: the port, and the plainest of its implementations.

A farm knows nothing of slides. It calls a function on many tasks and reports what each came to:
its result, or that its worker was lost under it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

Tell = Callable[[Any], None]
"""Sends a small message (progress) to whoever started the farm; may come to nothing."""
Work = Callable[[Task, Tell], Result]
"""What is done with a task. In processes and on clusters a module's function, or a partial."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker of a task died under it."""

    reason: str
    """In words: "killed by signal 11 (SIGSEGV)", "used more than 4.0 GB" ..."""


class Farm(Protocol):
    """Calls a function on many tasks."""

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        told: Callable[[Task, Any], None],
    ) -> None:
        """Do every task; `report` and `told` are called one at a time, in the caller's thread.

        An exception of the work itself ends the run: it is raised here.
        """
        ...


class SerialFarm:
    """One task after the other in this process: nothing to start, no protection."""

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        told: Callable[[Task, Any], None],
    ) -> None:
        """Do the tasks in order."""
        for task in tasks:
            report(task, work(task, partial(told, task)))


def tell_nobody(*_message: object) -> None:
    """Let a message come to nothing."""
