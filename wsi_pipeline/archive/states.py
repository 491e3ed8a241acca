"""From status.json to what has to be done: finished, given up, interrupted, new."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import Any, Final

import wsi_pipeline
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.execution.crash_dumps import STALLED, read_crash_dump
from wsi_pipeline.execution.executor import Lost
from wsi_pipeline.files import storing
from wsi_pipeline.pipeline.run import SlideJob
from wsi_pipeline.results.slide_files import MAP_NAME, STATUS_NAME, read_status, write_status

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


def state_of(job: SlideJob, card: ModelCard) -> SlideState:
    """Return what has to be done about a slide.

    A slide that was done with another model, other settings of the map or another file is done
    again, and so is one that failed under other failure_fingerprint: another file, another version.
    """
    if is_finished(job, card):
        return SlideState.FINISHED
    status = read_status(job.folder)
    if status.get("state") == "failed" and status.get("failure_fingerprint") == failure_fingerprint(
        job, card
    ):
        return SlideState.GIVEN_UP
    return SlideState.TO_DO


def is_finished(job: SlideJob, card: ModelCard) -> bool:
    """Return whether a slide's results are there, made of the same numbers that are asked for now.

    A slide that was done with another model or other settings of the map is done again.
    """
    status = read_status(job.folder)
    if job.source.problem:  # the row of a list that makes no sense: to be told, not passed over
        return False
    if status.get("state") not in ("done", "empty") or not (job.folder / MAP_NAME).is_dir():
        return False
    if status.get("map_sha256") != _map_sha256(job, card) or not _is_same_file(job, status):
        return False
    return job.config.outputs == "map" or status["state"] == "empty" or "thumbnail" in status


def failure_fingerprint(job: SlideJob, card: ModelCard) -> dict[str, Any]:
    """Return what a failure depends on, nothing where the file is out of reach.

    A slide that failed because its drive was away is therefore done by the next run.
    """
    try:
        stat = job.source.path.stat()
        return {
            "bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "map_sha256": job.map_sha256(card),
            "version": wsi_pipeline.__version__,
        }
    except OSError:
        return {}


def put_in_queue(job: SlideJob) -> None:
    """Write the state "queued" where the slide has none; another run's word is left alone.

    Not flushed to the disk: a state that is lost with the power is "queued" again.
    """
    path = job.folder / STATUS_NAME
    with storing(path):
        job.folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"state": "queued", "slide": str(job.source.path)}, file)


def note_stage(job: SlideJob, running: dict[str, Any], stage: str) -> None:
    """Write which stage a slide is in, in one step but without flushing: only a kill loses it."""
    write_status(job.folder, {**running, "stage": stage}, flush=False)


def lost_status(job: SlideJob, card: ModelCard, lost: Lost) -> dict[str, Any]:
    """Return the record of a slide whose process died under it, from what it left behind."""
    status, words = read_status(job.folder), read_crash_dump(job.folder)
    advice = CRASH_ADVICE
    if STALLED in words:
        problem = f"nothing was finished in {job.config.execution.stall_seconds:g} s"
        advice = STALL_ADVICE
    elif "sign of life" in lost.reason:
        problem, advice = f"the process {lost.reason}", STALL_ADVICE
    elif "memory" in lost.reason:
        problem, advice = f"the process {lost.reason}", MEMORY_ADVICE
    else:
        first = words.split("\n", 1)[0].removeprefix("Fatal Python error: ")
        problem = f"the process crashed: {first or lost.reason}"
    return {
        **{key: status[key] for key in ("run_id", "attempt") if key in status},
        "state": "failed",
        "slide": str(job.source.path),
        "stage": status.get("stage", "open"),
        "error": problem,
        "advice": advice,
        "traceback": words,
        "seconds": {},
        "failure_fingerprint": failure_fingerprint(job, card),
    }


def _map_sha256(job: SlideJob, card: ModelCard) -> str | None:
    """Return the checksum of what the map depends on, None where a mask cannot be read."""
    try:
        return job.map_sha256(card)
    except OSError:
        return None


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


def crashed_before(folder: Path) -> bool:
    """Return whether a process of an earlier run died over the slide and nobody has recorded it."""
    return read_status(folder).get("state") == "running" and bool(read_crash_dump(folder))
