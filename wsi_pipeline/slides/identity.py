"""What a slide is, whatever it is called and wherever it lies: a fingerprint of all of its files.

Read of each file: all of it up to 4 MiB, else 32 pieces of 32 KiB (1 MiB) spread evenly from its
first byte to its last, and its size. Names, folders and times play no part, so that a slide that
was moved or renamed is the same slide, and another scan of the same name is not.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from wsi_pipeline.slides.content_hash import sampled_sha256
from wsi_pipeline.slides.dicom_header import read_dicom_header

PIECES: Final = 32
PIECE_BYTES: Final = 1 << 15
INDEX_BYTES: Final = 65_536
"""As much of a .vms or .vmu is read for the names of its parts."""
MOST_FILES: Final = 20_000
"""Of one slide; a folder with more is not that of a slide."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the system says of a slide's files: equal stamps are taken for equal content."""

    n_files: int
    n_bytes: int
    newest_mtime_ns: int


def slide_files(path: Path) -> tuple[Path, ...]:
    """Return all files of the slide that one of them names, the named one first.

    The data folder of a MIRAX slide, the pictures that a Hamamatsu .vms or .vmu names, the other
    instances of a DICOM series beside it; of any other format the file alone.
    """
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        return (path, *sorted(_files_below(path.with_suffix(""))))
    if suffix in (".vms", ".vmu"):
        return (path, *sorted(set(index_parts(path)) - {path}))
    return (path, *_other_instances(path, _folder_stamp(path.parent)))


def index_parts(path: Path) -> list[Path]:
    """Return the files beside it that a Hamamatsu .vms or .vmu names, where they are."""
    try:
        with path.open("rb") as file:
            text = file.read(INDEX_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    names = (line.partition("=")[2].strip() for line in text.splitlines())
    beside = (path.parent / name for name in names if name and not set("/\\") & set(name))
    return [part for part in beside if part.is_file()]


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a slide's files; None where the named one is out of reach, or no file."""
    try:
        if not path.is_file():
            return None
        stats = [part.stat() for part in slide_files(path)]
    except (OSError, ValueError):
        return None
    return Stamp(len(stats), sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats))


def fingerprint(path: Path) -> str:
    """Return the sha256 of what a slide's files hold, see the module.

    Raises
    ------
    OSError
        Where a file cannot be read.
    """
    return _fingerprint(path, stamp_of(path))


@lru_cache(maxsize=4096)
def _fingerprint(path: Path, _stamp: Stamp | None) -> str:
    digests = [sampled_sha256(part, PIECES, PIECE_BYTES) for part in slide_files(path)]
    # Companions in the order of their content: their names are no part of what the slide is.
    return hashlib.sha256("|".join([digests[0], *sorted(digests[1:])]).encode()).hexdigest()


def _files_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found: list[Path] = []
    for place, _, names in os.walk(folder):
        found += [Path(place) / name for name in names]
        if len(found) > MOST_FILES:
            break
    return [part for part in found if part.is_file()]


def _folder_stamp(folder: Path) -> int:
    """Return what changes when files come to a folder, or leave it."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=4096)
def _other_instances(path: Path, folder_stamp: int) -> tuple[Path, ...]:
    """Return the other files of a DICOM series; none for what is no DICOM."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return ()
    series = _series(path.parent, folder_stamp)
    mine = next((uid for uid, parts in series.items() if path in parts), "")
    return tuple(part for part in series.get(mine, ()) if part != path) if mine else ()


@lru_cache(maxsize=64)
def _series(folder: Path, _folder_stamp: int) -> dict[str, tuple[Path, ...]]:
    """Return the DICOM files of a folder by their series."""
    found: dict[str, list[Path]] = {}
    for part in sorted(folder.iterdir()):
        header = read_dicom_header(part) if part.is_file() else None
        if header is not None and header.is_slide and header.series:
            found.setdefault(header.series, []).append(part)
    return {uid: tuple(parts) for uid, parts in found.items()}
