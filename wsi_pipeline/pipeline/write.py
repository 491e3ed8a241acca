"""What a run leaves of a slide beside its map: the record, regions, table and pictures."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from wsi_pipeline.config import Config
from wsi_pipeline.errors import ReadError
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import SlideTotals
from wsi_pipeline.pipeline.blocks import BlockOutcome
from wsi_pipeline.pipeline.clock import StageClock
from wsi_pipeline.pipeline.plan import SlidePlan, overlay_um_px
from wsi_pipeline.pipeline.resolved import ResolvedRun, SlideJob
from wsi_pipeline.results.layout import THUMBNAIL_NAME
from wsi_pipeline.results.slide_files import regions_of, shown_map, write_results, write_thumbnail
from wsi_pipeline.results.status import ResultSettings, SlideFile, ThumbnailFacts, TissueFacts
from wsi_pipeline.slides import Thumbnail, read_thumbnail
from wsi_pipeline.slides.identity import Stamp, fingerprint, stamp_of
from wsi_pipeline.tissue import QualityFlag
from wsi_pipeline.tissue.white_balance import WhiteBalanceRecord


class SlideFacts(TypedDict):
    """What is known of a slide and its tissue: fields of its status."""

    slide: str
    file: SlideFile
    vendor: str | None
    scan_date: str | None
    scan_date_source: str | None
    size_l0: tuple[int, int]
    mpp: tuple[float, float]
    mpp_source: str
    icc: str | None
    warnings: tuple[str, ...]
    level_read: int
    white_balance: WhiteBalanceRecord
    tissue_mask: TissueFacts


class DeviceFacts(TypedDict):
    """What classified a slide: fields of its status."""

    device: str
    devices_of_blocks: dict[str, tuple[tuple[int, int], ...]]
    """By device, where there was more than one."""


class Doubts(TypedDict):
    """What an archive is sorted by to find the slides that want a look."""

    uncertainty: float
    """Mean of min(p, 1 - p) over the classified cells, the share of them that a calibrated model
    expects to have wrong."""
    flagged_share: float
    """Of the classified cells, with a quality flag."""
    quality_shares: dict[str, float]
    """With each flag, by its name."""


class ResultFacts(Doubts):
    """What a map came to: fields of the slide's status."""

    settings: ResultSettings
    totals: SlideTotals
    thumbnail: ThumbnailFacts | None


def load_libraries(config: Config) -> None:
    """Import what writing the results needs: half a second, best spent beside other work."""
    importlib.import_module("zarr")
    if config.outputs == "all":
        importlib.import_module("wsi_pipeline.export.geojson")
        importlib.import_module("wsi_pipeline.render.overlay")


def slide_facts(plan: SlidePlan, mtime_ns: int, notes: Sequence[str] = ()) -> SlideFacts:
    """Return what is known of the slide and its tissue, fields of the record."""
    info, mask = plan.info, plan.tissue_mask
    return {
        "slide": str(plan.source.path),
        "file": SlideFile(bytes=info.n_bytes, mtime_ns=mtime_ns, quickhash=info.quickhash),
        "vendor": info.vendor,
        "scan_date": info.scan_date.day.isoformat() if info.scan_date else None,
        "scan_date_source": info.scan_date.source if info.scan_date else None,
        "size_l0": (plan.grid.size_l0[0], plan.grid.size_l0[1]),
        "mpp": (plan.mpp.x, plan.mpp.y),
        "mpp_source": info.mpp_source,
        "icc": info.icc,
        "warnings": (*notes, *info.warnings, *plan.notes),
        "level_read": plan.read_plan.level,
        "white_balance": plan.white_balance.to_dict(),
        "tissue_mask": TissueFacts(
            method=mask.method,
            um_px=mask.um_px[0],
            threshold=None if np.isnan(mask.threshold) else mask.threshold,
            area_mm2=mask.area_mm2,
            tissue_share=mask.tissue_share,
            pen_share=mask.pen_share,
            black_share=mask.black_share,
            debris_share=mask.debris_share,
        ),
    }


def write_outputs(
    run: ResolvedRun, job: SlideJob, plan: SlidePlan, map_: ProbabilityMap, clock: StageClock
) -> ResultFacts:
    """Write what is made from the map, and return its figures, fields of the record."""
    config, folder = run.config, run.folder(job)
    regions = regions_of(map_, config)
    found: ResultFacts = {
        "settings": ResultSettings.of(config, map_.threshold),
        "totals": SlideTotals.of(shown_map(map_, config), regions),
        **doubts(map_),
        "thumbnail": None,
    }
    if config.outputs == "all":
        with clock("pictures"):
            thumbnail = picture_of(plan, config)
            rgb = write_thumbnail(folder, thumbnail.rgb)
            write_results(folder, rgb, map_, regions, config)
        found["thumbnail"] = ThumbnailFacts(file=THUMBNAIL_NAME, um_px=thumbnail.um_px)
    return found


def content_of(job: SlideJob) -> str:
    """Return the fingerprint of the slide's files, empty where they are out of reach.

    Raises
    ------
    ReadError
        Where they are not those that the slide's id stands for any more.
    """
    try:
        found = fingerprint(job.source.path)
    except (OSError, ValueError):  # what is wrong is said when it is opened
        return job.fingerprint
    if job.fingerprint not in ("", found):
        raise ReadError(
            "the file has changed since the run began",
            "Let its copying or scanning finish: the next run does what it holds then",
        )
    return found


def device_facts(loaded: str, outcomes: Sequence[BlockOutcome]) -> DeviceFacts:
    """Return what classified the slide, fields of the record.

    Parameters
    ----------
    loaded : str
        Where the model was loaded to; the answer where no block was left to do.
    outcomes : sequence of BlockOutcome
    """
    blocks: dict[str, list[tuple[int, int]]] = {}
    for outcome in outcomes:
        for device in outcome.devices:
            blocks.setdefault(device, []).append((outcome.block.row, outcome.block.col))
    several = blocks if len(blocks) > 1 else {}
    return {
        "device": "; ".join(blocks) or loaded,
        "devices_of_blocks": {device: tuple(sorted(at)) for device, at in several.items()},
    }


def check_unchanged(path: Path, stamp: Stamp | None) -> None:
    """Refuse what was read from files that were written to or replaced meanwhile.

    Raises
    ------
    ReadError
        Where number, size or time of the slide's files are not those of before.
    """
    now = stamp_of(path)
    if stamp is not None and now not in (stamp, None):  # a drive that went away has changed nothing
        raise ReadError(
            f"the file changed while it was read ({stamp.n_bytes} bytes before, {now.n_bytes} "
            "bytes now)",
            "Let its copying or scanning finish: the next run does it again",
        )


def doubts(map_: ProbabilityMap) -> Doubts:
    """Return what an archive is sorted by to find the slides that want a look."""
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
