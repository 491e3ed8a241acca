"""From status.json to what has to be done: finished, given up, interrupted, new."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Final

import wsi_pipeline
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.execution.executor import LossCause, Lost
from wsi_pipeline.execution.watchdog import is_stall, read_crash_dump
from wsi_pipeline.files import make_folder, storing
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.inputs.discovery import MULTI_FILE_SUFFIXES
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.results.layout import MAP_NAME, STATUS_NAME
from wsi_pipeline.results.status import (
    Done,
    Empty,
    Failed,
    FailureFingerprint,
    Queued,
    Running,
    read_status,
)
from wsi_pipeline.slides.resolution import LIST_SOURCE, OPTION_SOURCE, repeats

CRASH_ADVICE: Final = (
    "The file is damaged or its decoder has a defect: copy or convert it, then run with "
    "--retry-failed"
)
STALL_ADVICE: Final = (
    "The drive is slow or the file sends the decoder in circles: copy it to a local disk or raise "
    "execution.stall_seconds, then run with --retry-failed"
)
MEMORY_ADVICE: Final = (
    "Use fewer workers (-j), a smaller execution.block_px or a larger execution.memory_gb, then "
    "run with --retry-failed"
)


class SlideState(Enum):
    """What a run has to do about a slide."""

    FINISHED = "finished"
    """Done or empty, from the same file with the same settings: nothing."""
    GIVEN_UP = "given up"
    """Failed with the same file and settings: done again on request only."""
    TO_DO = "to do"
    """New, interrupted, or something it depends on has changed."""


def state_of(job: SlideJob, run: ResolvedRun) -> SlideState:
    """Return what has to be done about a slide.

    A slide that was done with another model, other settings of the map or another file is done
    again, and so is one that failed with another file or another version of the program.
    """
    if is_finished(job, run):
        return SlideState.FINISHED
    status = read_status(run.folder(job))
    if not isinstance(status, Failed) or status.failure_fingerprint is None:
        return SlideState.TO_DO
    same = status.failure_fingerprint == failure_fingerprint(job, run)
    return SlideState.GIVEN_UP if same else SlideState.TO_DO


def is_finished(job: SlideJob, run: ResolvedRun) -> bool:
    """Return whether a slide's results are there, made of the same numbers that are asked for now.

    A slide that was done with another model or other settings of the map is done again.
    """
    if job.source.problem:  # the row of a list that makes no sense: to be told, not passed over
        return False
    status = read_status(run.folder(job))
    if not isinstance(status, Done | Empty) or not (run.folder(job) / MAP_NAME).is_dir():
        return False
    same_maps = (_map_sha256(other, run) for other in _jobs_of_the_same_map(job, status))
    if status.map_sha256 not in same_maps or not _is_same_slide(job, status):
        return False
    pictures = isinstance(status, Empty) or status.thumbnail is not None
    return run.config.outputs == "map" or pictures


def failure_fingerprint(job: SlideJob, run: ResolvedRun) -> FailureFingerprint | None:
    """Return what a failure depends on, None where the file is out of reach.

    A slide that failed because its drive was away is therefore done by the next run, and so is one
    of several files when a missing one arrives.
    """
    try:
        stat = job.source.path.stat()
        return FailureFingerprint(
            bytes=stat.st_size,
            mtime_ns=max(stat.st_mtime_ns, _newest_beside_ns(job.source.path)),
            map_sha256=run.map_sha256(job),
            version=wsi_pipeline.__version__,
        )
    except OSError:
        return None


def _newest_beside_ns(path: Path) -> int:
    """Return when something last changed among the files that a slide of several consists of."""
    if path.suffix.lower() not in MULTI_FILE_SUFFIXES:
        return 0
    data = path.with_suffix("")  # of a MIRAX slide
    inside = (data, *data.iterdir()) if data.is_dir() else ()
    # a folder's own time tells of files that came or went
    return max(part.stat().st_mtime_ns for part in (path.parent, *inside))


def put_in_queue(job: SlideJob, run: ResolvedRun) -> None:
    """Write the state "queued" where the slide has none; another run's word is left alone.

    Not flushed to the disk: a state that is lost with the power is "queued" again.
    """
    folder = run.folder(job)
    path = folder / STATUS_NAME
    make_folder(folder, folder.parent.parent)
    with storing(path):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(Queued(slide=str(job.source.path)).to_dict(), file)


def failed_status(
    error: BaseException, running: Running, seconds: dict[str, float], stage: str
) -> Failed:
    """Return the record of a slide that failed: stage, reason and advice."""
    if isinstance(error, WsiPipelineError):
        reason, advice, trace = error.problem, error.advice, ""
    else:
        reason = f"{type(error).__name__}: {error}"
        advice = "This is a defect of the program: please report it with its traceback"
        trace = "".join(traceback.format_exception(error))
    return Failed(
        slide=running.slide,
        run_id=running.run_id,
        attempt=running.attempt,
        stage=stage,
        error=reason,
        advice=advice,
        traceback=trace,
        seconds=seconds,
    )


def lost_status(job: SlideJob, run: ResolvedRun, lost: Lost) -> Failed:
    """Return the record of a slide whose process died under it, from what it left behind."""
    before, dump = read_status(run.folder(job)), read_crash_dump(run.folder(job))
    running = before if isinstance(before, Running | Failed) else Running()
    problem, advice = _loss_words(lost, dump, run.config.execution.stall_seconds)
    return Failed(
        slide=str(job.source.path),
        run_id=running.run_id,
        attempt=running.attempt,
        stage=running.stage,
        error=problem,
        advice=advice,
        traceback=dump,
        failure_fingerprint=failure_fingerprint(job, run),
    )


def _loss_words(lost: Lost, dump: str, stall_seconds: float) -> tuple[str, str]:
    """Return what went wrong and what to do about it."""
    if is_stall(dump):
        return f"nothing was finished in {stall_seconds:g} s", STALL_ADVICE
    if lost.cause is LossCause.SILENT:
        return f"the process {lost.reason}", STALL_ADVICE
    if lost.cause is LossCause.OUT_OF_MEMORY:
        return f"the process {lost.reason}", MEMORY_ADVICE
    first = dump.split("\n", 1)[0].removeprefix("Fatal Python error: ")
    return f"the process crashed: {first or lost.reason}", CRASH_ADVICE


def _jobs_of_the_same_map(job: SlideJob, status: Done | Empty) -> Iterator[SlideJob]:
    """Yield the job, then with and without the µm/px of a list that repeats the slide's own.

    So slides of a list that `scan` wrote are not done again when their folder is run, nor the
    other way round.
    """
    yield job
    given = job.source.mpp_override
    if status.mpp is None or status.mpp_source in (LIST_SOURCE, OPTION_SOURCE):
        return
    own = Mpp(*status.mpp)
    if given is None or repeats(own, given):
        for override in (None, own):
            yield replace(job, source=replace(job.source, mpp_override=override))


def _map_sha256(job: SlideJob, run: ResolvedRun) -> str | None:
    """Return the checksum of what the map depends on, None where a mask cannot be read."""
    try:
        return run.map_sha256(job)
    except OSError:
        return None


def _is_same_slide(job: SlideJob, status: Done | Empty) -> bool:
    """Return whether the slide is still the content that was done."""
    if job.fingerprint and status.fingerprint:
        return job.fingerprint == status.fingerprint
    # done by a version that took no fingerprints, or out of reach
    try:
        stat = job.source.path.stat()
    except OSError:
        return True  # the drive may be away: what is done stays done
    if stat.st_size != status.file.bytes:
        return False
    if stat.st_mtime_ns == status.file.mtime_ns:
        return True
    try:
        with job.source.open() as reader:
            return reader.info.quickhash == status.file.quickhash
    except WsiPipelineError:
        return False


def crashed_before(folder: Path) -> bool:
    """Return whether a process of an earlier run died over the slide and nobody has recorded it."""
    return isinstance(read_status(folder), Running) and bool(read_crash_dump(folder))
