"""Many slides: what is done is skipped, what fails is recorded, the rest goes on."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Final

from wsi_pipeline.archive.duplicates import tell_of_duplicates, with_duplicates
from wsi_pipeline.archive.jobs import bound_jobs, sort_out
from wsi_pipeline.archive.meters import GpuMeter
from wsi_pipeline.archive.progress import RunOutcome, RunProgress, Watcher
from wsi_pipeline.archive.record import RunRecord
from wsi_pipeline.archive.slide_task import SlideOutcome, SlideTask, do_task
from wsi_pipeline.archive.states import put_in_queue
from wsi_pipeline.errors import StorageError
from wsi_pipeline.execution.backend import Backend, open_backend
from wsi_pipeline.execution.executor import Lost
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.files import storing
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.results.layout import SLIDES_NAME
from wsi_pipeline.results.parquet import check_parquet
from wsi_pipeline.results.registry import SlideRegistry
from wsi_pipeline.results.status import read_status
from wsi_pipeline.results.summary import READING_THREADS, Summary

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 2.0
"""How often a slide that another run does is looked at, once nothing else is left."""


def run_slides(
    jobs: Sequence[SlideJob],
    run: ResolvedRun,
    watcher: Watcher,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
) -> RunOutcome:
    """Do every slide that is not finished yet and keep the record of the run.

    One slide that fails is recorded with stage, reason and advice, and the run goes on.

    Raises
    ------
    ConfigError
        Where the scheduler does not answer; nothing is written then.
    StorageError
        Where the output folder cannot be written.
    """
    out, config = run.out, run.config
    if out.exists() and not out.is_dir():
        raise StorageError(f"{out} cannot be written: it is a file", "Choose another output folder")
    if config.parquet:
        check_parquet()
    registry = SlideRegistry.read(out)
    jobs = with_duplicates(bound_jobs(jobs, registry), run)
    to_do, before = sort_out(jobs, run, overwrite=overwrite, retry_failed=retry_failed)
    with open_backend(config, len(to_do), run.model) as backend:  # nothing is written before this
        with storing(out):
            (out / SLIDES_NAME).mkdir(parents=True, exist_ok=True)
        registry.save()
        record = RunRecord.start(run, [job.source.path for job in jobs])
        run = replace(run, run_id=record.run_id)
        run = run.placed(
            backend.threads, on_gpu_workers=backend.on_gpu_workers, owner=backend.owner
        )
        with ThreadPoolExecutor(READING_THREADS) as pool:
            list(pool.map(lambda job: put_in_queue(job, run), to_do))
        gpu = GpuMeter()
        progress = RunProgress(Summary(out, parquet=config.parquet), watcher, len(to_do))

        def close(end: str) -> None:
            progress.put_back_unfinished()
            record.finish(end, progress.statuses, {**progress.metrics(), **gpu.figures()})
            progress.summary.close()

        def report(task: SlideTask, result: SlideOutcome | Lost) -> None:
            progress.report(task, result)
            if isinstance(result, Lost) and result.still_here:
                _leave(close)

        work, end = partial(do_task, backend.block_executor), "interrupted"
        try:
            watcher.run_started(record.run_id, len(to_do), backend.words)
            tell_of_duplicates(jobs)
            for job in before:
                progress.skip(job, read_status(run.folder(job)))
            for tasks in _rounds(_tasks(to_do, run, backend, overwrite=overwrite), progress):
                backend.executor.run(work, tasks, report, progress.on_progress)
            end = "failed" if progress.outcome().failed else "done"
        finally:
            close(end)
    return progress.outcome()


def _tasks(
    jobs: list[SlideJob], run: ResolvedRun, backend: Backend, *, overwrite: bool
) -> list[SlideTask]:
    """Return the tasks, the largest files first, so that no long slide is left for the end."""
    tasks = [SlideTask(job, run, overwrite) for job in jobs]
    return sorted(tasks, key=lambda task: -_size(task.job)) if backend.is_isolated else tasks


def _rounds(tasks: list[SlideTask], progress: RunProgress) -> Iterator[list[SlideTask]]:
    """Yield the tasks, duplicates after the others, whose results they take over.

    After each of the two, wait for those that another run has, and yield what it leaves.
    """
    for is_duplicate in (False, True):
        left = [task for task in tasks if bool(task.job.duplicate_of) is is_duplicate]
        while left:
            yield left
            left = []
            while progress.busy and not left:
                time.sleep(BUSY_SECONDS)
                left = [task for task in progress.busy if _is_free(task)]
                progress.busy = [task for task in progress.busy if task not in left]


def _leave(close: Callable[[str], None]) -> None:
    """End this process, since a thread of it hangs and nothing else can end that."""
    try:
        close("failed")
        logger.error(
            "the slide still hangs in this process, which therefore ends. Run again for the rest; "
            "with `execution: {isolation: processes}` a run goes on without such a slide"
        )
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(1)


def _is_free(task: SlideTask) -> bool:
    try:
        with slide_lock(task.run.folder(task.job)):
            return True
    except SlideBusyError:
        return False


def _size(job: SlideJob) -> int:
    try:
        return job.source.path.stat().st_size
    except OSError:
        return 0
