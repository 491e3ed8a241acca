"""From what the user names to the slides to do: files, folders, lists."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsi_pipeline.archive.discovery import (
    MULTI_FILE_SUFFIXES,
    Inventory,
    one_a_series,
    search_folder,
)
from wsi_pipeline.archive.file_kinds import FoundFile, Role
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.slides import SLIDE_SUFFIXES
from wsi_pipeline.slides.dicom_header import read_dicom_header

_NO_DICOM: Final = SLIDE_SUFFIXES - {".dcm"}


@dataclass(frozen=True, slots=True)
class SlideEntry:
    """One slide that the user asked for."""

    slide_id: str
    """Unique in the run; a file's stem where that is unique."""
    path: Path
    mpp_override: Mpp | None = None
    """From the slide list, µm/px."""


@dataclass(frozen=True, slots=True)
class FoundSlides:
    """The slides that the inputs name, and what became of every other file."""

    entries: list[SlideEntry]
    inventory: Inventory
    """Of the folders that were searched."""


def search_inputs(inputs: Sequence[str | Path]) -> FoundSlides:
    """Return the slides named by files, folders (searched recursively) and CSV lists.

    Raises
    ------
    ConfigError
        Where an input does not exist, a folder holds no slide or a list cannot be used.
    """
    entries: list[SlideEntry] = []
    files: list[FoundFile] = []
    for item in map(Path, inputs):
        if item.is_dir():
            inventory = _searched(item)
            files += inventory.files
            entries.extend(_entry_of(found) for found in inventory.slides)
        elif item.suffix.lower() == ".csv" and item.is_file():
            entries.extend(read_slide_list(item))
        elif item.exists():
            entries.append(SlideEntry(item.stem, item.absolute()))
        else:
            raise ConfigError(f"there is no {item}", "Name slide files, folders or a CSV list")
    if not entries:
        raise ConfigError("the lists name no slides", "Is every row marked in the column `skip`?")
    kept, parts = _one_a_series(_once(entries))
    if parts:  # of a slide that was named file by file
        known = {found.path for found in files}
        named = [FoundFile(entry.path, Role.SLIDE) for entry in kept]
        files += [found for found in (*named, *parts) if found.path not in known]
    return FoundSlides(_unique(kept), Inventory(tuple(files)))


def find_slides(inputs: Sequence[str | Path]) -> list[SlideEntry]:
    """Return the slides of `search_inputs` alone."""
    return search_inputs(inputs).entries


def _searched(folder: Path) -> Inventory:
    try:
        inventory = search_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be read: {error.strerror}", "Check the drive and its permissions"
        ) from error
    if not inventory.slides:
        left_out = inventory.describe()
        raise ConfigError(
            f"{folder} holds no slides" + (f" ({left_out})" if left_out else ""),
            f"Looked for {', '.join(sorted(SLIDE_SUFFIXES))}, and for TIFF and DICOM of any name",
        )
    return inventory


def _entry_of(found: FoundFile) -> SlideEntry:
    """Return the entry of a file; a link to one of several files leads to where the others are."""
    path = found.path.absolute()
    is_one_of_several = path.suffix.lower() in MULTI_FILE_SUFFIXES
    return SlideEntry(path.stem, path.resolve() if is_one_of_several else path)


def _one_a_series(entries: list[SlideEntry]) -> tuple[list[SlideEntry], list[FoundFile]]:
    """Keep the first entry of each DICOM series that is named file by file; return the rest too."""
    found = one_a_series(_as_found(entry.path) for entry in entries)
    parts = [one for one in found if one.role is Role.PART]
    dropped = {one.path for one in parts}
    return [entry for entry in entries if entry.path not in dropped], parts


def _as_found(path: Path) -> FoundFile:
    """Return a named file with its DICOM series; what cannot be read is refused when opened."""
    header = None if path.suffix.lower() in _NO_DICOM else read_dicom_header(path)
    return FoundFile(path, Role.SLIDE, series=header.series if header else "")


def read_slide_list(path: Path) -> list[SlideEntry]:
    """Read a CSV list: columns `slide`, optional `mpp_x`, `mpp_y`, `id`, `skip`.

    Relative paths count from the list's folder. Other columns (those of `scan`) are ignored. A row
    whose `skip` is not empty is left out.

    Raises
    ------
    ConfigError
        Where a column is missing or a value makes no sense, with the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            if "slide" not in (reader.fieldnames or ()):
                raise ConfigError(
                    f"{path} has no column 'slide' (columns: {reader.fieldnames})",
                    "The first line names the columns: slide, mpp_x, mpp_y, id",
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"slide list {path} cannot be read: {error}") from error
    return [
        _list_entry(path, line, row)
        for line, row in enumerate(rows, start=2)
        if (row.get("slide") or "").strip() and not (row.get("skip") or "").strip()
    ]


def _list_entry(path: Path, line: int, row: dict[str, str]) -> SlideEntry:
    slide = Path(row["slide"].strip())
    slide = slide if slide.is_absolute() else path.parent / slide
    x, y = (_list_mpp(path, line, row, name) for name in ("mpp_x", "mpp_y"))
    override = Mpp(x or y or 1.0, y or x or 1.0) if x or y else None
    slide_id = (row.get("id") or "").strip() or slide.stem
    if slide_id in (".", "..") or any(c in slide_id for c in '/\\:*?"<>|'):
        raise ConfigError(f"{path}, line {line}: id {slide_id!r} cannot be a folder's name")
    return SlideEntry(slide_id, slide.absolute(), override)


def _list_mpp(path: Path, line: int, row: dict[str, str], name: str) -> float | None:
    text = (row.get(name) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 100:
        raise ConfigError(f"{path}, line {line}: {name} is {text!r}", "Give µm/px, e.g. 0.25")
    return value


def _once(entries: Iterable[SlideEntry]) -> list[SlideEntry]:
    """Drop files named twice; the first entry stands."""
    seen: dict[Path, SlideEntry] = {}
    for entry in entries:
        seen.setdefault(entry.path, entry)
    return list(seen.values())


def _unique(entries: list[SlideEntry]) -> list[SlideEntry]:
    """Make ids unique: equal stems get the names of their folders before them, then numbers.

    Ids are compared without case, since they become folders on any file system.
    """
    counts = Counter(entry.slide_id.casefold() for entry in entries)
    taken: set[str] = set()
    unique = []
    for entry in entries:
        slide_id = entry.slide_id
        if counts[slide_id.casefold()] > 1:
            slide_id = f"{entry.path.parent.name}_{slide_id}"
        number, name = 2, slide_id
        while name.casefold() in taken:
            name, number = f"{slide_id}_{number}", number + 1
        taken.add(name.casefold())
        unique.append(SlideEntry(name, entry.path, entry.mpp_override))
    return unique
