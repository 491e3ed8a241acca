"""From the slides that were found to the jobs of a run, and which of them are still to do."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from wsi_pipeline.annotations import annotation_stem
from wsi_pipeline.archive.states import SlideState, state_of
from wsi_pipeline.config import Config
from wsi_pipeline.inputs.masks import masks_of
from wsi_pipeline.inputs.slide_list import SlideEntry
from wsi_pipeline.names import matching
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.results.registry import SlideRegistry, WantedSlide
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
        A tissue mask, or a folder of masks, see `masks_of`.

    Raises
    ------
    ConfigError
        Where the mask does not exist, or its folder has none for any of the slides.
    """
    masks = masks_of(mask, entries)
    unmasked = (f"no mask in {mask} is named by it: its tissue was found automatically",)
    return [
        SlideJob(
            entry.slide_id,
            entry.source(config),
            masks.get(entry.slide_id),
            unmasked if masks and entry.slide_id not in masks else (),
        )
        for entry in entries
    ]


def bound_jobs(jobs: Sequence[SlideJob], registry: SlideRegistry) -> list[SlideJob]:
    """Return the jobs under the ids that their slides' content has in the output folder."""
    bound = registry.bind([WantedSlide(job.slide_id, job.source.path) for job in jobs])
    return [
        replace(
            job,
            slide_id=slide_id,
            fingerprint=found,
            notes=(*job.notes, *mask_doubts(job, slide_id)),
        )
        for job, (slide_id, found) in zip(jobs, bound, strict=True)
    ]


def mask_doubts(job: SlideJob, slide_id: str) -> list[str]:
    """Return what has to be said of a slide's mask once the slide's id in the folder is known."""
    mask = job.mask_path
    if mask is None or slide_id == job.slide_id:
        return []
    if matching(annotation_stem(mask.name)) != matching(job.slide_id):
        return []
    return [
        f"the mask {mask.name} is named by the file, but this slide has the id {slide_id} here, "
        f"and {job.slide_id} may be another slide: see that it is this one's"
    ]


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
