"""The story of one slide: open, plan, classify, map, regions, pictures, record."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import wsi_pipeline
from wsi_pipeline.classifier import ContextRefinement, ModelCard, available_cores, find_model
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import ReadError
from wsi_pipeline.execution import Executor, ThreadExecutor
from wsi_pipeline.inference import BlockOutcome, ModelRequest, block_tasks, classify_block
from wsi_pipeline.outputs import (
    MAP_NAME,
    SlideResult,
    facts,
    load_libraries,
    regions_of,
    write_results,
    write_status,
    write_thumbnail,
)
from wsi_pipeline.planning import (
    SlidePlan,
    SlideSource,
    Thumbnail,
    fit_stain,
    overlay_um_px,
    plan_slide,
    read_thumbnail,
    stain_reference,
)
from wsi_pipeline.probability import ProbabilityMap, WorkingStore, write_map
from wsi_pipeline.probability.cells import cells_from_patches, flags_from_patches
from wsi_pipeline.probability.files import storing
from wsi_pipeline.regions import SlideTotals
from wsi_pipeline.stain import StainNormalizer
from wsi_pipeline.tissue import QualityFlag

logger = logging.getLogger(__name__)

WORK_NAME: Final = "working"
NO_TISSUE_ADVICE: Final = (
    "No tissue was found. If there is some, see why with `wsi-pipeline preview`, or give a mask "
    "with --mask"
)

Progress = Callable[[int, int], None]
"""Called with the patches done and the patches in all."""


@dataclass(frozen=True, slots=True)
class SlideJob:
    """One slide to do, as plain data."""

    slide_id: str
    source: SlideSource
    folder: Path
    """Where its results go."""
    config: Config
    mask_path: Path | None = None
    """A user's tissue mask (GeoJSON or PNG)."""

    def map_sha256(self, card: ModelCard) -> str:
        """Return the sha256 of all that the numbers of the slide's map depend on."""
        key = [self.config.map_sha256(card.sha256), str(self.source.mpp_override)]
        key += [str(card.temperature), str(card.context)]
        if self.mask_path is not None:
            key.append(hashlib.sha256(self.mask_path.read_bytes()).hexdigest())
        return hashlib.sha256("|".join(key).encode()).hexdigest()


@dataclass(slots=True)
class StageClock:
    """Times the stages of a slide and knows which one is running."""

    seconds: dict[str, float] = field(default_factory=dict)
    current: str = "open"
    entered: Callable[[str], None] | None = None
    """Told of each stage that begins."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage; after an error `current` still names it."""
        self.current = stage
        if self.entered:
            self.entered(stage)
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + elapsed, 4)


