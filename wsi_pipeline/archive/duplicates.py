"""Slides of equal content: one of them is done, the others take its results over.

Each keeps an id and a folder of its own, with everything in it: names are what people know a slide
by, the one that was done may be deleted, and a review is never passed on. Which one it stands for
is said wherever the slide is shown.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from wsi_pipeline.archive.states import is_finished
from wsi_pipeline.config import Config
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.files import write_atomic
from wsi_pipeline.maps import ProbabilityMap, copy_map
from wsi_pipeline.maps.regions import SlideTotals
from wsi_pipeline.names import shown
from wsi_pipeline.pipeline.assemble import threshold_of
from wsi_pipeline.pipeline.clock import StageClock
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.results.layout import MAP_NAME, THUMBNAIL_NAME
from wsi_pipeline.results.slide_files import (
    read_thumbnail_file,
    regions_of,
    shown_map,
    write_results,
)
from wsi_pipeline.results.status import Done, Empty, ResultSettings, read_status, write_status
from wsi_pipeline.slides.identity import stamp_of

logger = logging.getLogger(__name__)

_SAME: Final = "the same content as "
SHOWN: Final = 5


def with_duplicates(jobs: Sequence[SlideJob], run: ResolvedRun) -> list[SlideJob]:
    """Return the jobs, those marked whose content another one has too.

    The other one is the first that has results of its own, else the first of the jobs.
    """
    groups: dict[str, list[SlideJob]] = {}
    for job in jobs:
        if job.fingerprint and not job.source.problem:
            groups.setdefault(job.fingerprint, []).append(job)
    first_of = {
        job.slide_id: first
        for same in groups.values()
        if len(same) > 1
        for first in [_first(same, run)]
        for job in same
        if job is not first
    }
    return [_marked(job, first_of.get(job.slide_id)) for job in jobs]


def tell_of_duplicates(jobs: Sequence[SlideJob]) -> None:
    """Warn of slides whose content another one has: a name may be wrong."""
    pairs = [
        f"{job.slide_id} = {note.removeprefix(_SAME)}"
        for job in jobs
        for note in job.notes
        if note.startswith(_SAME)
    ]
    if pairs:
        rest = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        logger.warning(
            "%d of %d slides have the content of another one (%s%s), which is done once. Is a name "
            "wrong?",
            len(pairs),
            len(jobs),
            ", ".join(pairs[:SHOWN]),
            rest,
        )


def take_over(
    run: ResolvedRun, job: SlideJob, clock: StageClock, attempt: int
) -> Done | Empty | None:
    """Give a duplicate the results of the slide whose content it has.

    Returns
    -------
    Done, Empty or None
        Its record; None where it has to be done by itself: it is no duplicate, other µm/px or
        another mask are asked for, or the other slide is not finished.

    Raises
    ------
    StorageError
        Where the results cannot be written.
    """
    first = replace(job, slide_id=job.duplicate_of)
    if not job.duplicate_of or not is_finished(first, run):
        return None
    try:
        with slide_lock(run.folder(first)), clock("take over"):
            status = _taken(run, first, job)
    except SlideBusyError:  # another run does it once more
        return None
    if status is not None:
        known = {"run_id": run.run_id, "attempt": attempt, "seconds": clock.seconds}
        status = status.model_copy(update=known)
        write_status(run.folder(job), status)
    return status


def _first(same: Sequence[SlideJob], run: ResolvedRun) -> SlideJob:
    for job in same:
        status = read_status(run.folder(job))
        if isinstance(status, Done | Empty) and not status.duplicate_of:
            return job
    return same[0]


def _marked(job: SlideJob, first: SlideJob | None) -> SlideJob:
    """Note a duplicate; where other µm/px or another mask are asked for it is done by itself."""
    if first is None:
        return job
    asked, of_first = ((j.source.mpp_override, j.mask_path) for j in (job, first))
    name = first.slide_id
    notes = (*job.notes, f"{_SAME}{name}")
    return replace(job, notes=notes, duplicate_of=name if asked == of_first else "")


def _taken(run: ResolvedRun, first: SlideJob, job: SlideJob) -> Done | Empty | None:
    """Write the results of the first slide under the job's name; None where they will not do."""
    source, folder = run.folder(first), run.folder(job)
    status = read_status(source)
    if not isinstance(status, Done | Empty) or not _is_the_same(status, job):
        return None
    draws = isinstance(status, Done) and run.config.outputs == "all"
    slide = {"name": shown(job.source.path.name), **status.file.to_dict()}
    own = {
        "slide": {name: slide[name] for name in ("name", "bytes", "quickhash")},
        # That of the first one may be of a `render` since.
        "threshold": threshold_of(run.config, run.card),
    }
    try:
        copy_map(source / MAP_NAME, folder / MAP_NAME, own)
        if draws:
            write_atomic(folder / THUMBNAIL_NAME, (source / THUMBNAIL_NAME).read_bytes())
        map_ = ProbabilityMap.open(folder / MAP_NAME)
    except (WsiPipelineError, OSError) as error:
        logger.warning("%s is done by itself: %s", job.slide_id, error)
        return None
    found = _facts(job, status) | {"threshold": map_.threshold}
    if isinstance(status, Done):
        found |= _results(folder, map_, run.config, draws=draws)
    return status.model_copy(update=found)


def _is_the_same(status: Done | Empty, job: SlideJob) -> bool:
    """Return whether the file opens, and as the one that was done: fingerprints are of samples."""
    try:
        with job.source.open() as reader:
            info = reader.info
    except WsiPipelineError:
        return False  # doing it says what is wrong
    mpp = info.mpp and (info.mpp.x, info.mpp.y)
    known = (status.file.bytes, status.file.quickhash, status.mpp)
    return (info.n_bytes, info.quickhash, mpp) == known


def _facts(job: SlideJob, status: Done | Empty) -> dict[str, Any]:
    """Return what the record says of the duplicate's own file."""
    stamp = stamp_of(job.source.path)
    mtime_ns = stamp.newest_mtime_ns if stamp else 0
    of_content = (words for words in status.warnings if not words.startswith(_SAME))
    return {
        "slide": str(job.source.path),
        "file": status.file.model_copy(update={"mtime_ns": mtime_ns}),
        "warnings": tuple(dict.fromkeys((*job.notes, *of_content))),
        "duplicate_of": job.duplicate_of,
    }


def _results(folder: Path, map_: ProbabilityMap, config: Config, *, draws: bool) -> dict[str, Any]:
    """Write regions, table and pictures where they are asked for; return the figures."""
    regions = regions_of(map_, config)
    if draws:
        write_results(folder, read_thumbnail_file(folder), map_, regions, config)
    return {
        "totals": SlideTotals.of(shown_map(map_, config), regions),
        "settings": ResultSettings.of(config, map_.threshold),
        **({} if draws else {"thumbnail": None}),
    }
