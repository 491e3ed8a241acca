"""What a run knows of a slide, for its record."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from wsi_pipeline.config import Config
from wsi_pipeline.pipeline.plan import SlidePlan


def load_libraries(config: Config) -> None:
    """Import what writing the results needs: half a second, best spent beside other work."""
    importlib.import_module("zarr")
    if config.outputs == "all":
        importlib.import_module("wsi_pipeline.export")
        importlib.import_module("wsi_pipeline.render")


def facts(plan: SlidePlan, mtime_ns: int) -> dict[str, Any]:
    """Return what is known of the slide, for status.json."""
    info, mask = plan.info, plan.tissue_mask
    return {
        "slide": str(plan.source.path),
        "file": {
            "bytes": info.n_bytes,
            "mtime_ns": mtime_ns,
            "quickhash": info.quickhash,
        },
        "vendor": info.vendor,
        "scan_date": info.scan_date and info.scan_date.day.isoformat(),
        "scan_date_source": info.scan_date and info.scan_date.source,
        "size_l0": list(plan.grid.size_l0),
        "mpp": [plan.mpp.x, plan.mpp.y],
        "mpp_source": info.mpp_source,
        "icc": info.icc,
        "warnings": list(info.warnings),
        "level_read": plan.read_plan.level,
        "white_balance": plan.white_balance.to_dict(),
        "tissue_mask": {
            "method": mask.method,
            "um_px": mask.um_px[0],
            "threshold": None if np.isnan(mask.threshold) else mask.threshold,
            "area_mm2": mask.area_mm2,
            "tissue_share": mask.tissue_share,
            "pen_share": mask.pen_share,
            "black_share": mask.black_share,
            "debris_share": mask.debris_share,
        },
    }
