"""The story of one slide: open, plan, classify, map, regions, pictures, record."""

from __future__ import annotations

import datetime
import json
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import wsi_pipeline
from wsi_pipeline.classifier import ModelCard, available_cores, find_model
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import IncompleteRunError, ReadError, StorageError, WsiPipelineError
from wsi_pipeline.execution import Executor, ThreadExecutor
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.inference import BlockOutcome, ModelRequest, block_tasks, classify_block
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
from wsi_pipeline.probability.files import storing, write_atomic
from wsi_pipeline.regions import Regions, SlideTotals, find_regions
from wsi_pipeline.stain import StainNormalizer
from wsi_pipeline.tiling import TileGrid
from wsi_pipeline.tissue import TissueMask

logger = logging.getLogger(__name__)

NOTICE: Final = "Research use only. Not for diagnosis."
MAP_NAME: Final = "probability.zarr"
WORK_NAME: Final = "working"
STATUS_NAME: Final = "status.json"
THUMBNAIL_NAME: Final = "thumbnail.jpg"

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


@dataclass(slots=True)
class StageClock:
    """Times the stages of a slide and knows which one is running."""

    seconds: dict[str, float] = field(default_factory=dict)
    current: str = "open"

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage; after an error `current` still names it."""
        self.current = stage
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + elapsed, 4)


@dataclass(frozen=True, slots=True)
class SlideResult:
    """The paths and figures of one slide."""

    slide_id: str
    state: str
    """"done", "empty" (no tissue) or "failed"."""
    folder: Path
    totals: SlideTotals | None
    """None where nothing was classified."""
    status: dict[str, Any]
    """What stands in status.json."""

    @property
    def map_path(self) -> Path:
        """The probability map."""
        return self.folder / MAP_NAME

    @property
    def overlay_path(self) -> Path:
        """The picture to look at first."""
        return self.folder / "overlay.png"

    @property
    def regions_path(self) -> Path:
        """The regions for QuPath."""
        return self.folder / "regions.geojson"


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
) -> SlideResult:
    """Do one slide: the whole way, from the file to the pictures.

    Blocks that an earlier, interrupted run has finished are not done again.
    """
    clock = clock or StageClock()
    with storing(job.folder):
        job.folder.mkdir(parents=True, exist_ok=True)
    write_status(job.folder, {"state": "running", "slide": str(job.source.path)})
    request = ModelRequest(
        card.folder, job.config.inference.device, job.config.inference.batch_size
    )
    with ThreadPoolExecutor(1) as background:
        # The model loads while the tissue is found: on a small slide that is half of the time.
        loading = background.submit(request.load)
        with clock("tissue"):
            plan = plan_slide(job.source, job.config, card, load_mask(job))
        with clock("stain"):
            normalizer, stain_record = normalizer_of(plan, job.config, card)
        with clock("model"):
            device = loading.result().device if plan.n_patches else ""
    with clock("classify"):
        store = open_store(job, plan, card)
        outcomes = classify(job, plan, request, normalizer, store, executor, progress)
    layers = store.read_all()
    lost = check_losses(plan, layers["quality"], job.config, outcomes)
    with clock("map"):
        map_ = assemble_map(job, plan, card, layers, normalizer)
        write_map(map_, job.folder / MAP_NAME)
    totals, regions = None, None
    if plan.n_patches:
        regions = regions_of(map_, job.config)
        totals = SlideTotals.of(map_, regions)
    status = {
        "state": "done" if plan.n_patches else "empty",
        "stage": "finished",
        "error": "",
        "advice": "" if plan.n_patches else NO_TISSUE_ADVICE,
        **facts(plan),
        "map_sha256": job.config.map_sha256(card.sha256),
        "patches": plan.n_patches - lost,
        "patches_lost": lost,
        "device": device,
        "stain": stain_record,
        "totals": asdict(totals) if totals else None,
    }
    if job.config.outputs == "all" and regions is not None:
        with clock("pictures"):
            status["thumbnail"] = store_thumbnail(job, plan)
            write_results(job.folder, map_, regions, job.config)
    store.discard()
    status["seconds"] = clock.seconds
    write_status(job.folder, status)
    return SlideResult(job.slide_id, status["state"], job.folder, totals, status)


NO_TISSUE_ADVICE: Final = "No tissue was found. If there is some, see it with `wsi-pipeline preview`, or give a mask with --mask"


def load_mask(job: SlideJob) -> TissueMask | None:
    """Return the user's tissue mask, None where the pipeline makes its own."""
    return None


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
    info = plan.info
    key = "|".join(
        [
            job.config.map_sha256(card.sha256),
            info.quickhash,
            str(info.n_bytes),
            str(plan.mpp),
            str(plan.tissue_mask.method),
            wsi_pipeline.__version__,
        ]
    )
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


