"""Many slides: what is done is skipped, what fails is recorded, the rest goes on."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from wsi_pipeline.archive.meters import GpuMeter, QueueMeter
from wsi_pipeline.archive.record import RunRecord, metrics, outcome_of
from wsi_pipeline.archive.slide_list import SlideEntry
from wsi_pipeline.archive.slide_task import SlideOutcome, SlideTask, do_task, record_loss
from wsi_pipeline.archive.states import SlideState, put_in_queue, state_of
from wsi_pipeline.classifier import ModelCard, find_model
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError, StorageError, WsiPipelineError
from wsi_pipeline.execution.backend import Backend, open_backend
from wsi_pipeline.execution.executor import Lost
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.files import storing
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps.grid import TileGrid
from wsi_pipeline.pipeline.run import SlideJob
from wsi_pipeline.results.parquet import check_parquet
from wsi_pipeline.results.slide_files import read_status, write_status
from wsi_pipeline.results.summary import READING_THREADS, Summary

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 2.0
"""How often a slide that another run does is looked at, once nothing else is left."""


class Watcher(Protocol):
    """Who is told how a run goes (a terminal, a log)."""

    def run_started(self, run_id: str, n_slides: int, where: str) -> None:
        """Tell that a run begins, how many slides it has to do, and where they are done."""
        ...

    def slide_started(self, job: SlideJob) -> None:
        """Tell that a slide begins."""
        ...

    def patches_done(self, job: SlideJob, done: int, n_patches: int) -> None:
        """Tell how far a slide is."""
        ...

    def slide_finished(self, job: SlideJob, status: dict[str, Any], *, skipped: bool) -> None:
        """Tell how a slide ended; `skipped` where that was before this run."""
        ...

    def waiting_for(self, job: SlideJob, owner: str) -> None:
        """Tell that another run does a slide; this one waits for it."""
        ...


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How many slides ended how."""

    done: int
    empty: int
    failed: int
    skipped: int
    """Done, empty or failed before, not done again; counted there too."""


def make_jobs(
    entries: Sequence[SlideEntry], out: Path, config: Config, mask: Path | None = None
) -> list[SlideJob]:
    """Return a job for each slide, its results under ``out/slides/<slide_id>``.

    Raises
    ------
    ConfigError
        Where the mask does not exist, or its folder has none for any of the slides.
    """
    jobs = [
        SlideJob(
            entry.slide_id,
            entry.source(config),
            out.absolute() / "slides" / entry.slide_id,
            config,
            _mask_of(mask, entry.slide_id),
        )
        for entry in entries
    ]
    if mask is not None and not any(job.mask_path for job in jobs):
        raise ConfigError(
            f"--mask {mask} holds no mask of these slides" if mask.exists() else f"no {mask}",
            "Give a GeoJSON or PNG file, or a folder of <slide_id>.geojson or .png",
        )
    return jobs


