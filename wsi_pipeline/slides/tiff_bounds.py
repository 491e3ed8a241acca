"""Is a TIFF bounded? Asked of its directories before any decoder or library sees the file.

A few hundred bytes can state directories that form a circle, a tile of a gigabyte in a picture of a
thumbnail's size, or a description of a hundred megabytes; libraries believe them. Here the
directories are walked once, with nothing but their tables read. What is damaged in another way is
left to the readers, which say so in their words.

References
----------
TIFF 6.0 (1992); BigTIFF (2007). Of NDPI, whose offsets have eight bytes in a classic TIFF:
OpenSlide's openslide-decode-tifflike.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from wsi_pipeline.errors import SlideOpenError

MOST_DIRECTORIES: Final = 4096
"""Levels, focal planes, labels: slides have a dozen, stacks a few hundred."""
MOST_SUB_DIRECTORIES: Final = 256
MOST_ENTRIES: Final = 4096
MOST_VALUE_BYTES: Final = 32 * 2**20
"""Of a tag: descriptions and color profiles have kilobytes, some vendors' XML a few megabytes."""
MOST_TABLE_BYTES: Final = 256 * 2**20
"""Of a table of tiles or strips: 16 million of them."""
MOST_TILE_BYTES: Final = 64 * 2**20
"""Unpacked: 4096 x 4096 px of four bytes."""

