"""Logs and progress: a bar on a terminal, plain lines in a file."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from wsi_pipeline.pipeline import SlideJob

logger = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TerminalWatcher:
    """Tells how a run goes: a progress bar where there is a terminal, a line a slide elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._started = 0.0

    def slide_started(self, job: SlideJob, number: int, n_slides: int) -> None:
        """Open the slide's bar."""
        self._started = time.perf_counter()
        if sys.stderr.isatty():
            from tqdm import tqdm

            name = f"[{number}/{n_slides}] {job.slide_id}"
            self._bar = tqdm(total=1, desc=name, unit="patch", leave=False, file=sys.stderr)

    def patches_done(self, done: int, n_patches: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.total = n_patches
            self._bar.update(done - self._bar.n)

    def slide_finished(self, job: SlideJob, status: dict[str, Any], *, skipped: bool) -> None:
        """Close the bar and say in a line how it ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        words = "finished before, skipped" if skipped else self._words(status)
        print(f"{job.slide_id}: {words}", flush=True)
        for warning in [] if skipped else status.get("warnings", []):
            print(f"  note: {warning}", flush=True)
        logger.info("slide finished", extra={"facts": {"slide_id": job.slide_id, **status}})

    def _words(self, status: dict[str, Any]) -> str:
        if status["state"] == "failed":
            return f"FAILED in {status['stage']}: {status['error']}. {status['advice']}".rstrip()
        if status["state"] == "empty":
            return "empty: no tissue found"
        seconds = time.perf_counter() - self._started
        totals = status["totals"]
        speed = status["patches"] / max(status["seconds"].get("classify", 0.0), 1e-3)
        lost = f", {status['patches_lost']} unreadable" if status["patches_lost"] else ""
        return (
            f"IDC {totals['idc_mm2']:.2f} mm² of {totals['tissue_mm2']:.1f} mm² tissue "
            f"({totals['idc_share']:.1%}) in {totals['n_regions']} regions; "
            f"{status['patches']} patches{lost} in {seconds:.1f} s ({speed:.0f} patches/s)"
        )
