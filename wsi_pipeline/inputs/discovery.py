"""Which files below a folder are slides, and what every other one is.

Nothing is passed over in silence: each file, or folder that is not entered, is accounted for by an
entry of the `Inventory`. Links to folders are followed, each folder is searched once (so that a
link to a folder above it ends), and a file that is reached by two names counts once.
"""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from wsi_pipeline.files import write_atomic
from wsi_pipeline.inputs.file_kinds import (
    FoundFile,
    Role,
    as_part,
    judge_by_head,
    judge_by_name,
    pictured_slide,
)
from wsi_pipeline.inputs.own_results import is_own_file, is_own_folder
from wsi_pipeline.slides.identity import index_parts
from wsi_pipeline.tables import csv_bytes

READERS: Final = 8
"""Heads of files are read at once: on a network drive each waits for an answer."""
SKIPPED_FOLDERS: Final = frozenset(
    {"$recycle.bin", "#recycle", "@recycle", "recycler", "lost+found", "system volume information"}
    | {"@eadir", "#snapshot", "~snapshot", "@recently-snapshot", "@sharebin", "trash"}
    | {"__macosx", "__pycache__", "@tmp", "files_trashbin"}
)
"""Trash, snapshots and thumbnails of file servers, in lower case; what begins with a dot too."""
MULTI_FILE_SUFFIXES: Final = frozenset({".mrxs", ".vms", ".vmu", ".dcm"})
"""Of slides whose other files lie beside the one that is named."""
MIRAX_INDEX: Final = "Slidedat.ini"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What became of every file of a search."""

    files: tuple[FoundFile, ...] = ()

    @property
    def slides(self) -> tuple[FoundFile, ...]:
        """The slides, in the order of their paths."""
        return tuple(found for found in self.files if found.role is Role.SLIDE)

    def counts(self) -> dict[str, int]:
        """Return the number of files by what they are, and of those left out by the reason."""
        return dict(Counter(found.reason or found.role.value for found in self.files))

    def describe(self) -> str:
        """Return in a sentence what was found; empty where no folder was searched."""
        if not self.files:
            return ""
        by_role = Counter(found.role for found in self.files)
        parts = [_counted(by_role[Role.SLIDE], "slide", "slides")]
        if by_role[Role.PART]:
            parts.append(_counted(by_role[Role.PART], "part of a slide", "parts of slides"))
        if by_role[Role.OWN]:
            parts.append(_counted(by_role[Role.OWN], "own result", "own results"))
        left_out = [found for found in self.files if found.role is Role.LEFT_OUT]
        words = f"searched {_counted(len(self.files), 'entry', 'entries')}: {', '.join(parts)}"
        return f"{words}, {len(left_out)} left out{_reasons(left_out)}"


def search_folder(folder: Path) -> Inventory:
    """Return what is below a folder: slides in the order of their paths, and all the rest.

    Raises
    ------
    OSError
        Where the folder itself cannot be read.
    """
    search = _Search()
    search.walk(folder.absolute())
    with ThreadPoolExecutor(READERS) as pool:
        judged = [*search.judged, *pool.map(judge_by_head, search.to_judge)]
    files = _one_a_file(_without_parts(judged, search.parts), search.links)
    slides = frozenset(f.path.with_suffix("") for f in files if f.role is Role.SLIDE)
    files = [_beside(found, slides) for found in files]
    files = one_a_series(sorted(files, key=lambda found: found.path))
    return Inventory(tuple(sorted([*files, *search.found], key=lambda found: found.path)))


def write_inventory(path: Path, inventory: Inventory) -> None:
    """Write every file of a search as CSV: file, role, reason, detail, advice.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    columns = ("file", "role", "reason", "detail", "advice")
    rows = (
        (str(found.path), found.role.value, found.reason, found.detail, found.advice)
        for found in inventory.files
    )
    write_atomic(path, csv_bytes(columns, rows, for_excel=True))


def one_a_series(files: Iterable[FoundFile]) -> list[FoundFile]:
    """Keep one file of each DICOM series: any of them opens the whole slide."""
    first: dict[tuple[Path, str], Path] = {}
    kept = []
    for found in files:
        if found.role is Role.SLIDE and found.series:
            named_by = first.setdefault((found.path.parent, found.series), found.path)
            kept.append(found if named_by == found.path else as_part(found, named_by))
        else:
            kept.append(found)
    return kept


