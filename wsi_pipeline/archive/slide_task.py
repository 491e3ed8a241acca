"""One slide as a task: locked, watched over, and its failure turned into its record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wsi_pipeline.archive.duplicates import take_over
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
from wsi_pipeline.execution.block_executor import BlockExecutor
from wsi_pipeline.execution.executor import LossCause, Lost, SendProgress
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.execution.memory import keep_memory, trim_memory
from wsi_pipeline.execution.watchdog import crash_dump, note_where_it_hangs, remove_crash_dump
from wsi_pipeline.files import PART_SUFFIX, make_folder, remove, storing
from wsi_pipeline.pipeline.clock import StageClock
from wsi_pipeline.pipeline.passes import Progress
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.pipeline.run import do_slide
from wsi_pipeline.results.layout import REVIEW_NAME
from wsi_pipeline.results.status import (
    AnyStatus,
    Failed,
    FailureFingerprint,
    Running,
    read_status,
    write_status,
)
from wsi_pipeline.slides import forget_readers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlideTask:
    """All that a process needs to do one slide."""

    job: SlideJob
    run: ResolvedRun
    overwrite: bool
    """Do it although it is finished."""


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
    """Do a slide unless it is finished or somebody else does it; record what goes wrong with it.

    Raises
    ------
    StorageError
        The output folder is the run's, not the slide's: going on would lose every slide.
    """
    keep_memory()
    try:
        with ExitStack() as stack:
            stack.enter_context(slide_lock(task.run.folder(task.job)))
            running = _begin(task)
            if isinstance(running, SlideOutcome):
                return running
            watch = stack.enter_context(_watched(task, running, send_progress))
            try:
                status = take_over(task.run, task.job, watch.clock, running.attempt)
                if status is not None:
                    return SlideOutcome(status)
                with _with_local_copy(task, watch) as job:
                    result = do_slide(
                        task.run,
                        job,
                        executor,
                        progress=watch.progress,
                        clock=watch.clock,
                        attempt=running.attempt,
                    )
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001 - the boundary of a slide: recorded
                return SlideOutcome(_record_failure(task, running, watch, error))
            bytes_read = _bytes_since(watch.read_before)
            return SlideOutcome(result.status.model_copy(update={"bytes_read": bytes_read}))
    except SlideBusyError as error:
        return SlideOutcome(None, busy_owner=str(error))
    finally:
        trim_memory()


def _sweep(folder: Path) -> None:
    """Remove what killed processes were writing; who holds the lock knows that no run writes."""
    for part in folder.glob(f"*{PART_SUFFIX}"):
        if not part.name.startswith(REVIEW_NAME):
            remove(part)


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


def _begin(task: SlideTask) -> Running | SlideOutcome:
    """Make way for a slide and return its status; its outcome where there is nothing to do."""
    job, run, folder = task.job, task.run, task.run.folder(task.job)
    make_folder(folder, folder.parent.parent)
    _sweep(folder)
    before = read_status(folder)
    if not task.overwrite and is_finished(job, run):  # by another run, a moment ago
        return SlideOutcome(before, skipped=True)
    if crashed_before(folder):
        return _record_loss(task, Lost(LossCause.EARLIER_RUN, "in an earlier run"))
    if task.overwrite:
        with storing(folder):
            _clear(folder)
    attempt = 1 + (before.attempt if before else 0)
    return Running(slide=str(job.source.path), run_id=run.run_id, attempt=attempt)


@dataclass(frozen=True, slots=True)
class _Watch:
    """What is known of a slide while it is done, and who is told."""

    clock: StageClock
    progress: Progress
    """Also a sign of life."""
    fingerprint: FailureFingerprint | None
    """Before anything was read."""
    read_before: int | None
    """By this process, bytes."""


@contextmanager
def _watched(task: SlideTask, running: Running, send_progress: SendProgress) -> Iterator[_Watch]:
    """Note how far the slide is, and where this process stood should it crash or be ended."""
    folder = task.run.folder(task.job)
    with crash_dump(folder):

        def progress(done: int, n_patches: int) -> None:
            send_progress((done, n_patches))

        def entered(stage: str) -> None:
            progress(0, 0)
            # Not flushed: only a kill loses it.
            write_status(folder, running.model_copy(update={"stage": stage}), flush=False)

        progress(0, 0)  # it begins
        clock = StageClock(entered=entered)
        yield _Watch(clock, progress, failure_fingerprint(task.job, task.run), _bytes_read())


def _record_failure(task: SlideTask, running: Running, watch: _Watch, error: Exception) -> Failed:
    """Record what went wrong with a slide."""
    known = _in_our_words(error)
    if not isinstance(known, WsiPipelineError):
        logger.error("%s failed", task.job.slide_id, exc_info=error)
    failed = failed_status(known, running, watch.clock.seconds, watch.clock.current)
    # Nothing it depends on where that changed under it: it is done again.
    is_same = failure_fingerprint(task.job, task.run) == watch.fingerprint
    kept = watch.fingerprint if is_same else None
    failed = failed.model_copy(update={"failure_fingerprint": kept})
    write_status(task.run.folder(task.job), failed)
    return failed


@contextmanager
def _with_local_copy(task: SlideTask, watch: _Watch) -> Iterator[SlideJob]:
    """Yield the job, its slide on a fast drive where the configuration names one."""
    cache, source = task.run.config.execution.local_cache, task.job.source
    if cache is None:
        yield task.job
        return
    with ExitStack() as stack:
        with watch.clock("copy"):
            alive = partial(watch.progress, 0, 0)
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


def _bytes_since(before: int | None) -> int | None:
    now = _bytes_read()
    return None if now is None or before is None else now - before


def _in_our_words(error: Exception) -> Exception:
    """Translate what the system says of a drive that went away and of memory that is used up."""
    if isinstance(error, MemoryError):
        return WsiPipelineError("there was not enough memory", MEMORY_ADVICE)
    if isinstance(error, OSError):
        return ReadError(str(error), "Check the slide's drive, then run with --retry-failed")
    return error
