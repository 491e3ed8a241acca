"""What has become of a run's slides so far, and who is told."""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass
from typing import Protocol

from wsi_pipeline.archive.meters import QueueMeter
from wsi_pipeline.archive.record import RunMetrics, kept_of, metrics
from wsi_pipeline.archive.slide_task import SlideOutcome, SlideTask, record_loss
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.execution.executor import Lost
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.pipeline.resolved import SlideJob
from wsi_pipeline.results.layout import slide_folder
from wsi_pipeline.results.status import AnyStatus, Queued, Running, read_status, write_status
from wsi_pipeline.results.summary import Summary

logger = logging.getLogger(__name__)


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

    def slide_finished(self, job: SlideJob, status: AnyStatus | None, *, skipped: bool) -> None:
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


class RunProgress:
    """What has become of the slides so far; tells whoever watches.

    Parameters
    ----------
    summary : Summary
        Of the output folder; kept up to date.
    watcher : Watcher
    n_to_do : int
        Slides that are not finished when the run begins.
    """

    def __init__(self, summary: Summary, watcher: Watcher, n_to_do: int) -> None:
        self.summary, self._watcher = summary, watcher
        self._queue = QueueMeter(n_to_do)
        self.statuses: dict[str, AnyStatus | None] = {}
        self.busy: list[SlideTask] = []
        self._done_now: set[str] = set()
        self._under_way: dict[str, SlideTask] = {}
        self._start = time.monotonic()

    def metrics(self) -> RunMetrics:
        """Return the figures of the slides that were done now."""
        seconds = time.monotonic() - self._start
        done_now = [self.statuses[name] for name in self._done_now]
        return {**metrics(done_now, seconds), "queue": self._queue.figures()}

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

    def skip(self, job: SlideJob, status: AnyStatus | None) -> None:
        """Take in a slide that an earlier run has finished."""
        self._enter(job, status, skipped=True)

    def put_back_unfinished(self) -> None:
        """Put the slides that an interrupt has stopped back in the queue; their blocks are kept."""
        for task in self._under_way.values():
            folder = slide_folder(task.run.out, task.job.slide_id)
            try:
                with slide_lock(folder):
                    before = read_status(folder)
                    attempt = before.attempt if isinstance(before, Running) else 0
                    status = Queued(slide=str(task.job.source.path), attempt=attempt)
                    write_status(folder, status)
                    self.summary.update(task.job.slide_id, status)
            except (SlideBusyError, WsiPipelineError) as error:
                logger.debug("%s stays as it is: %s", task.job.slide_id, error)

    def outcome(self) -> RunOutcome:
        """Return how many slides ended how."""
        states = [status.state for status in self.statuses.values() if status]
        done, empty, failed = (states.count(state) for state in ("done", "empty", "failed"))
        return RunOutcome(done, empty, failed, len(self.statuses) - len(self._done_now))

    def _enter(self, job: SlideJob, status: AnyStatus | None, *, skipped: bool) -> None:
        self.statuses[job.slide_id] = kept_of(status)
        if not skipped:
            self._done_now.add(job.slide_id)
        self.summary.update(job.slide_id, status)
        self._watcher.slide_finished(job, status, skipped=skipped)