_KIND_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8} | {
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_TABLES: Final = frozenset({273, 279, 324, 325})
"""StripOffsets, StripByteCounts, TileOffsets, TileByteCounts."""
_BITS, _SAMPLES, _PLANES = 258, 277, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_DEPTH = 322, 323, 32998
_SUB_DIRECTORIES, _NDPI = 330, 65420
_ADVICE: Final = "It is damaged or made to do harm: export the slide again"


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers stand in the file."""

    order: str
    is_big: bool
    is_ndpi: bool = False

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.is_big or self.is_ndpi else "I")

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.is_big else "I")

    @property
    def entries(self) -> str:
        return self.order + ("Q" if self.is_big else "H")

    @property
    def entry_bytes(self) -> int:
        return 20 if self.is_big else 12


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    value: bytes
    """As it stands in the directory: the value itself, or where it is."""


def check_tiff(path: Path) -> None:
    """Refuse a TIFF that is not bounded; anything else passes.

    Raises
    ------
    SlideOpenError
        Where its directories form a circle or are too many, or a tag or a tile is too large.
    """
    try:
        with path.open("rb") as file:
            check_tiff_file(file, path.name)
    except OSError as error:
        raise SlideOpenError(
            f"{path.name} cannot be read ({error.strerror})", "Check the drive and its permissions"
        ) from error


def check_tiff_file(file: BinaryIO, name: str) -> None:
    """Refuse a TIFF that is not bounded, see `check_tiff`; `name` stands in the refusal."""
    found = _begin(file)
    if found is None:
        return
    layout, offset = found
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise SlideOpenError(f"{name}: the directories of the TIFF form a circle", _ADVICE)
        seen.add(offset)
        if len(seen) > MOST_DIRECTORIES:
            raise SlideOpenError(f"{name} has more than {MOST_DIRECTORIES} TIFF pages", _ADVICE)
        directory, offset = _directory(file, offset, layout)
        _check(name, directory, layout.order)
        for place in _sub_directories(file, directory, layout, name):
            _check(name, _directory(file, place, layout)[0], layout.order)


def _begin(file: BinaryIO) -> tuple[_Layout, int] | None:
    """Return the layout and the place of the first directory; None where it is no TIFF."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return None
    (version,) = struct.unpack(f"{order}H", head[2:4])
    if version not in (42, 43):
        return None
    layout = _Layout(order, version == 43)
    start = head[8:16] if layout.is_big else head[4:8]
    (offset,) = struct.unpack(layout.offset, start)
    directory, _ = _directory(file, offset, layout)
    if _NDPI in directory and not layout.is_big:
        (offset,) = struct.unpack(f"{order}Q", head[4:12])
        layout = _Layout(order, is_big=False, is_ndpi=True)
    return layout, offset


def _directory(file: BinaryIO, offset: int, layout: _Layout) -> tuple[dict[int, _Entry], int]:
    """Return the entries of a directory by tag and where the next is; nothing where it is cut."""
    try:
        file.seek(offset)
        (n_entries,) = struct.unpack(layout.entries, file.read(struct.calcsize(layout.entries)))
        if n_entries > MOST_ENTRIES:
            return {}, 0
        table = file.read(n_entries * layout.entry_bytes)
        (following,) = struct.unpack(layout.offset, file.read(struct.calcsize(layout.offset)))
        return dict(_entries(table, layout)), following
    except (struct.error, OverflowError, ValueError, OSError):
        return {}, 0


def _entries(table: bytes, layout: _Layout) -> Iterator[tuple[int, _Entry]]:
    for at in range(0, len(table), layout.entry_bytes):
        tag, kind = struct.unpack_from(f"{layout.order}HH", table, at)
        (count,) = struct.unpack_from(layout.count, table, at + 4)
        value = table[at + (12 if layout.is_big else 8) : at + layout.entry_bytes]
        yield tag, _Entry(kind, count, value)


def _check(name: str, directory: dict[int, _Entry], order: str) -> None:
    for tag, entry in directory.items():
        n_bytes = entry.count * _KIND_BYTES.get(entry.kind, 1)
        if n_bytes > (MOST_TABLE_BYTES if tag in _TABLES else MOST_VALUE_BYTES):
            raise SlideOpenError(f"{name}: TIFF tag {tag} has {n_bytes / 1e6:.0f} MB", _ADVICE)
    width, height = (_number(directory, tag, order, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    samples = 1 if _number(directory, _PLANES, order, 1) == 2 else _samples(directory, order)
    depth = _number(directory, _TILE_DEPTH, order, 1)
    n_bytes = width * height * depth * samples * max(_number(directory, _BITS, order, 8) // 8, 1)
    if n_bytes > MOST_TILE_BYTES:
        raise SlideOpenError(
            f"{name}: a tile of {width} x {height} px has {n_bytes / 1e6:.0f} MB unpacked, at most "
            f"{MOST_TILE_BYTES / 1e6:.0f} MB are read",
            _ADVICE,
        )


def _samples(directory: dict[int, _Entry], order: str) -> int:
    return max(_number(directory, _SAMPLES, order, 1), 1)


def _number(directory: dict[int, _Entry], tag: int, order: str, default: int) -> int:
    """Return the first number of a tag, where it stands in the directory itself."""
    entry = directory.get(tag)
    form = _NUMBERS.get(entry.kind) if entry else None
    if (
        entry is None
        or form is None
        or not 0 < entry.count * _KIND_BYTES[entry.kind] <= len(entry.value)
    ):
        return default
    return int(struct.unpack_from(order + form, entry.value)[0])


def _sub_directories(
    file: BinaryIO, directory: dict[int, _Entry], layout: _Layout, name: str
) -> list[int]:
    entry = directory.get(_SUB_DIRECTORIES)
    form = _NUMBERS.get(entry.kind) if entry else None
    if entry is None or form is None:
        return []
    if entry.count > MOST_SUB_DIRECTORIES:
        raise SlideOpenError(f"{name} has {entry.count} TIFF pages below one page", _ADVICE)
    n_bytes = entry.count * _KIND_BYTES[entry.kind]
    data = entry.value
    if n_bytes > len(data):
        try:
            file.seek(struct.unpack_from(layout.offset, data.ljust(8, b"\0"))[0])
            data = file.read(n_bytes)
        except (OverflowError, ValueError, OSError):
            return []
    is_whole = len(data) >= n_bytes
    return list(struct.unpack_from(f"{layout.order}{entry.count}{form}", data)) if is_whole else []
