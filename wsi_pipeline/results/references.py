"""What a run is compared with: another run, or outlines that pathologists drew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsi_pipeline.annotations import (
    ANNOTATION_SUFFIXES,
    OTHER_PROGRAMS,
    annotation_stem,
    owner_of,
    slide_names,
)
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.results.finished import FinishedSlide, finished_folders, read_finished
from wsi_pipeline.results.layout import SLIDES_NAME
from wsi_pipeline.results.status import Done, Empty, read_status

OUTLINE_SUFFIXES: Final = (*ANNOTATION_SUFFIXES, ".png")
TRUTH_WORD: Final = "_truth"
"""A picture in a folder is a truth image where its stem ends so: folders hold thumbnails too."""


@dataclass(frozen=True, slots=True)
class OutlineFile:
    """The outlines that one reader drew on one slide."""

    reader: str
    """What the file's path says beside the slide's id; the file's name where it says nothing."""
    path: Path


class RunReference:
    """Another run's finished slides, found by the hash of their content, else by id.

    Parameters
    ----------
    out : Path
        Its output folder.

    Raises
    ------
    IncompleteRunError
        Where it holds no finished slide.
    """

    def __init__(self, out: Path) -> None:
        self._folders = {folder.name: folder for folder in finished_folders(out)}
        self._by_hash: dict[str, Path] = {}
        self._hashes: dict[Path, set[str]] = {}
        for folder in self._folders.values():
            status = read_status(folder)
            known = isinstance(status, Done | Empty) and (status.fingerprint, status.file.quickhash)
            self._hashes[folder] = {value for value in known or () if value}
            for value in self._hashes[folder]:
                self._by_hash.setdefault(value, folder)

    @property
    def slide_ids(self) -> set[str]:
        """Ids of its finished slides."""
        return set(self._folders)

    def find(self, slide: FinishedSlide) -> FinishedSlide | None:
        """Return the results of the same slide; None where there are none.

        Raises
        ------
        StorageError
            Where they cannot be read.
        """
        hashes = [value for value in (slide.status.fingerprint, slide.quickhash) if value]
        folder = next((self._by_hash[value] for value in hashes if value in self._by_hash), None)
        if folder is None and (same_id := self._folders.get(slide.slide_id)) is not None:
            # An id is no content: it counts only where one of the two states none.
            folder = same_id if not (hashes and self._hashes[same_id]) else None
        return None if folder is None else read_finished(folder)


def is_run(path: Path) -> bool:
    """Return whether a path is the output folder of a run."""
    return (path / SLIDES_NAME).is_dir()


@dataclass(frozen=True, slots=True)
class MatchedOutlines:
    """Which outline files belong to which slide."""

    of_slides: Mapping[str, list[OutlineFile]]
    """By the slide's id."""
    unused: tuple[str, ...] = ()
    """Files that no slide of the run is meant by, or of a kind that is not read, in words."""


def match_outlines(path: Path, slides: Sequence[tuple[str, str]]) -> MatchedOutlines:
    """Return the outline files of each slide.

    Parameters
    ----------
    path : Path
        A file, or a folder that is searched with what is in it.
    slides : sequence of (id, path of the file)
        A file belongs to the slide that it is named by: its id, or its file's name with or without
        the suffix, alone or followed by ``_``, ``-``, ``.`` or a space and more (a reader's name,
        "_truth"); the longest such name wins, letters may be large or small, composed or not. A
        lone file belongs to the run's only slide whatever its name.

    Raises
    ------
    ConfigError
        Where there is no such path, or nothing in it belongs to a slide of the run.
    """
    if not path.exists():
        raise ConfigError(f"there is no {path}", "Give another run's folder, or outlines")
    first = slides[0][0]
    if path.is_file() and len(slides) == 1:
        return MatchedOutlines({first: [OutlineFile(path.name, path)]})
    names = slide_names(slides)
    matched: dict[str, list[OutlineFile]] = {}
    unused = []
    for file in _candidates(path):
        owner = owner_of(annotation_stem(file.name), names)
        if owner is None:
            unused.append(f"{file.name} (named by no slide)")
        elif file.suffix.lower() in OTHER_PROGRAMS:
            unused.append(f"{file.name} (not read: {OTHER_PROGRAMS[file.suffix.lower()]})")
        else:
            _take(matched.setdefault(owner[0], []), _reader_of(file, path, owner[1]), file)
    if not matched:
        raise ConfigError(
            f"{path} holds no outlines that are named by a slide of this run"
            + (f" ({len(unused)} others: {unused[0]} ...)" if unused else ""),
            f"Name them by the slide's id, e.g. {first}.geojson or {first}{TRUTH_WORD}.png",
        )
    return MatchedOutlines(matched, tuple(unused))


def _take(files: list[OutlineFile], reader: str, file: Path) -> None:
    """Add a reader's file; a second one of the same name is told apart by its suffix."""
    taken = {one.reader for one in files}
    files.append(OutlineFile(f"{reader} ({file.name})" if reader in taken else reader, file))


def _candidates(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        suffixes = (*OUTLINE_SUFFIXES, *OTHER_PROGRAMS)
        is_outline = file.name.lower().endswith(suffixes) and file.name[0] != "."
        is_picture = file.suffix.lower() == ".png" and not file.stem.lower().endswith(TRUTH_WORD)
        if is_outline and not is_picture and file.is_file():
            yield file


def _reader_of(file: Path, root: Path, rest: str) -> str:
    folder = file.parent.relative_to(root).parts if root.is_dir() else ()
    return "/".join((*folder, *([rest] if rest else []))) or file.name
