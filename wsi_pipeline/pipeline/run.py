"""The story of one slide: open, plan, classify, map, regions, pictures, record."""

from __future__ import annotations

import hashlib
import logging
import shutil
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
from wsi_pipeline.classifier import (
    ContextRefinement,
    ModelCard,
    ModelRequest,
    available_cores,
    find_model,
)
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import ReadError
from wsi_pipeline.execution.dask_tasks import BlockExecutor, ThreadBlockExecutor
from wsi_pipeline.files import storing
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.maps import ProbabilityMap, TissueRaster, write_map
from wsi_pipeline.maps.cells import cells_from_patches, flags_from_patches
from wsi_pipeline.maps.coarse import estimates
from wsi_pipeline.maps.regions import SlideTotals
from wsi_pipeline.names import folder_name, shown
from wsi_pipeline.pipeline.blocks import BlockOutcome
from wsi_pipeline.pipeline.passes import BlockStores, Progress, classify
from wsi_pipeline.pipeline.plan import SlidePlan, overlay_um_px, pen_flags, plan_slide
from wsi_pipeline.pipeline.stain import fit_stain, settle_reference, stain_reference
from wsi_pipeline.pipeline.write import facts, load_libraries
from wsi_pipeline.results.slide_files import (
    MAP_NAME,
    SlideResult,
    regions_of,
    shown_map,
    write_results,
    write_status,
    write_thumbnail,
)
from wsi_pipeline.slides import SlideSource, Thumbnail, read_thumbnail, require_mpp
from wsi_pipeline.stain import StainNormalizer
from wsi_pipeline.tissue import QualityFlag

logger = logging.getLogger(__name__)

WORK_NAME: Final = "working"
NO_TISSUE_ADVICE: Final = (
    "No tissue was found. If there is some, see why with `wsi-pipeline preview`, or give a mask "
    "with --mask"
)


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
        key += [str(card.temperature), str(card.context), str(card.glass_rgb)]
        for path in (self.mask_path, self.config.stain.reference):
            if path is not None:
                key.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
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
    card = find_model(config.model)
    config = settle_reference(config, card, Path(out))
    path = Path(slide)
    source = SlideSource(path.absolute(), config.slide.mpp, None, config.slide.apply_icc)
    slide_id = folder_name(path.stem)
    job = SlideJob(slide_id, source, Path(out).absolute() / "slides" / slide_id, config)
    executor = ThreadBlockExecutor(config.execution.workers or available_cores())
    return do_slide(job, card, executor, progress=progress)


def do_slide(
    job: SlideJob,
    card: ModelCard,
    executor: BlockExecutor,
    *,
    progress: Progress | None = None,
    clock: StageClock | None = None,
    run_facts: Mapping[str, Any] | None = None,
) -> SlideResult:
    """Do one slide: the whole way, from the file to the pictures.

    Blocks that an earlier, interrupted run has finished are not done again. `run_facts` (which run
    does it, at which attempt) stand in status.json beside the slide's own.
    """
    clock, config, run_facts = clock or StageClock(), job.config, run_facts or {}
    with storing(job.folder):
        job.folder.mkdir(parents=True, exist_ok=True)
    running = {"state": "running", "slide": str(job.source.path), **run_facts}
    write_status(job.folder, running)  # flushed: the "done" of what it replaces must not come back
    request = ModelRequest.of(card, config)
    with ThreadPoolExecutor(1) as background:
        # The model loads while the tissue is found: on a small slide that is half of the time.
        loading = background.submit(request.load)
        background.submit(load_libraries, config)
        with clock("open"):
            stamp = job.source.stamp
            require_mpp(job.source.open_shared().info)
        with clock("tissue"):
            plan = plan_slide(job.source, config, card, job.mask_path)
        with clock("stain"):
            normalizer, stain_record = normalizer_of(plan, config, card)
        with clock("model"):
            device = loading.result().device
    place = BlockStores(job.folder / WORK_NAME, job.map_sha256(card))
    with clock("classify"):
        layers, outcomes = classify(plan, config, request, normalizer, place, executor, progress)
        n_lost = count_losses(plan, layers["quality"], config, outcomes)
    with clock("map"):
        map_ = assemble_map(job, plan, card, layers, normalizer)
        check_unchanged(job, stamp)
        write_map(map_, job.folder / MAP_NAME)
    status: dict[str, Any] = {
        **outcome_of(plan),
        **facts(plan, mtime_ns=stamp[1]),
        **run_facts,
        "map_sha256": place.map_sha256,
        "patches": int(np.isfinite(layers["probability"]).sum()),
        "patches_lost": n_lost,
        "device": device,
        "stain": stain_record,
        "threshold": map_.threshold,
    }
    totals = write_outputs(job, plan, map_, status, clock) if plan.n_patches else None
    shutil.rmtree(job.folder / WORK_NAME, ignore_errors=True)
    status["seconds"] = clock.seconds
    write_status(job.folder, status)
    return SlideResult(job.slide_id, status["state"], job.folder, totals, status)


def write_outputs(
    job: SlideJob, plan: SlidePlan, map_: ProbabilityMap, status: dict[str, Any], clock: StageClock
) -> SlideTotals:
    """Write what is made from the map, and enter its figures into the status."""
    config = job.config
    regions = regions_of(map_, config)
    totals = SlideTotals.of(shown_map(map_, config), regions)
    status |= {"flagged": config.render.flagged, "totals": asdict(totals), **doubts(map_)}
    if config.outputs == "all":
        with clock("pictures"):
            status["thumbnail"] = write_thumbnail(job.folder, picture_of(plan, config))
            write_results(job.folder, map_, regions, config)
    return totals


