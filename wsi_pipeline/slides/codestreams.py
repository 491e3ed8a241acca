"""What a compressed picture says of its size, before a decoder believes it.

References
----------
JPEG: ITU-T T.81, annex B. JPEG 2000: ITU-T T.800, annexes A and I.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MOST_SCANS: Final = 64
"""Of a progressive JPEG; encoders write a dozen. Each is a pass over the whole picture."""

_NO_FRAME: Final = frozenset({0xC4, 0xC8, 0xCC})
"""Among the markers C0 to CF those that begin no frame."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length."""
_START_OF_SCAN: Final = b"\xff\xda"
_J2K: Final = b"\xff\x4f\xff\x51"


class StreamSize(NamedTuple):
    """Of the picture that a stream holds."""

    width: int
    height: int


def jpeg_size(data: bytes) -> StreamSize | None:
    """Return the size in the frame header of a JPEG; None where there is none before the scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            if at + 9 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            return StreamSize(width, height)
        if marker in (0xD9, 0xDA):
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg_has_few_scans(data: bytes) -> bool:
    """Tell whether a JPEG is decoded in a bounded number of passes."""
    return data.count(_START_OF_SCAN) <= MOST_SCANS


def jpeg2000_size(data: bytes) -> StreamSize | None:
    """Return the size in the SIZ marker of a JPEG 2000 code stream, raw or in a JP2 file."""
    start = data.find(_J2K, 0, 65_536)
    if start < 0 or start + 24 > len(data):
        return None
    x, y, x0, y0 = struct.unpack_from(">IIII", data, start + 8)
    return StreamSize(max(x - x0, 0), max(y - y0, 0))
