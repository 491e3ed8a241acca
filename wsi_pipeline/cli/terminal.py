"""Standard error is ours alone: log lines, errors and the progress bar never break each other.

TensorFlow, LiteRT and codecs write from C++ straight to file descriptor 2, which no handler of
Python's sees. So the process gets a standard error of its own, and what else is written there
comes back as log lines: known chatter at level INFO, everything else as a warning.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from wsi_pipeline.cli.printing import printable, tamed

CHATTER: Final = re.compile(
    r"INFO: |WARNING: All log messages before absl"  # LiteRT; absl before it is set up
    r"|[IW]\d{4} |[IW]0000 00:00"  # absl and glog
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "  # TensorFlow
    r"|To enable the following instructions|.*oneDNN custom operations"
)
"""What libraries say of themselves at every start; nobody can do anything about it."""
JOIN_SECONDS: Final = 1.0
TICK_SECONDS: Final = 1.0
libraries = logging.getLogger("wsi_pipeline.libraries")


class JsonFormatter(logging.Formatter):
    """One JSON object a line; every line of a run carries its id."""

    run_id = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            **({"run_id": self.run_id} if self.run_id else {}),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return printable(json.dumps(line, ensure_ascii=False, default=str))


class LineFormatter(logging.Formatter):
    """One line a record, whatever stands in the names that it tells of; then its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the line."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and the traceback, if there is one."""
        return tamed(super().format(record))


class TerminalHandler(logging.Handler):
    """Writes to what is standard error at that moment, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            with above_the_bar():
                sys.stderr.write(self.format(record) + "\n")
                sys.stderr.flush()
        except (OSError, ValueError):  # closed by whoever reads it
            self.handleError(record)


@contextmanager
def above_the_bar() -> Iterator[None]:
    """Take a progress bar away while something is written, and draw it again below."""
    tqdm = sys.modules.get("tqdm")  # where nobody has loaded it there is no bar
    if tqdm is None:
        yield
        return
    with tqdm.tqdm.external_write_mode(file=sys.stderr):
        yield


class Ticker:
    """Lets the time of a progress bar go on while one slide is done, which may take minutes.

    The thread that tqdm has of its own redraws a bar once after each step, not until the next.

    Parameters
    ----------
    bar : tqdm
        Closed with the ticker.
    """

    def __init__(self, bar: Any) -> None:
        self._bar, self._ended = bar, threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the bar away; nothing draws it again."""
        self._ended.set()
        self._thread.join()
        self._bar.close()

    def _tick(self) -> None:
        with suppress(OSError, ValueError):  # closed by whoever reads it
            while not self._ended.wait(TICK_SECONDS):
                self._bar.refresh()


def set_up_logging(*, verbose: bool, as_json: bool) -> None:
    """Send what is logged to the terminal; of foreign libraries errors alone unless asked."""
    handler = TerminalHandler()
    handler.setFormatter(
        JsonFormatter() if as_json else LineFormatter("%(levelname)s: %(message)s")
    )
    package, root = logging.getLogger("wsi_pipeline"), logging.getLogger()
    package.handlers[:] = [handler]
    package.setLevel(logging.INFO if verbose or as_json else logging.WARNING)
    package.propagate = False
    foreign = TerminalHandler(logging.WARNING if verbose or as_json else logging.ERROR)
    foreign.setFormatter(handler.formatter)
    kept = [one for one in root.handlers if not isinstance(one, TerminalHandler)]
    root.handlers[:] = [*kept, foreign]


@contextmanager
def standard_error_of_our_own(*, as_json: bool) -> Iterator[None]:
    """Let nothing but this package write to standard error; for a process that is a command.

    Worker processes inherit the descriptor, so that their crash dumps arrive too. Words that C++
    writes while it ends this very process may be lost: faulthandler's stack is not.
    """
    # Dask would give its loggers handlers of their own; without them they come to the root.
    os.environ.setdefault("DASK_LOGGING", "{'version': 1, 'disable_existing_loggers': False}")
    logging.captureWarnings(capture=True)
    if as_json:
        sys.excepthook = _log_traceback
    sys.stderr.flush()
    ours, before = os.dup(2), sys.stderr
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    sys.stderr = os.fdopen(ours, "w", 1, "utf-8", "backslashreplace")
    relay = threading.Thread(target=_relay, args=(reading,), daemon=True)
    relay.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(ours, 2)  # ends the pipe, unless a child process that goes on holds it too
        relay.join(JOIN_SECONDS)
        sys.stderr = before


def _relay(reading: int) -> None:
    with os.fdopen(reading, encoding="utf-8", errors="backslashreplace") as lines:
        for line in lines:
            if line.strip():
                level = logging.INFO if CHATTER.match(line) else logging.WARNING
                libraries.log(level, "%s", line.rstrip())


def _log_traceback(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    logging.getLogger("wsi_pipeline").critical(
        "%s: %s", kind.__name__, error, exc_info=(kind, error, traceback)
    )
