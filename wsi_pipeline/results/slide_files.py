"""What a finished slide leaves in its folder beside the map: record, regions, table, pictures."""

from __future__ import annotations

import datetime
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

import wsi_pipeline
from wsi_pipeline.config import Config
from wsi_pipeline.errors import IncompleteRunError, StorageError, WsiPipelineError
from wsi_pipeline.files import json_bytes, read_json, write_atomic
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import SMOOTHING_PATCHES, Regions, SlideTotals, find_regions
from wsi_pipeline.slides import Thumbnail

MAP_NAME: Final = "probability.zarr"
STATUS_NAME: Final = "status.json"
THUMBNAIL_NAME: Final = "thumbnail.jpg"
THUMBNAIL_FORMATS: Final = ("JPEG",)
THUMB_NAME: Final = "gallery.jpg"


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


def shown_map(map_: ProbabilityMap, config: Config) -> ProbabilityMap:
    """Return the map as results show it: flagged cells not classified where they are dropped."""
    if config.render.flagged != "dropped" or map_.quality is None:
        return map_
    return replace(map_, values=np.where(map_.quality > 0, np.float32(np.nan), map_.values))


def regions_of(map_: ProbabilityMap, config: Config) -> Regions:
    """Return the regions of a map at the configured threshold, else at the run's."""
    map_ = shown_map(map_, config)
    asked = config.regions.threshold
    threshold = map_.threshold if asked is None else asked
    smoothing = config.regions.smoothing_cells
    if smoothing is None:
        smoothing = SMOOTHING_PATCHES * map_.cells_per_patch
    return find_regions(
        map_,
        threshold=threshold,
        low_threshold=threshold * config.regions.low_share,
        smoothing_cells=smoothing,
        min_area_mm2=config.regions.min_area_mm2,
        outline=config.regions.outline,
    )


def write_results(folder: Path, map_: ProbabilityMap, regions: Regions, config: Config) -> None:
    """Write regions, table and pictures of a map, with the stored thumbnail."""
    from wsi_pipeline.export import write_csv, write_geojson
    from wsi_pipeline.render import Blend, Caption, write_overlay
    from wsi_pipeline.render.thumb import write_thumb

    map_ = shown_map(map_, config)
    with Image.open(folder / THUMBNAIL_NAME, formats=THUMBNAIL_FORMATS) as picture:
        rgb = np.asarray(picture.convert("RGB"))
    software = f"wsi_pipeline {wsi_pipeline.__version__}"
    blend = Blend(
        colormap=config.render.colormap,
        opacity=config.render.opacity,
        hatches_flagged=config.render.flagged == "hatched",
    )
    with ThreadPoolExecutor(1) as aside:  # they wait for the disk meanwhile
        written = [
            aside.submit(write_geojson, map_, regions, folder / "regions.geojson"),
            aside.submit(write_csv, map_, folder / "patches.csv"),
        ]
        write_thumb(rgb, map_, blend, folder / THUMB_NAME)
        write_overlay(
            rgb,
            map_,
            regions,
            Caption.of(map_, date=datetime.date.today().isoformat(), software=software),
            overlay_path=folder / "overlay.png",
            heatmap_path=folder / "heatmap.png",
            blend=blend,
        )
    for file in written:
        file.result()


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
    totals = SlideTotals.of(shown_map(map_, config), regions)
    write_results(folder, map_, regions, config)
    status = {**status, "totals": asdict(totals), "threshold": map_.threshold}
    status["flagged"] = config.render.flagged
    write_status(folder, status)
    return SlideResult(folder.name, str(status["state"]), folder, totals, status)


def write_thumbnail(folder: Path, thumbnail: Thumbnail) -> dict[str, Any]:
    """Write the picture that overlays are drawn on and return where it is and its scale."""
    buffer = BytesIO()
    Image.fromarray(thumbnail.rgb).save(buffer, "JPEG", quality=90, subsampling=0)
    write_atomic(folder / THUMBNAIL_NAME, buffer.getvalue())
    return {"file": THUMBNAIL_NAME, "um_px": thumbnail.um_px}


def failed_status(error: BaseException, stage: str, seconds: dict[str, float]) -> dict[str, Any]:
    """Return the record of a slide that failed: stage, reason and advice."""
    if isinstance(error, WsiPipelineError):
        reason, advice, trace = error.problem, error.advice, ""
    else:
        reason = f"{type(error).__name__}: {error}"
        advice = "This is a defect of the program: please report it with its traceback"
        trace = "".join(traceback.format_exception(error))
    return {
        "state": "failed",
        "stage": stage,
        "error": reason,
        "advice": advice,
        "traceback": trace,
        "seconds": seconds,
    }


def write_status(folder: Path, status: dict[str, Any], *, flush: bool = True) -> None:
    """Write status.json in one step; without `flush` a power cut may take it."""
    write_atomic(folder / STATUS_NAME, json_bytes(_finite(status)), flush=flush)


def read_status(folder: Path) -> dict[str, Any]:
    """Return status.json, empty where there is none or it is not readable.

    Raises
    ------
    StorageError
        Where the folder cannot be read.
    """
    try:
        status = read_json(folder / STATUS_NAME, root=folder)
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise StorageError(f"{folder / STATUS_NAME} cannot be read ({error.strerror})") from error
    return status if isinstance(status, dict) else {}


def _finite(value: Any) -> Any:
    """Return the value with NaN as None: JSON knows no NaN, and no data is not zero."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
