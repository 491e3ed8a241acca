"""Which slide an id stands for: ids are bound to content for the life of an output folder.

``slides.json`` in the output folder holds, for each id, the fingerprint of the slide's content, its
path and the stamp of its files. A slide that comes later never takes a given id, whatever it is
called; a slide that was moved or renamed keeps its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from wsi_pipeline.errors import StorageError, WsiPipelineError
from wsi_pipeline.execution.locks import shared_files
from wsi_pipeline.files import read_json, write_json
from wsi_pipeline.names import distinct_id, matching, shown
from wsi_pipeline.results.layout import (
    REGISTRY_NAME,
    REVIEW_NAME,
    SLIDES_NAME,
    slide_folder,
    slide_folders,
)
from wsi_pipeline.results.status import Done, Empty, read_status
from wsi_pipeline.slides import open_slide
from wsi_pipeline.slides.identity import Stamp, fingerprint, stamp_of

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
READERS: Final = 8
"""Slides whose content is looked at together: on a network drive each waits for an answer."""
MOST_BYTES: Final = 512 << 20
"""Of slides.json: a million slides take some 300 MB."""


@dataclass(frozen=True, slots=True)
class BoundSlide:
    """What an id stands for."""

    path: str
    fingerprint: str = ""
    """Of the content; empty where it was never read."""
    stamp: Stamp | None = None
    """Of its files when the fingerprint was taken."""


@dataclass(frozen=True, slots=True)
class WantedSlide:
    """A slide that a run is to do."""

    slide_id: str
    """As the user or the file's name has it."""
    path: Path


class SlideRegistry:
    """The ids of an output folder.

    Parameters
    ----------
    out : Path
        The output folder.
    bound : dict of str to BoundSlide
        What each id stands for.
    """

    def __init__(self, out: Path, bound: dict[str, BoundSlide]) -> None:
        self._out, self._bound = out, bound
        self._changed: dict[str, BoundSlide] = {}

    @classmethod
    def read(cls, out: Path) -> Self:
        """Read the registry; what a version without one has left is taken over from its results.

        Raises
        ------
        StorageError
            Where it cannot be read, or was written by a newer version.
        """
        bound = _read(out)
        slides = out / SLIDES_NAME
        folders = slide_folders(out) if slides.is_dir() and not slides.is_symlink() else []
        for folder in folders:
            before = bound.get(folder.name) or _of_before(folder)
            if before.path or _has_results(out, folder.name):  # else it stands for no slide yet
                bound[folder.name] = before
        return cls(out, bound)

    def bind(self, wanted: Sequence[WantedSlide]) -> list[tuple[str, str]]:
        """Return the id and the fingerprint of each slide; new slides get new ids.

        The fingerprint is empty where the file is out of reach. Nothing is written, see `save`.
        """
        by_path = {slide.path: slide for slide in self._bound.values()}
        with ThreadPoolExecutor(READERS) as pool:
            seen = list(pool.map(lambda s: _look_at(s.path, by_path.get(str(s.path))), wanted))
        claimed: dict[int, str] = {}
        self._claim_by_content(wanted, seen, claimed)
        self._claim_by_path(wanted, seen, claimed)
        for i, slide in enumerate(wanted):
            if i not in claimed:
                claimed[i] = self._new_id(slide, set(claimed.values()))
                self._tell_of_replacement(slide, claimed[i])
            self._enter(claimed[i], slide, seen[i])
        return [(claimed[i], seen[i].fingerprint) for i in range(len(wanted))]

    def save(self) -> None:
        """Write what `bind` has decided.

        Raises
        ------
        StorageError
            Where another run has meanwhile given one of the ids to another slide.
        """
        if not self._changed:
            return
        with shared_files(self._out):
            stored = _read(self._out)
            for slide_id, slide in self._changed.items():
                other = stored.get(slide_id, BoundSlide(""))
                differs = other.fingerprint and slide.fingerprint not in ("", other.fingerprint)
                if differs and other.path != slide.path:
                    raise StorageError(
                        f"another run has given the id {slide_id} to {shown(other.path)}",
                        "Start this run again",
                    )
                stored[slide_id] = slide
            _write(self._out, {**self._bound, **stored})
        self._changed.clear()

    def _claim_by_content(
        self, wanted: Sequence[WantedSlide], seen: list[BoundSlide], claimed: dict[int, str]
    ) -> None:
        """Give each slide the id that its content has; of copies, the one at the known path."""
        by_content: dict[str, list[str]] = {}
        for slide_id, slide in self._bound.items():
            if slide.fingerprint:
                by_content.setdefault(slide.fingerprint, []).append(slide_id)
        same_place = sorted(
            range(len(wanted)),
            key=lambda i: (
                not any(
                    self._bound[name].path == seen[i].path
                    for name in by_content.get(seen[i].fingerprint, ())
                )
            ),
        )
        for i in same_place:
            ids = [n for n in by_content.get(seen[i].fingerprint, ()) if n not in claimed.values()]
            at_place = [name for name in ids if self._bound[name].path == seen[i].path]
            if ids and seen[i].fingerprint:
                claimed[i] = (at_place or ids)[0]

    def _claim_by_path(
        self, wanted: Sequence[WantedSlide], seen: list[BoundSlide], claimed: dict[int, str]
    ) -> None:
        """Keep the id of a path whose content is out of reach, not known, or without results."""
        by_path = {slide.path: slide_id for slide_id, slide in self._bound.items()}
        for i, slide in enumerate(wanted):
            slide_id = by_path.get(seen[i].path)
            if i in claimed or slide_id is None or slide_id in claimed.values():
                continue
            out_of_reach = not seen[i].fingerprint
            known = self._bound[slide_id]
            if out_of_reach or not _has_results(self._out, slide_id):
                claimed[i] = slide_id
            elif not known.fingerprint and _is_as_recorded(slide.path, self._out, slide_id):
                claimed[i] = slide_id  # done by a version that took no fingerprints

    def _new_id(self, slide: WantedSlide, taken: set[str]) -> str:
        given = {matching(name): bound.path for name, bound in self._bound.items()}
        given |= {matching(name): "" for name in taken} | given
        return distinct_id(slide.slide_id, slide.path, given)

    def _tell_of_replacement(self, slide: WantedSlide, slide_id: str) -> None:
        before = [name for name, bound in self._bound.items() if bound.path == str(slide.path)]
        if before:
            logger.warning(
                "%s holds other content now: what was made of the old one stays under %s, the new "
                "slide is %s",
                shown(slide.path),
                before[0],
                slide_id,
            )

    def _enter(self, slide_id: str, slide: WantedSlide, seen: BoundSlide) -> None:
        known = self._bound.get(slide_id)
        if not seen.fingerprint and known is not None:
            return
        entry = replace(seen, path=str(slide.path))
        if entry != known:
            self._bound[slide_id] = self._changed[slide_id] = entry


