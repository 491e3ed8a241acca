"""What a run would do, slide by slide, without doing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wsi_pipeline.archive.duplicates import with_duplicates
from wsi_pipeline.archive.jobs import bound_jobs
from wsi_pipeline.archive.states import SlideState, state_of
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.pipeline.plan import plan_slide
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.results.registry import SlideRegistry


def describe(
    jobs: Sequence[SlideJob], run: ResolvedRun, *, overwrite: bool, retry_failed: bool
) -> Iterator[str]:
    """Yield a line a slide: what would be read and classified, or why it would fail."""
    card = run.card
    jobs = with_duplicates(bound_jobs(jobs, SlideRegistry.read(run.out)), run)
    yield f"model {card.name}: patches of {card.patch_size_px} px at {card.spacing_um_px:g} µm/px"
    total = 0
    for job in jobs:
        state = SlideState.TO_DO if overwrite else state_of(job, run)
        if state is SlideState.FINISHED or (state is SlideState.GIVEN_UP and not retry_failed):
            what = "finished" if state is SlideState.FINISHED else "failed"
            yield f"{job.slide_id}: {what} before, would be skipped"
            continue
        try:
            plan = plan_slide(job.source, run.config, card, job.mask_path)
        except WsiPipelineError as error:
            yield f"{job.slide_id}: would fail: {error}"
            continue
        if job.duplicate_of:
            yield f"{job.slide_id}: the results of {job.duplicate_of}, whose content it has"
            continue
        total += plan.n_patches
        rows, cols = plan.grid.shape
        yield (
            f"{job.slide_id}: {plan.n_patches} patches of a {rows} x {cols} grid in "
            f"{len(plan.blocks)} blocks from level {plan.read_plan.level}, "
            f"{plan.mpp.x:.4g} µm/px ({plan.info.mpp_source}), "
            f"tissue {plan.tissue_mask.area_mm2:.1f} mm², results in {run.folder(job)}"
        )
    yield f"{len(jobs)} slides, {total} patches; nothing was written"
