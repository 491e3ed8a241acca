"""The story of one slide: open, plan, classify, map, regions, pictures, record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_pipeline.classifier import available_cores
from wsi_pipeline.config import Config, as_config
from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.execution.block_executor import BlockExecutor, ThreadBlockExecutor
from wsi_pipeline.execution.locks import SlideBusyError, slide_lock
from wsi_pipeline.files import make_folder
from wsi_pipeline.maps import write_map
from wsi_pipeline.names import folder_name
from wsi_pipeline.pipeline.assemble import assemble_map, count_losses
from wsi_pipeline.pipeline.choices import choice_of
from wsi_pipeline.pipeline.clock import StageClock
from wsi_pipeline.pipeline.passes import BlockStores, Progress, classify
from wsi_pipeline.pipeline.plan import plan_slide
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob, resolve_run
from wsi_pipeline.pipeline.stain import normalizer_of
from wsi_pipeline.pipeline.write import (
    check_unchanged,
    content_of,
    device_facts,
    load_libraries,
    slide_facts,
    write_outputs,
)
from wsi_pipeline.results.layout import MAP_NAME, WORKING_NAME
from wsi_pipeline.results.registry import SlideRegistry, WantedSlide
from wsi_pipeline.results.slide_files import SlideResult
from wsi_pipeline.results.status import Done, Empty, Running, write_status
from wsi_pipeline.slides import SlideSource, require_mpp
from wsi_pipeline.slides.identity import stamp_of

NO_TISSUE_ADVICE: Final = (
    "No tissue was found. If there is some, see why with `wsi-pipeline preview`, or give a mask "
    "with --mask"
)


def run_slide(
    slide: str | Path,
    out: str | Path,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    *,
    progress: Progress | None = None,
) -> SlideResult:
    """Classify one slide and write everything to ``OUT/slides/<slide_id>/``.

    Parameters
    ----------
    slide : str or Path
        A slide file.
    out : str or Path
        The output folder, made where missing.
    config : Config, mapping, path of a YAML file or None
        None means the built-in defaults; a mapping is laid over them.
    progress : callable, optional
        Called with (patches done, patches in all).

    Returns
    -------
    SlideResult
        Paths and figures; its `totals` are None on a slide without tissue.

    Raises
    ------
    WsiPipelineError
        Where the slide, the model, the configuration or the output folder cannot be used, or
        another process does the same slide.

    Examples
    --------
    >>> result = run_slide("case.tif", "out", {"regions": {"threshold": 0.5}})
    >>> result.state, result.map_path.name, result.totals.n_classified
    ('done', 'probability.zarr', 88)
    """
    config = as_config(config)
    path = Path(slide)
    threads = config.execution.workers or available_cores()
    run = resolve_run(config, Path(out)).placed(threads, on_gpu_workers=False)
    source = SlideSource(path.absolute(), config.slide.mpp, None, config.slide.apply_icc)
    registry = SlideRegistry.read(run.out)
    wanted = WantedSlide(folder_name(path.stem), source.path)
    ((slide_id, found),) = registry.bind([wanted])
    job = SlideJob(slide_id, source, fingerprint=found)
    make_folder(run.folder(job), run.out)
    registry.save()
    try:
        with slide_lock(run.folder(job)):
            return do_slide(run, job, ThreadBlockExecutor(threads), progress=progress)
    except SlideBusyError as error:
        raise WsiPipelineError(
            f"{job.slide_id} is being done by {error}", "Wait for it, or choose another folder"
        ) from error


def do_slide(
    run: ResolvedRun,
    job: SlideJob,
    executor: BlockExecutor,
    *,
    progress: Progress | None = None,
    clock: StageClock | None = None,
    attempt: int = 1,
) -> SlideResult:
    """Do one slide: the whole way, from the file to the pictures. The caller holds its lock.

    Blocks that an earlier, interrupted run has finished are not done again.
    """
    clock, config, folder = clock or StageClock(), run.config, run.folder(job)
    make_folder(folder, folder.parent.parent)
    running = Running(slide=str(job.source.path), run_id=run.run_id, attempt=attempt)
    write_status(folder, running)  # flushed: the "done" of what it replaces must not come back
    with ThreadPoolExecutor(1) as background:
        # The model loads while the tissue is found: on a small slide that is half of the time.
        loading = background.submit(run.model.loader())
        background.submit(load_libraries, config)
        with clock("open"):
            stamp = stamp_of(job.source.path)
            content = content_of(job)
            require_mpp(job.source.open_shared().info)
        with clock("tissue"):
            plan = plan_slide(job.source, config, run.card, job.mask_path)
        with clock("stain"):
            normalizer, stain = normalizer_of(plan, config, run.card)
        with clock("model"):
            device = loading.result().device
    stores = BlockStores(folder / WORKING_NAME, run.map_sha256(job))
    with clock("classify"):
        choice = choice_of(plan, config, run.card)
        layers, outcomes = classify(
            plan,
            choice,
            config,
            run.model,
            normalizer,
            stores,
            executor,
            progress,
            run.card,
        )
        n_lost = count_losses(plan, layers["quality"], config, outcomes)
    with clock("map"):
        map_ = assemble_map(run, plan, layers, normalizer, content)
        check_unchanged(job.source.path, stamp)
        write_map(map_, folder / MAP_NAME)
    facts: dict[str, Any] = {
        **slide_facts(plan, stamp.newest_mtime_ns if stamp else 0, notes=job.notes),
        "fingerprint": content,
        "run_id": run.run_id,
        "attempt": attempt,
        "map_sha256": stores.map_sha256,
        "patches": int(np.isfinite(layers["probability"]).sum()),
        "patches_lost": n_lost,
        **device_facts(device, outcomes),
        "stain": stain,
        "threshold": map_.threshold,
        "familiarity": map_.attributes["familiarity"],
        "familiarity_unknown": map_.attributes["familiarity_unknown"],
    }
    if plan.n_patches:
        facts |= write_outputs(run, job, plan, map_, clock)
    shutil.rmtree(folder / WORKING_NAME, ignore_errors=True)
    facts["seconds"] = clock.seconds
    status = Done(**facts) if plan.n_patches else Empty(**facts, advice=NO_TISSUE_ADVICE)
    write_status(folder, status)
    return SlideResult(job.slide_id, folder, status)
