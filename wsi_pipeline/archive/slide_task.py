"""One slide as a task: locked, watched over, and its failure turned into its record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from wsi_pipeline.archive.local_copy import local_copy
from wsi_pipeline.archive.states import (
    MEMORY_ADVICE,
    crashed_before,
    failed_status,
    failure_fingerprint,
    is_finished,
    lost_status,
)
from wsi_pipeline.errors import ReadError, StorageError, WsiPipelineError
from wsi_pipeline.execution.crash_dumps import crash_dump, note_where_it_hangs, remove_crash_dump
from wsi_pipeline.execution.dask_tasks import BlockExecutor
from wsi_pipeline.execution.executor import LossCause, Lost, SendProgress
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.execution.memory import keep_memory, trim_memory
from wsi_pipeline.files import make_folder, remove, storing, sweep_parts
from wsi_pipeline.pipeline.clock import StageClock
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.pipeline.run import do_slide
from wsi_pipeline.results.layout import REVIEW_NAME
from wsi_pipeline.results.status import AnyStatus, Running, read_status, write_status
from wsi_pipeline.slides import forget_readers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlideTask:
    """All that a process needs to do one slide."""

    job: SlideJob
    run: ResolvedRun
    overwrite: bool
    """Do it although it is finished."""
    stall_seconds: float | None
    """End this process where nothing is finished in this time; None: it is only watched."""


@dataclass(frozen=True, slots=True)
class SlideOutcome:
    """What became of a slide."""

    status: AnyStatus | None
    """What stands in status.json; None where somebody else does the slide."""
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
        with slide_lock(task.run.folder(task.job)):
            return _do_locked(task, send_progress, executor)
    except SlideBusyError as error:
        return SlideOutcome(None, busy_owner=str(error))
    finally:
        trim_memory()


def _clear(folder: Path) -> None:
    """Delete what a run made of a slide; a pathologist's review is not the run's to delete."""
    for item in folder.iterdir() if folder.is_dir() else ():
        if not item.name.startswith(REVIEW_NAME):  # nor one that is being written
            remove(item)


def record_loss(task: SlideTask, lost: Lost) -> SlideOutcome:
    """Record a slide whose process died; leave it to whoever has taken it up since."""
    if lost.still_here:  # the lock is this process's
        note_where_it_hangs(task.run.folder(task.job))
        return _record_loss(task, lost)
    try:
        with slide_lock(task.run.folder(task.job)):
            return _record_loss(task, lost)
    except SlideBusyError as error:
        return SlideOutcome(None, busy_owner=str(error))


def _record_loss(task: SlideTask, lost: Lost) -> SlideOutcome:
    status = lost_status(task.job, task.run, lost)
    write_status(task.run.folder(task.job), status)
    remove_crash_dump(task.run.folder(task.job))
    return SlideOutcome(status)


def _do_locked(
    task: SlideTask, send_progress: SendProgress, executor: BlockExecutor
) -> SlideOutcome:
    job, run, folder = task.job, task.run, task.run.folder(task.job)
    make_folder(folder, folder.parent.parent)
    sweep_parts(folder)
    before = read_status(folder)
    if not task.overwrite and is_finished(job, run):  # by another run, a moment ago
        return SlideOutcome(before, skipped=True)
    if crashed_before(folder):
        return _record_loss(task, Lost(LossCause.EARLIER_RUN, "in an earlier run"))
    attempt = 1 + (before.attempt if before else 0)
    if task.overwrite:
        with storing(folder):
            _clear(folder)
    send_progress((0, 0))  # it begins
    watched = (
        nullcontext(_nothing)
        if task.stall_seconds is None
        else crash_dump(folder, task.stall_seconds)
    )
    return SlideOutcome(_do_watched(task, send_progress, executor, attempt, watched))


def _do_watched(
    task: SlideTask,
    send_progress: SendProgress,
    executor: BlockExecutor,
    attempt: int,
    watched: AbstractContextManager[Callable[[], None]],
) -> AnyStatus:
    """Do the slide; turn what goes wrong with it into its record."""
    job, run, folder = task.job, task.run, task.run.folder(task.job)
    running = Running(slide=str(job.source.path), run_id=run.run_id, attempt=attempt)
    before, read_before = failure_fingerprint(job, run), _bytes_read()
    with watched as alive:

        def entered(stage: str) -> None:
            alive()
            send_progress((0, 0))
            # Not flushed: only a kill loses it.
            write_status(folder, running.model_copy(update={"stage": stage}), flush=False)

        def progress(done: int, n_patches: int) -> None:
            alive()
            send_progress((done, n_patches))

        clock = StageClock(entered=entered)
        try:
            with _with_local_copy(task, clock, lambda: progress(0, 0)) as local_job:
                result = do_slide(
                    run, local_job, executor, progress=progress, clock=clock, attempt=attempt
                )
        except StorageError:
            raise
        except Exception as error:  # the boundary of a slide: recorded with its traceback
            known = _in_our_words(error)
            if not isinstance(known, WsiPipelineError):
                logger.exception("%s failed", job.slide_id)
            failed = failed_status(known, running, clock.seconds, clock.current)
            # Nothing it depends on where that changed under it: it is done again.
            same = before if failure_fingerprint(job, run) == before else None
            failed = failed.model_copy(update={"failure_fingerprint": same})
            write_status(folder, failed)
            return failed
    read = _bytes_read()
    bytes_read = None if read is None or read_before is None else read - read_before
    return result.status.model_copy(update={"bytes_read": bytes_read})


@contextmanager
def _with_local_copy(
    task: SlideTask, clock: StageClock, alive: Callable[[], None]
) -> Iterator[SlideJob]:
    """Yield the job, its slide on a fast drive where the configuration names one."""
    cache, source = task.run.config.execution.local_cache, task.job.source
    if cache is None:
        yield task.job
        return
    with ExitStack() as stack:
        with clock("copy"):
            copy = stack.enter_context(local_copy(source.path, Path(cache), alive))
        stack.callback(forget_readers)  # before the copy goes: an open file keeps its space
        yield replace(task.job, source=replace(source, copy=copy))


def _bytes_read() -> int | None:
    """Return what this process has read so far, also from the cache; None where nobody counts."""
    import psutil  # type: ignore[import-untyped]

    try:
        counters = psutil.Process().io_counters()
    except (AttributeError, psutil.Error):  # macOS
        return None
    return int(getattr(counters, "read_chars", counters.read_bytes))


def _in_our_words(error: Exception) -> Exception:
    """Translate what the system says of a drive that went away and of memory that is used up."""
    if isinstance(error, MemoryError):
        return WsiPipelineError("there was not enough memory", MEMORY_ADVICE)
    if isinstance(error, OSError):
        return ReadError(str(error), "Check the slide's drive, then run with --retry-failed")
    return error


def _nothing() -> None:
    pass