def run_slides(
    jobs: Sequence[SlideJob],
    out: Path,
    config: Config,
    watcher: Watcher,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
) -> RunOutcome:
    """Do every slide that is not finished yet and keep the record of the run.

    One slide that fails is recorded with stage, reason and advice, and the run goes on.

    Raises
    ------
    ModelError, ConfigError
        Where no slide could be done with this model, stride or scheduler; nothing is written then.
    StorageError
        Where the output folder cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise StorageError(f"{out} cannot be written: it is a file", "Choose another output folder")
    if config.parquet:
        check_parquet()
    card = find_model(config.model)
    _check_stride(config, card)
    to_do, before = _sort_out(jobs, card, overwrite=overwrite, retry_failed=retry_failed)
    with open_backend(config, len(to_do)) as backend:  # nothing is written before this
        with storing(out):
            (out / "slides").mkdir(parents=True, exist_ok=True)
        record = RunRecord.start(out, config, card, [job.source.path for job in jobs])
        with ThreadPoolExecutor(READING_THREADS) as pool:
            list(pool.map(put_in_queue, to_do))
        gpu = GpuMeter()
        progress = RunProgress(Summary(out, parquet=config.parquet), watcher, len(to_do))

        def close(end: str) -> None:
            progress.put_back_unfinished()
            record.finish(end, progress.outcomes, {**progress.metrics(), **gpu.figures()})
            progress.summary.close()

        end = "interrupted"
        try:
            watcher.run_started(record.run_id, len(to_do), backend.words)
            for job in before:
                progress.skip(job)
            tasks = _tasks(to_do, card, record.run_id, backend, overwrite=overwrite)
            _do_all(tasks, backend, progress, close)
            end = "failed" if progress.outcome().failed else "done"
        finally:
            close(end)
    return progress.outcome()


class RunProgress:
    """What has become of the slides so far; tells whoever watches."""

    def __init__(self, summary: Summary, watcher: Watcher, n_to_do: int) -> None:
        self.summary, self._watcher = summary, watcher
        self._queue = QueueMeter(n_to_do)
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.done_now: dict[str, dict[str, Any]] = {}
        self.busy: list[SlideTask] = []
        self._under_way: dict[str, SlideTask] = {}
        self._n_skipped = 0
        self._start = time.monotonic()

    def metrics(self) -> dict[str, Any]:
        """Return the figures of the slides that were done now."""
        seconds = time.monotonic() - self._start
        return {**metrics(self.done_now, seconds), "queue": self._queue.figures()}

    def on_progress(self, task: SlideTask, message: tuple[int, int]) -> None:
        """Take in that a slide has begun, or how far it is."""
        if task.job.slide_id not in self._under_way:
            self._under_way[task.job.slide_id] = task
            self._queue.begun()
            self._watcher.slide_started(task.job)
        self._watcher.patches_done(task.job, *message)

    def report(self, task: SlideTask, result: SlideOutcome | Lost) -> None:
        """Take in what became of a slide."""
        job = task.job
        self._queue.ended(has_begun=self._under_way.pop(job.slide_id, None) is not None)
        outcome = record_loss(task, result) if isinstance(result, Lost) else result
        if outcome.busy_owner:
            self.busy.append(dataclasses.replace(task, overwrite=False))
            self._watcher.waiting_for(job, outcome.busy_owner)
            return
        self._enter(job, outcome.status, skipped=outcome.skipped)

    def skip(self, job: SlideJob) -> None:
        """Take in a slide that an earlier run has finished."""
        self._enter(job, read_status(job.folder), skipped=True)

    def put_back_unfinished(self) -> None:
        """Put the slides that an interrupt has stopped back in the queue; their blocks are kept."""
        for task in self._under_way.values():
            try:
                with slide_lock(task.job.folder):
                    status = {**read_status(task.job.folder), "state": "queued"}
                    write_status(task.job.folder, status)
                    self.summary.update(task.job.slide_id, status)
            except (SlideBusyError, WsiPipelineError) as error:
                logger.debug("%s stays as it is: %s", task.job.slide_id, error)

    def outcome(self) -> RunOutcome:
        """Return how many slides ended how."""
        states = [str(outcome.get("state")) for outcome in self.outcomes.values()]
        done, empty, failed = (states.count(state) for state in ("done", "empty", "failed"))
        return RunOutcome(done, empty, failed, self._n_skipped)

    def _enter(self, job: SlideJob, status: dict[str, Any], *, skipped: bool) -> None:
        self.outcomes[job.slide_id] = outcome_of(status)
        if skipped:
            self._n_skipped += 1
        else:
            self.done_now[job.slide_id] = self.outcomes[job.slide_id]
        self.summary.update(job.slide_id, status)
        self._watcher.slide_finished(job, status, skipped=skipped)


def _sort_out(
    jobs: Sequence[SlideJob], card: ModelCard, *, overwrite: bool, retry_failed: bool
) -> tuple[list[SlideJob], list[SlideJob]]:
    """Return the slides to do and those that stay as they are."""
    if overwrite:
        return list(jobs), []
    again = {SlideState.TO_DO} | ({SlideState.GIVEN_UP} if retry_failed else set())
    with ThreadPoolExecutor(READING_THREADS) as pool:
        states = list(pool.map(lambda job: state_of(job, card), jobs))
    to_do = [job for job, state in zip(jobs, states, strict=True) if state in again]
    return to_do, [job for job, state in zip(jobs, states, strict=True) if state not in again]


def _check_stride(config: Config, card: ModelCard) -> None:
    """Refuse a stride that no slide could be done with, before any is."""
    stride_px = config.tiling.stride_px or card.patch_size_px
    TileGrid((0, 0), (1, 1), Mpp(1, 1), card.patch_size_px, stride_px, card.spacing_um_px)


def _tasks(
    jobs: list[SlideJob], card: ModelCard, run_id: str, backend: Backend, *, overwrite: bool
) -> list[SlideTask]:
    """Return the tasks, the largest files first, so that no long slide is left for the end."""
    tasks = [
        SlideTask(
            _with_threads(job, backend.threads), card, run_id, overwrite, backend.stall_seconds
        )
        for job in jobs
    ]
    return sorted(tasks, key=lambda task: -_size(task.job)) if backend.is_isolated else tasks


def _do_all(
    tasks: list[SlideTask], backend: Backend, progress: RunProgress, close: Callable[[str], None]
) -> None:
    """Do the tasks; in the end wait for those that another run has, and do what it leaves."""
    work = partial(do_task, backend.block_executor)

    def report(task: SlideTask, result: SlideOutcome | Lost) -> None:
        progress.report(task, result)
        if isinstance(result, Lost) and result.still_here:
            _leave(close)

    while tasks:
        backend.executor.run(work, tasks, report, progress.on_progress)
        tasks = []
        while progress.busy and not tasks:
            time.sleep(BUSY_SECONDS)
            tasks = [task for task in progress.busy if _is_free(task.job)]
            progress.busy = [task for task in progress.busy if task not in tasks]


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


def _is_free(job: SlideJob) -> bool:
    try:
        with slide_lock(job.folder):
            return True
    except SlideBusyError:
        return False


def _with_threads(job: SlideJob, threads: int) -> SlideJob:
    execution = job.config.execution.model_copy(update={"workers": threads})
    config = job.config.model_copy(update={"execution": execution})
    return dataclasses.replace(job, config=config)


def _size(job: SlideJob) -> int:
    try:
        return job.source.path.stat().st_size
    except OSError:
        return 0


def _mask_of(mask: Path | None, slide_id: str) -> Path | None:
    """Return the mask of a slide: the file itself, or <slide_id>.geojson or .png in a folder."""
    if mask is None or mask.is_file():
        return mask
    for suffix in (".geojson", ".json", ".png"):
        if (mask / f"{slide_id}{suffix}").is_file():
            return mask / f"{slide_id}{suffix}"
    return None
