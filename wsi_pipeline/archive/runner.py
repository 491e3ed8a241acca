"""Many slides: what is done is skipped, what fails is recorded, the rest goes on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wsi_pipeline.archive.inputs import SlideEntry
from wsi_pipeline.archive.record import RunRecord, write_summary
from wsi_pipeline.classifier import ModelCard, find_model
from wsi_pipeline.config import Config
from wsi_pipeline.errors import StorageError, WsiPipelineError
from wsi_pipeline.execution import Executor
from wsi_pipeline.outputs import MAP_NAME, failed_status, read_status, write_status
from wsi_pipeline.pipeline import SlideJob, StageClock, do_slide
from wsi_pipeline.planning import SlideSource
from wsi_pipeline.probability.files import storing

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Who is told how a run goes (a terminal, a log)."""

    def slide_started(self, job: SlideJob, number: int, n_slides: int) -> None:
        """Tell that a slide begins."""
        ...

    def patches_done(self, done: int, n_patches: int) -> None:
        """Tell how far the slide is."""
        ...

    def slide_finished(self, job: SlideJob, status: dict[str, Any], *, skipped: bool) -> None:
        """Tell how a slide ended."""
        ...


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How many slides ended how."""

    done: int
    empty: int
    failed: int
    skipped: int
    """Finished before, not done again (counted under done or empty too)."""


def make_jobs(
    entries: Sequence[SlideEntry], out: Path, config: Config, mask: Path | None = None
) -> list[SlideJob]:
    """Return a job for each slide, its results under ``out/slides/<slide_id>``."""
    return [
        SlideJob(
            entry.slide_id,
            SlideSource(entry.path, config.slide.mpp, entry.mpp_override, config.slide.apply_icc),
            out.absolute() / "slides" / entry.slide_id,
            config,
            _mask_of(mask, entry.slide_id),
        )
        for entry in entries
    ]


def run_slides(
    jobs: Sequence[SlideJob],
    out: Path,
    config: Config,
    executor: Executor,
    watcher: Watcher,
    *,
    overwrite: bool = False,
) -> RunOutcome:
    """Do every slide that is not finished yet and keep the record of the run.

    One slide that fails is recorded with stage, reason and advice, and the run goes on.

    Raises
    ------
    ModelError
        Where the model cannot be used: no slide could be done.
    StorageError
        Where the output folder cannot be written.
    """
    card = find_model(config.model)
    with storing(out):
        (out / "slides").mkdir(parents=True, exist_ok=True)
    record = RunRecord.start(out, config, card, [job.source.path for job in jobs])
    statuses: dict[str, dict[str, Any]] = {}
    skipped = 0
    try:
        for number, job in enumerate(jobs, start=1):
            if not overwrite and is_finished(job, card):
                statuses[job.slide_id] = read_status(job.folder)
                skipped += 1
                watcher.slide_finished(job, statuses[job.slide_id], skipped=True)
                continue
            watcher.slide_started(job, number, len(jobs))
            if overwrite:
                with storing(job.folder):
                    shutil.rmtree(job.folder, ignore_errors=True)
            status = _do_or_record(job, card, executor, watcher.patches_done)
            statuses[job.slide_id] = status
            watcher.slide_finished(job, status, skipped=False)
    except BaseException:
        record.finish("interrupted", statuses)
        raise
    finally:
        write_summary(out)
    states = [str(status.get("state")) for status in statuses.values()]
    outcome = RunOutcome(
        states.count("done"), states.count("empty"), states.count("failed"), skipped
    )
    record.finish("failed" if outcome.failed else "done", statuses)
    return outcome


def is_finished(job: SlideJob, card: ModelCard) -> bool:
    """Return whether a slide's results are there, made of the same numbers that are asked for now.

    A slide that was done with another model or other settings of the map is done again.
    """
    status = read_status(job.folder)
    if status.get("state") not in ("done", "empty") or not (job.folder / MAP_NAME).is_dir():
        return False
    if status.get("map_sha256") != job.map_sha256(card) or not _is_same_file(job, status):
        return False
    return job.config.outputs == "map" or status["state"] == "empty" or "thumbnail" in status


def _is_same_file(job: SlideJob, status: dict[str, Any]) -> bool:
    """Return whether the slide is still the file that was done, by its content where in doubt."""
    file = status.get("file", {})
    try:
        stat = job.source.path.stat()
    except OSError:
        return True  # the drive may be away: what is done stays done
    if stat.st_size != file.get("bytes"):
        return False
    if stat.st_mtime_ns == file.get("mtime_ns"):
        return True
    try:
        with job.source.open() as reader:
            return bool(reader.info.quickhash == file.get("quickhash"))
    except WsiPipelineError:
        return False


def _do_or_record(
    job: SlideJob, card: ModelCard, executor: Executor, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Do one slide; turn what goes wrong with it into its record."""
    clock = StageClock()
    try:
        result = do_slide(job, card, executor, progress=progress, clock=clock)
    except StorageError:
        raise  # the output folder is the run's, not the slide's: going on would lose every slide
    except Exception as error:  # the boundary of a slide: recorded with its traceback
        if not isinstance(error, WsiPipelineError):
            logger.exception("%s failed", job.slide_id)
        status = {
            "slide": str(job.source.path),
            **failed_status(error, clock.current, clock.seconds),
        }
        write_status(job.folder, status)
        return status
    return result.status


def _mask_of(mask: Path | None, slide_id: str) -> Path | None:
    """Return the mask of a slide: the file itself, or <slide_id>.geojson or .png in a folder."""
    if mask is None or mask.is_file():
        return mask
    for suffix in (".geojson", ".json", ".png"):
        if (mask / f"{slide_id}{suffix}").is_file():
            return mask / f"{slide_id}{suffix}"
    return None