def _look_at(path: Path, known: BoundSlide | None) -> BoundSlide:
    """Return what the files are now; their content is read only where the stamp is not known."""
    stamp = stamp_of(path)
    if stamp is None:
        return known or BoundSlide(str(path))
    if known is not None and known.stamp == stamp and known.fingerprint:
        return known
    try:
        return BoundSlide(str(path), fingerprint(path), stamp)
    except OSError:  # what is wrong with it is said when it is opened
        return BoundSlide(str(path))


def _has_results(out: Path, slide_id: str) -> bool:
    """Return whether something was made of the slide that must not pass to another."""
    folder = slide_folder(out, slide_id)
    return isinstance(read_status(folder), Done | Empty) or (folder / REVIEW_NAME).exists()


def _is_as_recorded(path: Path, out: Path, slide_id: str) -> bool:
    """Return whether a file is the one that a version without fingerprints has done."""
    status = read_status(slide_folder(out, slide_id))
    if not isinstance(status, Done | Empty):
        return False
    try:
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (status.file.bytes, status.file.mtime_ns):
            return True
        with open_slide(path) as reader:
            return reader.info.quickhash == status.file.quickhash
    except (OSError, WsiPipelineError):
        return False


def _of_before(folder: Path) -> BoundSlide:
    status = read_status(folder)
    if status is None:
        return BoundSlide("")
    known = status.fingerprint if isinstance(status, Done | Empty) else ""
    return BoundSlide(status.slide, known)


def _read(out: Path) -> dict[str, BoundSlide]:
    path = out / REGISTRY_NAME
    try:
        data = read_json(path, root=out, most_bytes=MOST_BYTES)
        if data["schema_version"] > SCHEMA_VERSION:
            raise StorageError(
                f"{path} was written by a newer wsi_pipeline", "Update this one, or use another OUT"
            )
        return {name: _bound(value) for name, value in data["slides"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{path} cannot be read ({error}): which slide an id stands for is not known",
            "Restore it from a backup; or remove it, then ids are taken from the results",
        ) from error


def _bound(value: dict[str, Any]) -> BoundSlide:
    stamp = Stamp(*map(int, value["stamp"])) if value.get("stamp") else None
    return BoundSlide(str(value["path"]), str(value.get("fingerprint", "")), stamp)


def _write(out: Path, bound: dict[str, BoundSlide]) -> None:
    slides = {
        name: {
            "path": slide.path,
            "fingerprint": slide.fingerprint,
            "stamp": slide.stamp
            and [slide.stamp.n_files, slide.stamp.n_bytes, slide.stamp.newest_mtime_ns],
        }
        for name, slide in sorted(bound.items())
    }
    write_json(out / REGISTRY_NAME, {"schema_version": SCHEMA_VERSION, "slides": slides})
