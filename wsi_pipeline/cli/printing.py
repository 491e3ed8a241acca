"""What goes to a terminal or a log: words in names cannot steer it."""

from __future__ import annotations

from typing import Any, Final, TextIO

_KEPT: Final = frozenset("\n\r\t")
"""What this program writes itself: line ends, and the progress bar's return."""
_DIRECTIONS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
"""Turn the order of the letters around them: "fdp.exe" reads "exe.pdf"."""


def printable(text: str) -> str:
    """Return a text in one line, with control characters written out."""
    return "".join(_written_out(c) for c in text)


def _written_out(c: str) -> str:
    is_control = ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in _DIRECTIONS
    return c.encode("unicode_escape").decode() if is_control or 0xD800 <= ord(c) < 0xE000 else c


class TamedStream:
    """A stream that gets no control characters but line ends and tabs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text with its control characters written out."""
        return self._stream.write("".join(c if c in _KEPT else _written_out(c) for c in text))

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the stream has."""
        return getattr(self._stream, name)
