"""Lines that a library writes from C++ straight to file descriptor 2, turned into log lines.

No handler of Python's sees them. The commands have a standard error of their own anyway
(`cli.terminal`); a program that imports this package must not be given one behind its back, so
here the descriptor is turned aside for the one call that writes, and all else goes through.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

JOIN_SECONDS: Final = 1.0
libraries = logging.getLogger("wsi_pipeline.libraries")


@contextmanager
def logged_lines(start: bytes) -> Iterator[None]:
    """Log lines of standard error that begin so, at level INFO; pass all others on as they come.

    For calls of milliseconds, one at a time in a process. What other threads write meanwhile
    arrives. So do words of child processes that begin in this time and outlive it: their end of the
    pipe is read until they close it.

    Parameters
    ----------
    start : bytes
        What the lines begin with that the call is known to write.
    """
    try:
        before = os.dup(2)
    except OSError:  # a service without standard error has nothing to keep clean
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    reading, writing = os.pipe()
    relay = threading.Thread(target=_relay, args=(reading, before, start), daemon=True)
    relay.start()
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        os.dup2(before, 2)  # ends the pipe, unless a child process holds it too
        relay.join(JOIN_SECONDS)


def _relay(reading: int, before: int, start: bytes) -> None:
    with os.fdopen(reading, "rb") as lines, os.fdopen(before, "wb", buffering=0) as passed_on:
        for line in lines:
            if line.startswith(start):
                libraries.info("%s", line.decode(errors="backslashreplace").rstrip())
            else:
                passed_on.write(line)
