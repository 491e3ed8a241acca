"""The first directory of a TIFF in two small reads: what a search through folders looks at."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

MOST_TAGS: Final = 512
DESCRIPTION_BYTES: Final = 4096
"""As much of a description is read."""

_WIDTH, _HEIGHT, _PHOTOMETRIC, _DESCRIPTION, _SAMPLES, _TILE_WIDTH = 256, 257, 262, 270, 277, 322
_NUMBERS: Final = {3: "H", 4: "I", 16: "Q"}
_GRAY_OR_PALETTE: Final = frozenset({0, 1, 3, 4})


@dataclass(frozen=True, slots=True)
class TiffHead:
    """What the first page says of itself."""

    width: int
    height: int
    is_tiled: bool
    is_colorless: bool
    """Gray, black and white, or a palette."""
    description: str
    """Its first 4 KiB."""


def read_tiff_head(file: BinaryIO) -> TiffHead | None:
    """Return what the first page of a TIFF says, None where it has none that can be read."""
    try:
        return _read(file)
    except (struct.error, OSError, ValueError, OverflowError):
        return None


def _read(file: BinaryIO) -> TiffHead | None:
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        return None
    is_big = struct.unpack(f"{order}H", start[2:4])[0] == 43  # BigTIFF
    word, n_bytes = (f"{order}Q", 8) if is_big else (f"{order}I", 4)
    file.seek(struct.unpack(word, start[8:16] if is_big else start[4:8])[0])
    count_form, entry_bytes = (f"{order}Q", 20) if is_big else (f"{order}H", 12)
    (n_tags,) = struct.unpack(count_form, file.read(struct.calcsize(count_form)))
    table = file.read(min(n_tags, MOST_TAGS) * entry_bytes)
    if len(table) < min(n_tags, MOST_TAGS) * entry_bytes:
        return None  # cut off
    values: dict[int, int] = {}
    description = b""
    for at in range(0, len(table) - entry_bytes + 1, entry_bytes):
        tag, kind = struct.unpack_from(f"{order}HH", table, at)
        (count,) = struct.unpack_from(word, table, at + 4)
        value = table[at + entry_bytes - n_bytes : at + entry_bytes]
        if tag == _DESCRIPTION:
            description = _text(file, value, count, word)
        elif kind in _NUMBERS and count == 1:
            values[tag] = struct.unpack_from(f"{order}{_NUMBERS[kind]}", value)[0]
    if _WIDTH not in values or _HEIGHT not in values:
        return None
    return TiffHead(
        width=values[_WIDTH],
        height=values[_HEIGHT],
        is_tiled=_TILE_WIDTH in values,
        is_colorless=values.get(_PHOTOMETRIC, 0) in _GRAY_OR_PALETTE or values.get(_SAMPLES, 1) < 3,
        description=description.decode("utf-8", "replace").rstrip("\0"),
    )


def _text(file: BinaryIO, value: bytes, count: int, form: str) -> bytes:
    if count <= len(value):
        return value[:count]
    file.seek(struct.unpack(form, value)[0])
    return file.read(min(count, DESCRIPTION_BYTES))
