"""From what the user names to the slides to do: files, folders, lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.inputs.discovery import (
    MULTI_FILE_SUFFIXES,
    Inventory,
    one_a_series,
    search_folder,
)
from wsi_pipeline.inputs.entries import each_once, with_own_ids
from wsi_pipeline.inputs.file_kinds import FoundFile, Role
from wsi_pipeline.inputs.slide_list import (
    LIST_SUFFIXES,
    WORKBOOK_SUFFIXES,
    SlideEntry,
    read_slide_list,
)
from wsi_pipeline.names import folder_name, is_there, is_windows_path
from wsi_pipeline.slides import SLIDE_SUFFIXES
from wsi_pipeline.slides.dicom_header import read_dicom_header

_NO_DICOM: Final = SLIDE_SUFFIXES - {".dcm"}


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
        if not is_there(item):
            is_foreign = is_windows_path(str(item))
            advice = "That is a path of Windows. " if is_foreign else ""
            raise ConfigError(
                f"there is no {item}", f"{advice}Name slide files, folders or a CSV list"
            )
        if item.is_dir():
            inventory = _searched(item)
            files += inventory.files
            entries.extend(_entry_of(found) for found in inventory.slides)
        elif item.suffix.lower() in LIST_SUFFIXES:
            entries.extend(read_slide_list(item))
        elif item.suffix.lower() in WORKBOOK_SUFFIXES:
            raise ConfigError(f"{item} is a workbook, no list", "Save it as CSV and give that")
        else:
            entries.append(SlideEntry(folder_name(item.stem), item.absolute()))
    if not entries:
        raise ConfigError("the lists name no slides", "Is every row marked in the column `skip`?")
    kept, parts = _one_a_series(each_once(entries))
    if parts:  # of a slide that was named file by file
        known = {found.path for found in files}
        named = [FoundFile(entry.path, Role.SLIDE) for entry in kept]
        files += [found for found in (*named, *parts) if found.path not in known]
    return FoundSlides(with_own_ids(kept), Inventory(tuple(files)))


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
    return SlideEntry(folder_name(path.stem), path.resolve() if is_one_of_several else path)


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