def run_slide(
    slide: str | Path,
    out: str | Path,
    config: Config | str | Path | None = None,
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
    config : Config, path of a YAML file or None
        None means the built-in defaults.
    progress : callable, optional
        Called with (patches done, patches in all).

    Returns
    -------
    SlideResult
        Paths and figures; its `totals` are None on a slide without tissue.

    Raises
    ------
    WsiPipelineError
        Where the slide, the model, the configuration or the output folder cannot be used.
    """
    if not isinstance(config, Config):
        config = load_config(Path(config) if config is not None else None)
    path = Path(slide)
    source = SlideSource(path.absolute(), config.slide.mpp, None, config.slide.apply_icc)
    job = SlideJob(path.stem, source, Path(out).absolute() / "slides" / path.stem, config)
    executor = ThreadExecutor(config.execution.workers or available_cores())
    return do_slide(job, find_model(config.model), executor, progress=progress)


def do_slide(
    job: SlideJob,
    card: ModelCard,
    executor: Executor,
    *,
    progress: Progress | None = None,
    clock: StageClock | None = None,
    run_facts: Mapping[str, Any] | None = None,
) -> SlideResult:
    """Do one slide: the whole way, from the file to the pictures.

    Blocks that an earlier, interrupted run has finished are not done again. `run_facts` (which run
    does it, at which attempt) stand in status.json beside the slide's own.
    """
    run_facts = run_facts or {}
    clock = clock or StageClock()
    config = job.config
    with storing(job.folder):
        job.folder.mkdir(parents=True, exist_ok=True)
    running = {"state": "running", "slide": str(job.source.path), **run_facts}
    write_status(job.folder, running)
    inference = config.inference
    request = ModelRequest(
        card.folder, inference.device, inference.batch_size, config.execution.workers
    )
    with ThreadPoolExecutor(1) as background:
        # The model loads while the tissue is found: on a small slide that is half of the time.
        loading = background.submit(request.load)
        background.submit(load_libraries, config)
        with clock("tissue"):
            plan = plan_slide(job.source, config, card, job.mask_path)
        with clock("stain"):
            normalizer, stain_record = normalizer_of(plan, config, card)
        with clock("model"):
            device = loading.result().device
    with clock("classify"):
        store = open_store(job, plan, card)
        outcomes = classify(job, plan, request, normalizer, store, executor, progress)
        layers = store.read_all()
        n_lost = count_losses(plan, layers["quality"], config, outcomes)
    with clock("map"):
        map_ = assemble_map(job, plan, card, layers, normalizer)
        write_map(map_, job.folder / MAP_NAME)
    status: dict[str, Any] = {
        **outcome_of(plan),
        **facts(plan),
        **run_facts,
        "map_sha256": job.map_sha256(card),
        "patches": plan.n_patches - n_lost,
        "patches_lost": n_lost,
        "device": device,
        "stain": stain_record,
        "threshold": map_.threshold,
    }
    totals = None
    if plan.n_patches:
        regions = regions_of(map_, config)
        totals = SlideTotals.of(map_, regions)
        status["totals"] = asdict(totals)
        status |= doubts(map_)
        if config.outputs == "all":
            with clock("pictures"):
                status["thumbnail"] = write_thumbnail(job.folder, picture_of(plan, config))
                write_results(job.folder, map_, regions, config)
    store.discard()
    status["seconds"] = clock.seconds
    write_status(job.folder, status)
    return SlideResult(job.slide_id, status["state"], job.folder, totals, status)


def outcome_of(plan: SlidePlan) -> dict[str, str]:
    """Return how a slide ended that did not fail: with a map, or empty, which is a result too."""
    state, advice = ("done", "") if plan.n_patches else ("empty", NO_TISSUE_ADVICE)
    return {"state": state, "stage": "finished", "error": "", "advice": advice}


def normalizer_of(
    plan: SlidePlan, config: Config, card: ModelCard
) -> tuple[StainNormalizer | None, dict[str, Any]]:
    """Return the slide's stain normalizer (None where none is in force) and its record."""
    if not plan.n_patches:
        return None, {}
    method = config.stain.method or card.stain
    normalizer, health = fit_stain(plan, method, stain_reference(card))
    return (None if normalizer.method == "none" else normalizer), health.to_dict()


def open_store(job: SlideJob, plan: SlidePlan, card: ModelCard) -> WorkingStore:
    """Open the working store of the slide; blocks of another plan in it are discarded."""
    layers = ("probability", "quality", *(("uncertainty",) if job.config.inference.tta else ()))
    identity = (job.map_sha256(card), plan.info.quickhash, plan.info.n_bytes, plan.mpp)
    key = "|".join(map(str, (*identity, wsi_pipeline.__version__)))
    return WorkingStore.create_or_resume(
        job.folder / WORK_NAME, plan.grid.patch_shape, plan.block_side, key, layers
    )


def classify(
    job: SlideJob,
    plan: SlidePlan,
    request: ModelRequest,
    normalizer: StainNormalizer | None,
    store: WorkingStore,
    executor: Executor,
    progress: Progress | None,
) -> list[BlockOutcome]:
    """Classify the blocks that are not in the store yet."""
    tasks = block_tasks(plan, request, normalizer, store, tta=job.config.inference.tta)
    outcomes: list[BlockOutcome] = []
    done = plan.n_patches - sum(int(task.keep.sum()) for task in tasks)

    def report(outcome: BlockOutcome) -> None:
        nonlocal done
        outcomes.append(outcome)
        done += outcome.n_patches + outcome.n_lost
        if progress:
            progress(done, plan.n_patches)

    if progress:
        progress(done, plan.n_patches)
    executor.run(classify_block, tasks, report)
    return outcomes


def count_losses(
    plan: SlidePlan, quality: NDArray[np.uint8], config: Config, outcomes: list[BlockOutcome]
) -> int:
    """Return the number of unreadable patches; fail the slide where they are too many.

    Raises
    ------
    ReadError
        Where a larger share than `slide.max_lost_share` is lost.
    """
    n_lost = int(((quality & np.uint8(QualityFlag.UNREADABLE)) > 0).sum())
    if n_lost > config.slide.max_lost_share * plan.n_patches:
        problem = next((o.problem for o in outcomes if o.problem), "in an earlier run")
        raise ReadError(
            f"{n_lost} of {plan.n_patches} patches cannot be read ({problem})",
            "The file is damaged: copy it again; or accept more with slide.max_lost_share",
        )
    if n_lost:
        logger.warning("%s: %d patches cannot be read", plan.source.path.name, n_lost)
    return n_lost


def assemble_map(
    job: SlideJob,
    plan: SlidePlan,
    card: ModelCard,
    layers: dict[str, NDArray[Any]],
    normalizer: StainNormalizer | None,
) -> ProbabilityMap:
    """Return the map on the cells from the layers on the patch positions."""
    grid, config, info, bounds = plan.grid, job.config, plan.info, plan.bounds_l0
    values, raw = cells_from_patches(layers["probability"], grid), None
    context = context_of(config, card)
    if context is not None:
        values, raw = context.refine(values, grid.cells_per_patch), values
    attributes = {
        "version": wsi_pipeline.__version__,
        "slide": {"name": info.path.name, "bytes": info.n_bytes, "quickhash": info.quickhash},
        "mpp_source": info.mpp_source,
        "patch_px": grid.patch_px,
        "stride_px": grid.stride_px,
        "bounds_l0": [bounds.x, bounds.y, bounds.width, bounds.height],
        "model": {"name": card.name, "sha256": card.sha256, "mpp": card.spacing_um_px},
        "stain": normalizer.method if normalizer else "none",
        "threshold": threshold_of(config, card),
        "context": raw is not None,
        "tta": config.inference.tta,
        "config_sha256": config.map_sha256(card.sha256),
        "notice": wsi_pipeline.NOTICE,
    }
    spread = layers.get("uncertainty")
    return ProbabilityMap(
        values=values,
        raw=raw,
        tissue=plan.tissue,
        origin_l0=grid.origin_l0,
        step_l0=grid.step_l0,
        mpp=plan.mpp,
        attributes=attributes,
        uncertainty=None if spread is None else cells_from_patches(spread, grid),
        quality=flags_from_patches(layers["quality"], grid),
    )


def context_of(config: Config, card: ModelCard) -> ContextRefinement | None:
    """Return the refinement by neighbors that is in force, None where there is none."""
    return card.context if config.inference.context else None


def threshold_of(config: Config, card: ModelCard) -> float:
    """Return the probability from which a cell is called IDC: asked for, or of the map's kind."""
    if config.regions.threshold is not None:
        return config.regions.threshold
    return (context_of(config, card) or card).threshold


def doubts(map_: ProbabilityMap) -> dict[str, float]:
    """Return what an archive is sorted by to find the slides that want a look.

    Returns
    -------
    dict
        `uncertainty`: mean of min(p, 1 - p) over the classified cells, the share of them that a
        calibrated model expects to have wrong. `flagged_share`: the share with a quality flag.
    """
    classified = ~np.isnan(map_.values)
    p = map_.values[classified].astype(np.float64)
    flags = map_.quality[classified] if map_.quality is not None else np.zeros(1, np.uint8)
    return {
        "uncertainty": float(np.minimum(p, 1 - p).mean()) if p.size else 0.0,
        "flagged_share": float((flags > 0).mean()) if flags.size else 0.0,
    }


def picture_of(plan: SlidePlan, config: Config) -> Thumbnail:
    """Return the picture that overlays are drawn on: the mask's thumbnail where it is as wanted."""
    um_px = overlay_um_px(plan, config.render.um_px)
    if abs(um_px - plan.thumbnail.um_px) < 1e-9:
        return plan.thumbnail
    return read_thumbnail(plan.source.open_shared(), plan.mpp, um_px)
