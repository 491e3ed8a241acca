"""Logs and progress: a bar on a terminal, plain lines in a file."""

from __future__ import annotations

import logging
import sys
from typing import Any, Self

from wsi_pipeline.cli.printing import counted
from wsi_pipeline.cli.terminal import JsonFormatter, Ticker, above_the_bar
from wsi_pipeline.files import finite
from wsi_pipeline.pipeline.resolved import SlideJob
from wsi_pipeline.results.status import AnyStatus, Done, Empty, Failed

logger = logging.getLogger(__name__)


class TerminalWatcher:
    """Tells how a run goes: a progress bar where there is a terminal, a line a slide elsewhere.

    The bar counts the patches of a single slide, else the slides.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._ticker: Ticker | None = None
        self._n_slides = 0
        self.failed: dict[str, str] = {}
        """Slides that failed, with the reason."""
        self.done: list[str] = []
        """Slides that are done, now or before."""
        self._has_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Return the watcher."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away, however the run ends."""
        if self._ticker is not None:
            self._ticker.close()

    def run_started(self, run_id: str, n_slides: int, where: str) -> None:
        """Open the bar and give the log its run id."""
        self._n_slides = n_slides
        for handler in logging.getLogger("wsi_pipeline").handlers:
            if isinstance(handler.formatter, JsonFormatter):
                handler.formatter.run_id = run_id
        facts = {"slides": n_slides, "where": where}
        logger.info("run started", extra={"facts": facts})
        if n_slides > 1:
            print(f"{n_slides} slides to do: {where}", flush=True)
        if self._has_terminal and n_slides:
            from tqdm import tqdm

            unit = "patch" if n_slides == 1 else "slide"
            self._bar = tqdm(total=n_slides, unit=unit, leave=False, file=sys.stderr)
            self._ticker = Ticker(self._bar)

    def slide_started(self, job: SlideJob) -> None:
        """Name the slide."""
        if self._bar is not None:
            self._bar.set_description(job.slide_id)
        logger.info("slide started", extra={"facts": {"slide_id": job.slide_id}})

    def patches_done(self, job: SlideJob, done: int, n_patches: int) -> None:
        """Move the bar of a single slide."""
        logger.debug("%s: %d of %d patches", job.slide_id, done, n_patches)
        if self._bar is not None and self._n_slides == 1 and n_patches:
            self._bar.total = n_patches
            self._bar.update(done - self._bar.n)

    def slide_finished(self, job: SlideJob, status: AnyStatus | None, *, skipped: bool) -> None:
        """Say in a line how a slide ended."""
        if isinstance(status, Failed):
            self.failed[job.slide_id] = status.error
        elif isinstance(status, Done):
            self.done.append(job.slide_id)
        self._say(f"{job.slide_id}: {_skipped_words(status) if skipped else _words(status)}")
        cautions = status.cautions if isinstance(status, Done | Empty) else ()
        for words in () if skipped else cautions:
            self._say(f"  note: {words}")
        known = finite(status.to_dict()) if status else {}
        facts = {"slide_id": job.slide_id, "skipped": skipped, **known}
        logger.info("slide finished", extra={"facts": facts})
        if self._bar is not None and not skipped and self._n_slides > 1:
            self._bar.update(1)

    def waiting_for(self, job: SlideJob, owner: str) -> None:
        """Say that another run does a slide."""
        self._say(f"{job.slide_id}: {owner} does it; waiting for that in the end")
        logger.info("slide is busy", extra={"facts": {"slide_id": job.slide_id, "owner": owner}})

    def _say(self, line: str) -> None:
        with above_the_bar():
            print(line, flush=True)


def _skipped_words(status: AnyStatus | None) -> str:
    if not isinstance(status, Failed):
        return "finished before, skipped"
    return f"failed before ({status.error}), skipped; --retry-failed does it again"


def _words(status: AnyStatus | None) -> str:
    if isinstance(status, Failed):
        return f"FAILED in {status.stage}: {status.error}. {status.advice}".rstrip()
    if not isinstance(status, Done) or status.totals is None:
        return "empty: no tissue found"
    seconds, totals = sum(status.seconds.values()), status.totals
    found = (
        f"IDC {totals.idc_mm2:.2f} mm² of {totals.tissue_mm2:.1f} mm² tissue "
        f"({totals.idc_share:.1%}) in {counted(totals.n_regions, 'region')}"
    )
    if status.duplicate_of:
        return f"{found}; taken over from {status.duplicate_of} in {seconds:.1f} s"
    speed = status.patches / max(status.seconds.get("classify", 0.0), 1e-3)
    lost = f", {status.patches_lost} unreadable" if status.patches_lost else ""
    return f"{found}; {status.patches} patches{lost} in {seconds:.1f} s ({speed:.0f} patches/s)"
