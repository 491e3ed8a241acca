"""One slide as a task: locked, watched over, and its failure turned into its record."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from wsi_pipeline.archive.local_copy import local_copy
from wsi_pipeline.archive.states import (
    MEMORY_ADVICE,
    crashed_before,
    failure_fingerprint,
    is_finished,
    lost_status,
    note_stage,
)
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.errors import ReadError, StorageError, WsiPipelineError
from wsi_pipeline.execution.crash_dumps import crash_dump, note_where_it_hangs, remove_crash_dump
from wsi_pipeline.execution.dask_tasks import BlockExecutor
from wsi_pipeline.execution.executor import Lost, SendProgress
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.execution.memory import keep_memory, trim_memory
from wsi_pipeline.files import storing
from wsi_pipeline.pipeline.run import SlideJob, StageClock, do_slide
from wsi_pipeline.results.slide_files import failed_status, read_status, write_status
from wsi_pipeline.slides import forget_readers

logger = logging.getLogger(__name__)

REVIEW_NAME: Final = "review.json"
"""What a reviewer decided, kept when a slide is done again."""


@dataclass(frozen=True, slots=True)
class SlideTask:
    """All that a process needs to do one slide."""

    job: SlideJob
    card: ModelCard
    run_id: str
    overwrite: bool
    """Do it although it is finished."""
    stall_seconds: float | None
    """End this process where nothing is finished in this time; None: it is only watched."""


@dataclass(frozen=True, slots=True)
class SlideOutcome:
    """What became of a slide."""

    status: dict[str, Any]
    """What stands in status.json; empty where somebody else does the slide."""
    skipped: bool = False
    """It was finished before."""
    busy_owner: str = ""
    """Who does it right now, where that is not us."""


def do_task(executor: BlockExecutor, task: SlideTask, send_progress: SendProgress) -> SlideOutcome:
    """Do a slide unless it is finished or somebody else does it.

    Raises
    ------
    StorageError
        The output folder is the run's, not the slide's: going on would lose every slide.
    """
    keep_memory()
    try:
        with slide_lock(task.job.folder):
            return _do_locked(task, send_progress, executor)
    except SlideBusyError as error:
        return SlideOutcome({}, busy_owner=str(error))
    finally:
        trim_memory()


def _clear(folder: Path) -> None:
    """Delete what a run made of a slide; a pathologist's review is not the run's to delete."""
    for item in folder.iterdir() if folder.is_dir() else ():
        if item.name == REVIEW_NAME:
            continue
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def record_loss(task: SlideTask, lost: Lost) -> SlideOutcome:
    """Record a slide whose process died; leave it to whoever has taken it up since."""
    if lost.still_here:  # the lock is this process's
        note_where_it_hangs(task.job.folder)
        return _record_loss(task, lost)
    try:
        with slide_lock(task.job.folder):
            return _record_loss(task, lost)
    except SlideBusyError as error:
        return SlideOutcome({}, busy_owner=str(error))


def _record_loss(task: SlideTask, lost: Lost) -> SlideOutcome:
    status = lost_status(task.job, task.card, lost)
    write_status(task.job.folder, status)
    remove_crash_dump(task.job.folder)
    return SlideOutcome(status)


def _do_locked(
    task: SlideTask, send_progress: SendProgress, executor: BlockExecutor
) -> SlideOutcome:
    job = task.job
    if not task.overwrite and is_finished(job, task.card):  # by another run, a moment ago
        return SlideOutcome(read_status(job.folder), skipped=True)
    if crashed_before(job.folder):
        return _record_loss(task, Lost("in an earlier run"))
    attempt = 1 + int(read_status(job.folder).get("attempt", 0))
    if task.overwrite:
        with storing(job.folder):
            _clear(job.folder)
    send_progress((0, 0))  # it begins
    facts = {"run_id": task.run_id, "attempt": attempt}
    watched = (
        nullcontext(_nothing)
        if task.stall_seconds is None
        else crash_dump(job.folder, task.stall_seconds)
    )
    return SlideOutcome(_do_watched(task, send_progress, executor, facts, watched))


def _do_watched(
    task: SlideTask,
    send_progress: SendProgress,
    executor: BlockExecutor,
    facts: dict[str, Any],
    watched: AbstractContextManager[Callable[[], None]],
) -> dict[str, Any]:
    """Do the slide; turn what goes wrong with it into its record."""
    job, card = task.job, task.card
    running = {"state": "running", "slide": str(job.source.path), **facts}
    before, read_before = failure_fingerprint(job, card), _bytes_read()
    with watched as alive:

        def entered(stage: str) -> None:
            alive()
            send_progress((0, 0))
            note_stage(job, running, stage)

        def progress(done: int, n_patches: int) -> None:
            alive()
            send_progress((done, n_patches))

        clock = StageClock(entered=entered)
        try:
            with _with_local_copy(job, clock, lambda: progress(0, 0)) as local_job:
                result = do_slide(
                    local_job, card, executor, progress=progress, clock=clock, run_facts=facts
                )
        except StorageError:
            raise
        except Exception as error:  # the boundary of a slide: recorded with its traceback
            known = _in_our_words(error)
            if not isinstance(known, WsiPipelineError):
                logger.exception("%s failed", job.slide_id)
            status = {
                "slide": str(job.source.path),
                **facts,
                **failed_status(known, clock.current, clock.seconds),
                "failure_fingerprint": _lasting(before, failure_fingerprint(job, card)),
            }
            write_status(job.folder, status)
            return status
    read = _bytes_read()
    return {
        **result.status,
        "bytes_read": None if read is None or read_before is None else read - read_before,
    }


@contextmanager
def _with_local_copy(
    job: SlideJob, clock: StageClock, alive: Callable[[], None]
) -> Iterator[SlideJob]:
    """Yield the job, its slide on a fast drive where the configuration names one."""
    cache, source = job.config.execution.local_cache, job.source
    if cache is None:
        yield job
        return
    with ExitStack() as stack:
        with clock("copy"):
            copy = stack.enter_context(local_copy(source.path, Path(cache), alive))
        stack.callback(forget_readers)  # before the copy goes: an open file keeps its space
        yield replace(job, source=replace(source, copy=copy))


def _bytes_read() -> int | None:
    """Return what this process has read so far, also from the cache; None where nobody counts."""
    import psutil  # type: ignore[import-untyped]

    try:
        counters = psutil.Process().io_counters()
    except (AttributeError, psutil.Error):  # macOS
        return None
    return int(getattr(counters, "read_chars", counters.read_bytes))


def _lasting(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what a failure depends on; nothing where that changed under it: it is done again."""
    return now if now == before else {}


def _in_our_words(error: Exception) -> Exception:
    """Translate what the system says of a drive that went away and of memory that is used up."""
    if isinstance(error, MemoryError):
        return WsiPipelineError("there was not enough memory", MEMORY_ADVICE)
    if isinstance(error, OSError):
        return ReadError(str(error), "Check the slide's drive, then run with --retry-failed")
    return error


def _nothing() -> None:
    pass
