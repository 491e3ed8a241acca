"""Each slide once, under an id of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from wsi_pipeline.inputs.slide_list import SlideEntry
from wsi_pipeline.names import folder_name, matching

logger = logging.getLogger(__name__)


def each_once(entries: Iterable[SlideEntry]) -> list[SlideEntry]:
    """Return one entry a file; what lists say of it is brought together.

    A file that lists name twice is told, with the lines. Where they give it different µm/px nobody
    can know which are right: it fails with both.
    """
    by_file: dict[str, list[SlideEntry]] = {}
    for entry in entries:
        by_file.setdefault(_real(entry.path), []).append(entry)
    return [same[0] if len(same) == 1 else _brought_together(same) for same in by_file.values()]


def with_own_ids(entries: Sequence[SlideEntry]) -> list[SlideEntry]:
    """Make ids unique: equal stems get the names of folders before them, then numbers.

    Of the folders above, the nearest that tells all of them apart: of ``S1/HE/a.tif`` and
    ``S2/HE/a.tif`` the second.

    Ids are compared without case and normal form, since they become folders on any file system.
    """
    # A row that cannot be used takes no id from a slide that can.
    in_turn = sorted(range(len(entries)), key=lambda i: bool(entries[i].problem))
    by_stem: dict[str, list[Path]] = {}
    for entry in entries:
        if not entry.problem:
            by_stem.setdefault(matching(entry.slide_id), []).append(entry.path)
    levels = {stem: telling_level(paths) for stem, paths in by_stem.items() if len(paths) > 1}
    taken: set[str] = set()
    unique: dict[int, SlideEntry] = {}
    for i in in_turn:
        entry = entries[i]
        name = _free_id(entry, taken, levels.get(matching(entry.slide_id)))
        taken.add(matching(name))
        unique[i] = replace(entry, slide_id=name)
    return [unique[i] for i in range(len(entries))]


def telling_level(paths: Sequence[Path]) -> int:
    """Return how many folders up the names differ of all of them; 0, the nearest, if none does."""
    for level in range(min(len(path.parents) for path in paths)):
        names = {matching(path.parents[level].name) for path in paths}
        if len(names) == len(paths):
            return level
    return 0


def _free_id(entry: SlideEntry, taken: set[str], shared_level: int | None) -> str:
    slide_id = entry.slide_id
    if shared_level is not None or matching(slide_id) in taken:
        folder = entry.path.parents[shared_level or 0]
        slide_id = folder_name(f"{folder.name}_{slide_id}")
    number, name = 2, slide_id
    while matching(name) in taken:
        name, number = folder_name(f"{slide_id}_{number}"), number + 1
    if entry.has_own_id and name != entry.slide_id:
        logger.warning(
            "%s: several slides have the id %r; this one gets %r",
            entry.origin,
            entry.slide_id,
            name,
        )
    return name


def _brought_together(same: Sequence[SlideEntry]) -> SlideEntry:
    listed = [entry for entry in same if entry.origin]
    named = next((entry for entry in same if entry.has_own_id), same[0])
    stated = {e.mpp_override: e.origin for e in reversed(same) if e.mpp_override}
    problem = next((entry.problem for entry in same if entry.problem), "")
    if len(stated) > 1:
        words = ", ".join(f"{mpp.x:g} in {origin}" for mpp, origin in stated.items())
        problem = f"{same[0].path.name} is named with different µm/px: {words}"
    elif len(listed) > 1:
        logger.warning(
            "%s names the slide of %s again (%s): it is done once, as %r",
            listed[1].origin,
            listed[0].origin,
            same[0].path.name,
            named.slide_id,
        )
    override = next(iter(stated), None)
    return replace(named, mpp_override=override, problem=problem)


def _real(path: Path) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a name that no system takes
        return str(path)