def assemble_map(
    job: SlideJob,
    plan: SlidePlan,
    card: ModelCard,
    layers: dict[str, NDArray[Any]],
    normalizer: StainNormalizer | None,
) -> ProbabilityMap:
    """Return the map on the cells from the layers on the patch positions."""
    grid, config = plan.grid, job.config
    info = plan.info
    attributes = {
        "version": wsi_pipeline.__version__,
        "slide": {"name": info.path.name, "bytes": info.n_bytes, "quickhash": info.quickhash},
        "mpp_source": info.mpp_source,
        "patch_px": grid.patch_px,
        "stride_px": grid.stride_px,
        "bounds_l0": [
            plan.bounds_l0.x,
            plan.bounds_l0.y,
            plan.bounds_l0.width,
            plan.bounds_l0.height,
        ],
        "model": {"name": card.name, "sha256": card.sha256, "mpp": card.spacing_um_px},
        "stain": normalizer.method if normalizer else "none",
        "threshold": threshold_of(config, card),
        "tta": config.inference.tta,
        "config_sha256": config.map_sha256(card.sha256),
        "notice": NOTICE,
    }
    spread = layers.get("uncertainty")
    return ProbabilityMap(
        values=cells_from_patches(layers["probability"], grid),
        tissue=plan.tissue,
        origin_l0=grid.origin_l0,
        step_l0=grid.step_l0,
        mpp=plan.mpp,
        attributes=attributes,
        uncertainty=None if spread is None else cells_from_patches(spread, grid),
        quality=flags_from_patches(layers["quality"], grid),
    )


