"""What goes to a terminal or a log: words in names cannot steer it, nor make lines of their own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO, cast

_STEERING: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Control characters but tab and line ends, and what turns the direction of writing."""
_CONTROLS: Final = re.compile(f"[{_STEERING}]")
_CONTROLS_AND_LINES: Final = re.compile(f"[{_STEERING}\n\r\u2028\u2029\x85]")


def printable(text: str) -> str:
    """Return a text in one line, with control characters written out as in JSON."""
    return _CONTROLS_AND_LINES.sub(_written_out, text)


def tamed(text: str) -> str:
    """Return a text whose lines are as they are, with its other control characters written out."""
    return _CONTROLS.sub(_written_out, text)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things; `many` where it is not `one` with an s.

    Examples
    --------
    >>> counted(1, "region"), counted(0, "region"), counted(2, "patch", "patches")
    ('1 region', '0 regions', '2 patches')
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """Return a duration as people say it.

    Examples
    --------
    >>> duration(40), duration(200), duration(9000)
    ('40 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _written_out(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


class TamedStream:
    """A stream that gets no control characters but tabs and line ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text with its control characters written out."""
        self._stream.write(tamed(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the stream has."""
        return getattr(self._stream, name)


@contextmanager
def tamed_output() -> Iterator[None]:
    """Let nothing that is printed steer the terminal."""
    stream = sys.stdout
    sys.stdout = cast("TextIO", TamedStream(stream))
    try:
        yield
    finally:
        sys.stdout = stream