def check_unchanged(job: SlideJob, stamp: tuple[int, int]) -> None:
    """Refuse what was read from a file that was written to or replaced meanwhile.

    Raises
    ------
    ReadError
        Where size or time of the file are not those of before.
    """
    now = job.source.stamp
    if now not in (stamp, (0, 0)):  # a drive that went away has changed nothing
        raise ReadError(
            f"the file changed while it was read ({stamp[0]} bytes before, {now[0]} bytes now)",
            "Let its copying or scanning finish: the next run does it again",
        )


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
    method, saved = config.stain.method or card.stain, config.stain.reference
    reference = stain_reference(card, Path(saved) if saved else None)
    normalizer, health = fit_stain(plan, method, reference)
    record = {**health.to_dict(), "reference": {"source": reference.source, "file": saved}}
    return (None if normalizer.method == "none" else normalizer), record


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
    values, estimated = with_estimates(plan, layers, config)
    raw = None
    context = context_of(config, card)
    if context is not None:
        values, raw = context.refine(values, grid.cells_per_patch), values
    attributes = {
        "version": wsi_pipeline.__version__,
        "slide": {
            "name": shown(info.path.name),
            "bytes": info.n_bytes,
            "quickhash": info.quickhash,
        },
        "mpp_source": info.mpp_source,
        "unread": list(info.unread),
        "patch_px": grid.patch_px,
        "stride_px": grid.stride_px,
        "coarse_step": config.tiling.coarse_step or 1,
        "bounds_l0": [bounds.x, bounds.y, bounds.width, bounds.height],
        "model": {"name": card.name, "sha256": card.sha256, "mpp": card.spacing_um_px},
        "stain": normalizer.method if normalizer else "none",
        "white_balance": plan.white_balance.to_dict(),
        "threshold": threshold_of(config, card),
        "context": raw is not None,
        "tta": config.inference.tta,
        "config_sha256": config.map_sha256(card.sha256),
        "notice": wsi_pipeline.NOTICE,
    }
    spread = layers.get("uncertainty")
    quality = flags_from_patches(layers["quality"], grid)
    quality[~np.isnan(values)] |= pen_flags(plan)[~np.isnan(values)]
    return ProbabilityMap(
        values=values,
        raw=raw,
        tissue=plan.tissue,
        origin_l0=grid.origin_l0,
        step_l0=grid.step_l0,
        mpp=plan.mpp,
        attributes=attributes,
        uncertainty=None if spread is None else cells_from_patches(spread, grid),
        quality=quality,
        estimated=estimated,
        mask=raster_of(plan),
    )


def raster_of(plan: SlidePlan) -> TissueRaster:
    """Return the tissue mask as the map keeps it."""
    um_px, bounds = plan.tissue_mask.um_px, plan.bounds_l0
    step_l0 = (um_px[0] / plan.mpp.x, um_px[1] / plan.mpp.y)
    return TissueRaster(plan.tissue_mask.mask, (bounds.x, bounds.y), step_l0)


def with_estimates(
    plan: SlidePlan, layers: dict[str, NDArray[Any]], config: Config
) -> tuple[FloatArray, NDArray[np.uint8] | None]:
    """Return the map's values, and where they are estimates that a coarse map was enough for."""
    probability, grid = layers["probability"], plan.grid
    values = cells_from_patches(probability, grid)
    if config.tiling.coarse_step is None:
        return values, None
    lost = (layers["quality"] & np.uint8(QualityFlag.UNREADABLE)) > 0
    guesses = estimates(
        plan.keep & np.isnan(probability) & ~lost, probability, config.tiling.coarse_step
    )
    filled = cells_from_patches(guesses, grid)
    estimated = np.isnan(values) & ~np.isnan(filled)
    return np.where(estimated, filled, values), estimated.astype(np.uint8)


def context_of(config: Config, card: ModelCard) -> ContextRefinement | None:
    """Return the refinement by neighbors that is in force, None where there is none."""
    return card.context if config.inference.context else None


def threshold_of(config: Config, card: ModelCard) -> float:
    """Return the probability from which a cell is called IDC: asked for, or of the map's kind."""
    if config.regions.threshold is not None:
        return config.regions.threshold
    return (context_of(config, card) or card).threshold


def doubts(map_: ProbabilityMap) -> dict[str, Any]:
    """Return what an archive is sorted by to find the slides that want a look.

    Returns
    -------
    dict
        `uncertainty`: mean of min(p, 1 - p) over the classified cells, the share of them that a
        calibrated model expects to have wrong. `flagged_share`: the share with a quality flag;
        `quality_shares`: with each flag, by its name.
    """
    classified = map_.classified
    p = map_.values[classified].astype(np.float64)
    flags = map_.quality[classified] if map_.quality is not None else np.zeros(1, np.uint8)
    return {
        "uncertainty": float(np.minimum(p, 1 - p).mean()) if p.size else 0.0,
        "flagged_share": float((flags > 0).mean()) if flags.size else 0.0,
        "quality_shares": {
            str(flag.name): float(((flags & np.uint8(flag)) > 0).mean()) if flags.size else 0.0
            for flag in QualityFlag
            if flag is not QualityFlag.UNREADABLE  # such a cell has no value
        },
    }


def picture_of(plan: SlidePlan, config: Config) -> Thumbnail:
    """Return the picture that overlays are drawn on: the mask's thumbnail where it is as wanted."""
    um_px = overlay_um_px(plan, config.render.um_px)
    if abs(um_px - plan.thumbnail.um_px) < 1e-9:
        return plan.thumbnail
    return read_thumbnail(plan.source.open_shared(), plan.mpp, um_px)
