"""Threads of their own for the kinds of work that may take long.

What reads (tiles, pages, figures) shares the framework's threads. What may wait for a lock, compute
or unpack has a few threads of its own and a bounded queue: however many ask, the readers' threads
stay free, and who would wait too long is told at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from wsi_pipeline.web.errors import BusyError

Result = TypeVar("Result")

AT_ONCE: Final = 2
WAITING: Final = 64
PATIENCE_SECONDS: Final = 20.0


class Lane:
    """A few threads and a bounded queue for one kind of work.

    Parameters
    ----------
    name : str
        What waits, for the words of a refusal: "saving".
    at_once : int
        Threads.
    waiting : int
        How many may wait for one of them.
    patience_seconds : float
        How long one waits at most before the work begins; work that has begun is finished.
    """

    def __init__(
        self,
        name: str,
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._name, self._most = name, at_once + waiting
        self._patience_seconds = patience_seconds
        self._pool = ThreadPoolExecutor(at_once, f"lane-{name}")
        self._count, self._lock = 0, threading.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do the work in a thread of the lane and return its result.

        Raises
        ------
        BusyError
            Where too many wait already, or the work did not begin in time.
        """
        self._enter()
        until = time.monotonic() + self._patience_seconds
        context = contextvars.copy_context()

        def begin() -> Result:
            if time.monotonic() > until:
                raise self._busy()
            return context.run(work)

        def leave(_done: object) -> None:
            with self._lock:
                self._count -= 1

        try:
            future = self._pool.submit(begin)
        except RuntimeError:  # the server is going down
            leave(None)
            raise self._busy() from None
        future.add_done_callback(leave)
        return await asyncio.wrap_future(future)

    def _enter(self) -> None:
        with self._lock:
            if self._count >= self._most:
                raise self._busy()
            self._count += 1

    def _busy(self) -> BusyError:
        return BusyError(f"too many wait for {self._name}", "Try again in a few seconds")


@dataclass(frozen=True, slots=True)
class Lanes:
    """The kinds of work that do not take the readers' threads."""

    saving: Lane = field(default_factory=lambda: Lane("saving", 4))
    """May wait for the lock of a review, and makes drawn outlines valid."""
    computing: Lane = field(default_factory=lambda: Lane("regions"))
    """Regions at another threshold."""
    classifying: Lane = field(default_factory=lambda: Lane("the model", 1, 8))
    """Unpacks and classifies uploads: one at a time is in memory."""
    signing_in: Lane = field(default_factory=lambda: Lane("signing in"))
    """Hashes passwords, slowly by design."""
