"""Files made to do harm, small enough for a test, and a process of one's own to open them in."""

from __future__ import annotations

import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

SHORT, LONG, ASCII = 3, 4, 2
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


def directory(tags: dict[int, tuple[int, int, int]], following: int) -> bytes:
    """Return a TIFF directory of tags (kind, count, value) that names the next one."""
    body = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    return struct.pack("<H", len(tags)) + body + struct.pack("<I", following)


def picture_tags(**changes: tuple[int, int, int]) -> dict[int, tuple[int, int, int]]:
    """Return the tags of an RGB picture of 256 x 256 px in one strip."""
    numbers = {256: 256, 257: 256, 258: 8, 259: 1, 262: 2, 273: 8, 277: 3, 278: 256, 279: 16}
    tags = {tag: (LONG if tag in (273, 279) else SHORT, 1, value) for tag, value in numbers.items()}
    return tags | {int(tag[1:]): value for tag, value in changes.items()}


def tiff(*directories: bytes) -> bytes:
    """Return a TIFF of directories, which stand one after the other from byte 8."""
    return b"II*\0" + struct.pack("<I", 8) + b"".join(directories)


def circle() -> bytes:
    """Return a TIFF whose two directories name each other."""
    first = directory(picture_tags(), 0)
    second_at = 8 + len(first)
    return tiff(directory(picture_tags(), second_at), directory(picture_tags(), 8))


def tile_bomb(side: int = 16_384) -> bytes:
    """Return a TIFF of 256 x 256 px with one tile of side x 21,840 px, which is not there."""
    tags = picture_tags(
        t322=(LONG, 1, side), t323=(LONG, 1, 21_840), t324=(LONG, 1, 8), t325=(LONG, 1, 16)
    )
    for tag in (273, 278, 279):
        del tags[tag]
    return tiff(directory(tags, 0))


def jpeg_of(width: int, height: int, *, stated: tuple[int, int] | None = None) -> bytes:
    """Return a gray JPEG; `stated` stands in its header instead of its size."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), (200, 180, 200)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    if stated:
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", stated[1], stated[0])
    return bytes(data)


def many_scans(n: int = 200) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    buffer = BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    at = data.rindex(b"\xff\xda")
    scan = data[at:-2]
    return data[:at] + scan * n + data[-2:]


MEASURED = """
import resource, sys
import PIL.Image, tifffile, numpy, openslide
{imports}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {code}
    print("done")
except Exception as error:
    print(type(error).__name__, str(error).replace(chr(10), " "))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def measured(imports: str, code: str, *arguments: Any, **options: Any) -> tuple[str, int]:
    """Run code in a process; return what it said and by how many MB it grew at its largest."""
    program = MEASURED.format(imports=imports, code=code)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        **options,
    )
    *words, megabytes = done.stdout.splitlines()
    return "\n".join(words), int(megabytes)


def ghostscript_that_tells(folder: Path) -> Path:
    """Put a program `gs` into a folder that leaves a mark; return where the mark will be."""
    mark = folder / "gs_was_started"
    program = folder / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(0o755)
    return mark
