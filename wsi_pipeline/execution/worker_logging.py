"""What is logged in other processes, said again in the one that the user watches.

There it goes where all logs of a run go, under the run's id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Record = tuple[str, int, str, dict[str, Any]]
"""Logger, level, text and facts: what survives the way between processes."""


class _Sender(logging.Handler):
    def __init__(self, send: Callable[[Record], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self._send((record.name, record.levelno, text, getattr(record, "facts", {})))


def send_logs(send: Callable[[Record], None]) -> None:
    """Send what this process logs, from now on, instead of writing it."""
    root = logging.getLogger("wsi_pipeline")
    root.handlers[:] = [_Sender(send)]
    root.setLevel(logging.INFO)
    root.propagate = False


@contextmanager
def logs_sent_to(send: Callable[[Record], None]) -> Iterator[None]:
    """Send what this process logs meanwhile, and write it as before too."""
    root, sender = logging.getLogger("wsi_pipeline"), _Sender(send)
    level = root.level
    root.addHandler(sender)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(sender)
        root.setLevel(level)


def log_again(record: Record) -> None:
    """Log what another process has sent."""
    name, level, text, facts = record
    logging.getLogger(name).log(level, "%s", text, extra={"facts": facts})