@dataclass(slots=True)
class _Search:
    """A walk through folders: files whose head needs a look go to `to_judge`."""

    found: list[FoundFile] = field(default_factory=list)
    """What was not entered, and what is of no file."""
    judged: list[FoundFile] = field(default_factory=list)
    """Files that their names tell."""
    to_judge: list[Path] = field(default_factory=list)
    links: dict[Path, Path] = field(default_factory=dict)
    """Files that are links, and where they lead."""
    parts: dict[Path, Path] = field(default_factory=dict)
    """Files that belong to a slide that is named by another."""
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def walk(self, folder: Path) -> None:
        """Search a folder and all below it; what links lead to comes after what lies there."""
        waiting: deque[Path] = deque()
        self._enter(folder, waiting, is_root=True)
        while waiting:
            self._enter(waiting.popleft(), waiting)

    def _enter(self, folder: Path, waiting: deque[Path], *, is_root: bool = False) -> None:
        try:
            info = folder.stat()
            names = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if is_root:
                raise
            self._leave_out(folder, "cannot be read", str(error.strerror or error))
            return
        if (info.st_dev, info.st_ino) in self._seen:
            self._leave_out(folder, "searched already", "a link to a folder searched already")
            return
        self._seen.add((info.st_dev, info.st_ino))
        stems = {Path(entry.name).stem for entry in names if entry.name.lower().endswith(".mrxs")}
        for entry in names:
            path = folder / entry.name
            if _is_folder(entry):
                self._folder(path, entry, stems, waiting)
            else:
                self._file(path, entry)

    def _folder(
        self, path: Path, entry: os.DirEntry[str], mirax: set[str], waiting: deque[Path]
    ) -> None:
        name = entry.name
        if name.startswith(".") or name.lower() in SKIPPED_FOLDERS:
            self._leave_out(path, "hidden, trash or snapshot folder")
        elif name.lower().endswith(".zarr"):
            self._zarr(path)
        elif is_own_folder(path):
            self.found.append(FoundFile(path, Role.OWN, "own result", "a folder of results"))
        elif name in mirax:
            self.found.append(
                FoundFile(path, Role.PART, "part of a slide", f"the data of {name}.mrxs")
            )
        elif (path / MIRAX_INDEX).is_file():
            self._leave_out(
                path,
                "MIRAX data without its .mrxs file",
                "",
                f"Copy {name}.mrxs beside this folder",
            )
        elif entry.is_symlink():
            waiting.append(path)
        else:
            self._enter(path, waiting)

    def _zarr(self, path: Path) -> None:
        if path.name == "probability.zarr":
            self.found.append(FoundFile(path, Role.OWN, "own result", "a probability map"))
            return
        advice = "Convert it to a pyramidal OME-TIFF with raw2ometiff or bfconvert"
        self._leave_out(path, "of a format that is not read", "a Zarr image", advice)

    def _file(self, path: Path, entry: os.DirEntry[str]) -> None:
        if entry.name.startswith("."):
            self._leave_out(path, "hidden file")
            return
        try:
            info = path.stat()
        except OSError as error:
            reason = "broken link" if entry.is_symlink() else "cannot be read"
            detail = f"to {path.readlink()}" if entry.is_symlink() else str(error.strerror)
            self._leave_out(path, reason, detail, "Check the drive that it leads to")
            return
        if not stat.S_ISREG(info.st_mode):
            self._leave_out(path, "no regular file", "a pipe, socket or device")
        elif is_own_file(path):
            self.found.append(FoundFile(path, Role.OWN, "own result", "a file of results"))
        else:
            if entry.is_symlink():
                self.links[path] = Path(os.path.realpath(path))
            if path.suffix.lower() in (".vms", ".vmu"):
                self.parts |= dict.fromkeys(index_parts(path), path)
            by_name = judge_by_name(path)
            if by_name is None:
                self.to_judge.append(path)
            else:
                self.judged.append(by_name)

    def _leave_out(self, path: Path, reason: str, detail: str = "", advice: str = "") -> None:
        self.found.append(FoundFile(path, Role.LEFT_OUT, reason, detail, advice))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _without_parts(files: list[FoundFile], parts: dict[Path, Path]) -> list[FoundFile]:
    return [as_part(found, parts[found.path]) if found.path in parts else found for found in files]


def _one_a_file(files: list[FoundFile], links: dict[Path, Path]) -> list[FoundFile]:
    """Count a slide that is reached by two names once: the file itself, else the first link."""
    taken = {Path(os.path.realpath(f.path.parent)) / f.path.name for f in files} if links else set()
    taken -= set(links)
    kept = []
    for found in files:
        target = links.get(found.path)
        if target is None or found.role is not Role.SLIDE:
            kept.append(found)
        elif target in taken:
            reason = "another name of a file counted already"
            kept.append(replace(found, role=Role.LEFT_OUT, reason=reason, detail=f"of {target}"))
        else:
            taken.add(target)
            kept.append(found)
    return kept


def _beside(found: FoundFile, slides: frozenset[Path]) -> FoundFile:
    if found.role is not Role.SLIDE or pictured_slide(found.path) not in slides:
        return found
    reason = "label or macro picture of a slide"
    return replace(found, role=Role.LEFT_OUT, reason=reason)


def _reasons(files: list[FoundFile]) -> str:
    if not files:
        return ""
    counts = Counter(found.reason for found in files)
    words = [f"{reason}: {n}{_suffixes(files, reason)}" for reason, n in counts.most_common()]
    return f" ({', '.join(words)})"


def _suffixes(files: list[FoundFile], reason: str) -> str:
    """Name the formats that somebody has to convert: nobody looks for them in a list."""
    if reason != "of a format that is not read":
        return ""
    suffixes = sorted({f.path.suffix.lower() for f in files if f.reason == reason})
    return f" ({' '.join(suffixes)}; to be converted)"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