def cells_from_patches(values: FloatArray, grid: TileGrid) -> FloatArray:
    """Return for each cell the mean over the classified patches that cover it.

    Parameters
    ----------
    values : ndarray of float32, shape `grid.patch_shape`
        NaN = not classified.

    Returns
    -------
    ndarray of float32, shape `grid.shape`
        NaN where no classified patch covers the cell.
    """
    k, known = grid.cells_per_patch, ~np.isnan(values)
    if k == 1:
        return values.copy()
    total, count = np.zeros(grid.shape), np.zeros(grid.shape, np.int32)
    for row in range(k):
        for col in range(k):
            window = np.s_[row : row + values.shape[0], col : col + values.shape[1]]
            part = total[window].shape
            total[window] += np.where(known, values, 0.0)[: part[0], : part[1]]
            count[window] += known[: part[0], : part[1]]
    mean = np.full(grid.shape, np.nan, np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean


def flags_from_patches(flags: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
    """Return for each cell the flags of the patches that cover it, joined."""
    k = grid.cells_per_patch
    cells = np.zeros(grid.shape, np.uint8)
    for row in range(k):
        for col in range(k):
            window = np.s_[row : row + flags.shape[0], col : col + flags.shape[1]]
            part = cells[window].shape
            cells[window] |= flags[: part[0], : part[1]]
    return cells


def check_losses(
    plan: SlidePlan, quality: NDArray[np.uint8], config: Config, outcomes: list[BlockOutcome]
) -> int:
    """Return the number of unreadable patches; fail the slide where they are too many.

    Raises
    ------
    ReadError
        Where a larger share than `slide.max_lost_share` is lost.
    """
    from wsi_pipeline.tissue import QualityFlag

    lost = int(((quality & np.uint8(QualityFlag.UNREADABLE)) > 0).sum())
    if lost > config.slide.max_lost_share * plan.n_patches:
        problem = next((o.problem for o in outcomes if o.problem), "")
        raise ReadError(
            f"{lost} of {plan.n_patches} patches cannot be read ({problem})",
            "The file is damaged: copy it again; or accept more with slide.max_lost_share",
        )
    if lost:
        logger.warning("%s: %d patches cannot be read", plan.source.path.name, lost)
    return lost


def threshold_of(config: Config, card: ModelCard) -> float:
    """Return the probability from which a cell is called IDC."""
    asked = config.regions.threshold
    return card.threshold if asked is None else asked


def regions_of(map_: ProbabilityMap, config: Config) -> Regions:
    """Return the regions of a map at the configured threshold."""
    threshold = config.regions.threshold
    threshold = map_.threshold if threshold is None else threshold
    return find_regions(
        map_,
        threshold=threshold,
        low_threshold=threshold * config.regions.low_share,
        smoothing_cells=config.regions.smoothing_cells,
        min_area_mm2=config.regions.min_area_mm2,
    )


def write_results(folder: Path, map_: ProbabilityMap, regions: Regions, config: Config) -> None:
    """Write regions, table, overlay and heatmap of a map, with the stored thumbnail."""
    from wsi_pipeline.export import write_csv, write_geojson
    from wsi_pipeline.render import Blend, Caption, write_overlay

    write_geojson(map_, regions, folder / "regions.geojson")
    write_csv(map_, folder / "patches.csv")
    with Image.open(folder / THUMBNAIL_NAME) as picture:
        rgb = np.asarray(picture.convert("RGB"))
    software = f"wsi_pipeline {wsi_pipeline.__version__}"
    write_overlay(
        rgb,
        map_,
        regions,
        Caption.of(map_, date=datetime.date.today().isoformat(), software=software),
        overlay_path=folder / "overlay.png",
        heatmap_path=folder / "heatmap.png",
        blend=Blend(colormap=config.render.colormap, opacity=config.render.opacity),
    )


def render_slide(folder: Path, config: Config) -> SlideResult:
    """Make regions and pictures of a finished slide again from its stored map.

    Raises
    ------
    IncompleteRunError
        Where the folder holds no finished map.
    """
    status = read_status(folder)
    map_ = ProbabilityMap.open(folder / MAP_NAME)
    if status.get("state") == "empty":
        return SlideResult(folder.name, "empty", folder, None, status)
    if not (folder / THUMBNAIL_NAME).exists():
        raise IncompleteRunError(
            f"{folder} has a map but no thumbnail to draw on",
            "It was made with --outputs map: run the slide again with --outputs all --overwrite",
        )
    threshold = config.regions.threshold
    if threshold is not None:
        map_ = replace(map_, attributes={**map_.attributes, "threshold": threshold})
    regions = regions_of(map_, config)
    totals = SlideTotals.of(map_, regions)
    write_results(folder, map_, regions, config)
    status = {**status, "totals": asdict(totals), "threshold": map_.threshold}
    write_status(folder, status)
    return SlideResult(folder.name, str(status["state"]), folder, totals, status)


def store_thumbnail(job: SlideJob, plan: SlidePlan) -> dict[str, Any]:
    """Write the picture that overlays are drawn on and return where it is and its scale."""
    um_px = overlay_um_px(plan, job.config.render.um_px)
    thumbnail = plan.thumbnail
    if abs(um_px - thumbnail.um_px) > 1e-9:
        thumbnail = _thumbnail_for_pictures(plan, um_px)
    buffer = BytesIO()
    Image.fromarray(thumbnail.rgb).save(buffer, "JPEG", quality=90, subsampling=0)
    write_atomic(job.folder / THUMBNAIL_NAME, buffer.getvalue())
    return {"file": THUMBNAIL_NAME, "um_px": thumbnail.um_px}


def _thumbnail_for_pictures(plan: SlidePlan, um_px: float) -> Thumbnail:
    try:
        return read_thumbnail(plan.source.open_shared(), plan.mpp, um_px)
    except ReadError as error:
        logger.warning("the overlay is drawn at the mask's resolution: %s", error)
        return plan.thumbnail


def facts(plan: SlidePlan) -> dict[str, Any]:
    """Return what is known of the slide, for status.json."""
    info, mask = plan.info, plan.tissue_mask
    return {
        "slide": str(info.path),
        "vendor": info.vendor,
        "size_l0": list(plan.grid.size_l0),
        "mpp": [plan.mpp.x, plan.mpp.y],
        "mpp_source": info.mpp_source,
        "icc": info.icc,
        "warnings": list(info.warnings),
        "level_read": plan.read_plan.level,
        "tissue_mask": {
            "method": mask.method,
            "um_px": mask.um_px[0],
            "threshold": None if np.isnan(mask.threshold) else mask.threshold,
            "area_mm2": mask.area_mm2,
            "pen_share": mask.pen_share,
            "black_share": mask.black_share,
            "debris_share": mask.debris_share,
        },
    }


def failed_status(error: BaseException, clock: StageClock) -> dict[str, Any]:
    """Return the record of a slide that failed: stage, reason and advice."""
    known = isinstance(error, WsiPipelineError)
    return {
        "state": "failed",
        "stage": clock.current,
        "error": error.problem if known else f"{type(error).__name__}: {error}",
        "advice": error.advice if known else "This is a defect of the program: please report it",
        "traceback": "" if known else "".join(traceback.format_exception(error)),
        "seconds": clock.seconds,
    }


def write_status(folder: Path, status: dict[str, Any]) -> None:
    """Write status.json in one step."""
    text = json.dumps(_finite(status), indent=2, ensure_ascii=False)
    write_atomic(folder / STATUS_NAME, text.encode())


def read_status(folder: Path) -> dict[str, Any]:
    """Return status.json, empty where there is none or it is not readable.

    Raises
    ------
    StorageError
        Where the folder cannot be read.
    """
    try:
        status = json.loads((folder / STATUS_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise StorageError(f"{folder / STATUS_NAME} cannot be read ({error.strerror})") from error
    return status if isinstance(status, dict) else {}


def forget(folder: Path) -> None:
    """Delete the results of a slide, before it is done again."""
    if folder.exists():
        with storing(folder):
            shutil.rmtree(folder)


def _finite(value: Any) -> Any:
    """Return the value with NaN as None: JSON knows no NaN, and no data is not zero."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
