"""From the slides that were found to the jobs of a run, and which of them are still to do."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wsi_pipeline.archive.slide_list import SlideEntry
from wsi_pipeline.archive.states import SlideState, state_of
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.results.summary import READING_THREADS


def make_jobs(
    entries: Sequence[SlideEntry], config: Config, mask: Path | None = None
) -> list[SlideJob]:
    """Return a job for each slide.

    Parameters
    ----------
    entries : sequence of SlideEntry
    config : Config
        Says how slides are opened.
    mask : Path, optional
        A tissue mask (GeoJSON or PNG), or a folder of ``<slide_id>.geojson``.

    Raises
    ------
    ConfigError
        Where the mask does not exist, or its folder has none for any of the slides.
    """
    jobs = [
        SlideJob(
            entry.slide_id,
            entry.source(config),
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


def sort_out(
    jobs: Sequence[SlideJob], run: ResolvedRun, *, overwrite: bool, retry_failed: bool
) -> tuple[list[SlideJob], list[SlideJob]]:
    """Return the slides to do and those that stay as they are."""
    if overwrite:
        return list(jobs), []
    again = {SlideState.TO_DO} | ({SlideState.GIVEN_UP} if retry_failed else set())
    with ThreadPoolExecutor(READING_THREADS) as pool:
        states = list(pool.map(lambda job: state_of(job, run), jobs))
    to_do = [job for job, state in zip(jobs, states, strict=True) if state in again]
    return to_do, [job for job, state in zip(jobs, states, strict=True) if state not in again]


def _mask_of(mask: Path | None, slide_id: str) -> Path | None:
    """Return the mask of a slide: the file itself, or <slide_id>.geojson or .png in a folder."""
    if mask is None or mask.is_file():
        return mask
    for suffix in (".geojson", ".json", ".png"):
        if (mask / f"{slide_id}{suffix}").is_file():
            return mask / f"{slide_id}{suffix}"
    return None
