"""What is made from a slide's map, in the run and again by `render`: regions, table, pictures."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import wsi_pipeline
from wsi_pipeline.config import Config
from wsi_pipeline.errors import IncompleteRunError
from wsi_pipeline.files import write_atomic
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import SMOOTHING_PATCHES, Regions, SlideTotals, find_regions
from wsi_pipeline.results.layout import (
    CARD_NAME,
    HEATMAP_NAME,
    MAP_NAME,
    OVERLAY_NAME,
    PATCHES_NAME,
    REGIONS_NAME,
    THUMBNAIL_NAME,
)
from wsi_pipeline.results.status import AnyStatus, Done, Empty

if TYPE_CHECKING:  # matplotlib takes a moment, and not every run draws
    from wsi_pipeline.render.blend import Blend


@dataclass(frozen=True, slots=True)
class SlideResult:
    """The paths and figures of one slide."""

    slide_id: str
    folder: Path
    status: AnyStatus
    """What stands in status.json."""

    def __repr__(self) -> str:
        figures = ""
        if self.totals is not None:
            figures = (
                f", IDC {self.totals.idc_mm2:.2f} mm² of {self.totals.tissue_mm2:.1f} mm² tissue "
                f"in {self.totals.n_regions} regions"
            )
        return f"SlideResult({self.slide_id}: {self.state}{figures}, {self.folder})"

    @property
    def state(self) -> str:
        """Return "done", "empty" (no tissue) or "failed"."""
        return self.status.state

    @property
    def totals(self) -> SlideTotals | None:
        """Areas, counts and probabilities; None where nothing was classified."""
        return self.status.totals if isinstance(self.status, Done | Empty) else None

    @property
    def map_path(self) -> Path:
        """The probability map."""
        return self.folder / MAP_NAME

    @property
    def overlay_path(self) -> Path:
        """The picture to look at first."""
        return self.folder / OVERLAY_NAME

    @property
    def regions_path(self) -> Path:
        """The regions for QuPath."""
        return self.folder / REGIONS_NAME


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


def blend_of(config: Config) -> Blend:
    """Return how pictures lay the map over the slide."""
    from wsi_pipeline.render.blend import Blend

    return Blend(
        colormap=config.render.colormap,
        opacity=config.render.opacity,
        hatches_flagged=config.render.flagged == "hatched",
        map_style=config.render.map,
    )


def write_results(
    folder: Path, rgb: RgbArray, map_: ProbabilityMap, regions: Regions, config: Config
) -> None:
    """Write regions, table and pictures of a map.

    Parameters
    ----------
    folder : Path
        Of the slide.
    rgb : ndarray of uint8, shape (H, W, 3)
        The stored thumbnail, see `encode_thumbnail`.
    map_, regions, config
        What to draw, and how.
    """
    from wsi_pipeline.export.csv import write_csv
    from wsi_pipeline.export.geojson import write_geojson
    from wsi_pipeline.render.overlay import Caption, write_overlay
    from wsi_pipeline.render.thumb import write_thumb

    map_ = shown_map(map_, config)
    software = f"wsi_pipeline {wsi_pipeline.__version__}"
    blend = blend_of(config)
    with ThreadPoolExecutor(1) as aside:  # they wait for the disk meanwhile
        written = [
            aside.submit(write_geojson, map_, regions, folder / REGIONS_NAME),
            aside.submit(write_csv, map_, folder / PATCHES_NAME),
        ]
        write_thumb(rgb, map_, blend, folder / CARD_NAME)
        write_overlay(
            rgb,
            map_,
            regions,
            Caption.of(map_, date=datetime.date.today().isoformat(), software=software),
            overlay_path=folder / OVERLAY_NAME,
            heatmap_path=folder / HEATMAP_NAME,
            blend=blend,
        )
    for file in written:
        file.result()


def write_thumbnail(folder: Path, rgb: RgbArray) -> RgbArray:
    """Write the picture that overlays are drawn on; return it as whoever reads the file sees it.

    So that `render` draws, to the byte, what the run has drawn.
    """
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90, subsampling=0)
    write_atomic(folder / THUMBNAIL_NAME, buffer.getvalue())
    return _decoded(buffer)


def read_thumbnail_file(folder: Path) -> RgbArray:
    """Return the stored picture of the scanned bounds, uint8 (H, W, 3).

    Raises
    ------
    IncompleteRunError
        Where the run stored none.
    """
    path = folder / THUMBNAIL_NAME
    try:
        return _decoded(BytesIO(path.read_bytes()))
    except FileNotFoundError as error:
        raise IncompleteRunError(
            f"{folder.name} has a map but no thumbnail to draw on",
            "It was made with --outputs map: run the slide again with --outputs all --overwrite",
        ) from error
    except OSError as error:
        raise IncompleteRunError(
            f"{path} cannot be read ({error})", "Run the slide again with --overwrite"
        ) from error


def _decoded(buffer: BytesIO) -> RgbArray:
    with Image.open(buffer, formats=("JPEG",)) as picture:
        return np.asarray(picture.convert("RGB"))
