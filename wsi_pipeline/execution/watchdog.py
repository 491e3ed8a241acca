"""The watchdog of this process, and what it leaves: where the process stood when it was ended.

Two limits guard against work that hangs. The watchdog ends its own process where that gives no sign
of life for `execution.stall_seconds`, and writes where each thread stood. It runs in C (Python's
faulthandler), whatever holds the interpreter, which no thread of Python's could. Whoever waits for
a process from outside gives it up after the outer limit, twice as long: it is for what no process
can end itself from, such as a drive that never answers. An executor arms the watchdog for each
task, and what a task tells of its progress resets it: the work itself need not know of it.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TextIO

from wsi_pipeline.files import create_file, read_below

CRASH_NAME: Final = "crash.txt"
MOST_DUMP_BYTES: Final = 2**20
STDERR: Final = 2


def outer_limit(stall_seconds: float) -> float:
    """Return after how many seconds of silence a process is given up from outside."""
    return 2.0 * stall_seconds


class _Watchdog:
    """Python's faulthandler, which has one timer and one file, for all that a process does.

    With several tasks at a time a hang shows once all of them stand still.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[float] = []
        self._files: list[TextIO] = []

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """End the process after so long without a sign of life."""
        with self._lock:
            self._limits.append(seconds)
            self._arm()
        try:
            yield
        finally:
            with self._lock:
                self._limits.remove(seconds)
                self._arm()

    @contextmanager
    def file(self, file: TextIO) -> Iterator[None]:
        """Write into the file what a crash or a hang leaves."""
        with self._lock:
            self._files.append(file)
            self._write_to_last()
        try:
            yield
        finally:
            with self._lock:
                self._files.remove(file)
                self._write_to_last()

    def reset(self) -> None:
        """Take in a sign of life."""
        with self._lock:
            self._arm()

    def _arm(self) -> None:
        if self._limits:
            file = self._files[-1] if self._files else STDERR
            faulthandler.dump_traceback_later(max(self._limits), exit=True, file=file)
        else:
            faulthandler.cancel_dump_traceback_later()

    def _write_to_last(self) -> None:
        if self._files:
            faulthandler.enable(file=self._files[-1])
        else:
            faulthandler.disable()
        self._arm()


_watchdog: Final = _Watchdog()


@contextmanager
def watched(
    stall_seconds: float | None, on_stall: Callable[[], None] | None = None
) -> Iterator[Callable[[], None]]:
    """Watch over a task in this process; give the function to call at each sign of life.

    Parameters
    ----------
    stall_seconds : float, optional
        The process is ended after so long without a sign of life; None: others watch over it.
    on_stall : callable, optional
        Is called instead, from a thread of the watchdog's, in a process that nobody outside waits
        for: it has to keep what there is and end the process. Where even that hangs, or the
        interpreter is held, the process is ended after the outer limit.
    """
    if stall_seconds is None:
        yield _nothing
        return
    with ExitStack() as stack:
        if on_stall is None:
            stack.enter_context(_watchdog.limit(stall_seconds))
            yield _watchdog.reset
            return
        stack.enter_context(_watchdog.limit(outer_limit(stall_seconds)))
        silence = _Silence(stall_seconds, on_stall)
        stack.callback(silence.is_over.set)

        def alive() -> None:
            _watchdog.reset()
            silence.last = time.monotonic()

        yield alive


class _Silence:
    """Waits, in a thread of its own, for `seconds` without a sign of life."""

    def __init__(self, seconds: float, on_stall: Callable[[], None]) -> None:
        self.last, self.is_over = time.monotonic(), threading.Event()
        self._seconds, self._on_stall = seconds, on_stall
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        left = self._seconds
        while not self.is_over.wait(left):
            left = self.last + self._seconds - time.monotonic()
            if left <= 0:
                self._on_stall()
                return


@contextmanager
def crash_dump(folder: Path) -> Iterator[None]:
    """Have a crash meanwhile, and the watchdog, write the stack of each thread into the folder.

    The file is empty, and removed, where nothing happened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CRASH_NAME
    with create_file(path) as file, _watchdog.file(file):
        yield
    path.unlink(missing_ok=True)


def note_where_it_hangs(folder: Path) -> None:
    """Write the stack of every thread of this process into the slide's file."""
    with create_file(folder / CRASH_NAME) as file:
        faulthandler.dump_traceback(file=file)


def read_crash_dump(folder: Path) -> str:
    """Return what a process that died over a slide has left, "" where it left nothing."""
    try:
        data = read_below(folder / CRASH_NAME, root=folder, most_bytes=MOST_DUMP_BYTES)
        return data.decode("utf-8", "replace")
    except OSError:
        return ""


def is_stall(dump: str) -> bool:
    """Return whether the process was ended because it stood still: so faulthandler begins then."""
    return dump.startswith("Timeout (")


def remove_crash_dump(folder: Path) -> None:
    """Remove what a process left, once it stands in the record."""
    (folder / CRASH_NAME).unlink(missing_ok=True)


def _nothing() -> None:
    pass
