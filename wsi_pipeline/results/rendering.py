"""Finished slides drawn again from their stored maps: no slide, no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from wsi_pipeline.config import Config
from wsi_pipeline.errors import IncompleteRunError, WsiPipelineError
from wsi_pipeline.maps import ProbabilityMap, write_threshold
from wsi_pipeline.maps.regions import SlideTotals
from wsi_pipeline.results.layout import MAP_NAME, slide_folders
from wsi_pipeline.results.slide_files import (
    SlideResult,
    read_thumbnail_file,
    regions_of,
    shown_map,
    write_results,
)
from wsi_pipeline.results.status import Done, Empty, ResultSettings, read_status, write_status
from wsi_pipeline.results.summary import write_summary


def render_slides(
    out: Path, config: Config
) -> Iterator[tuple[str, SlideResult | WsiPipelineError]]:
    """Render each slide that has a map; yield its id and its result or what went wrong."""
    for folder in slide_folders(out):
        if not (folder / MAP_NAME).is_dir():
            continue
        try:
            yield folder.name, render_slide(folder, config)
        except WsiPipelineError as error:
            yield folder.name, error
    write_summary(out, parquet=config.parquet)


def render_slide(folder: Path, config: Config) -> SlideResult:
    """Make regions and pictures of a finished slide again from its stored map.

    Raises
    ------
    IncompleteRunError
        Where the folder holds no finished map.
    """
    status = read_status(folder)
    map_ = ProbabilityMap.open(folder / MAP_NAME)
    if isinstance(status, Empty):
        return SlideResult(folder.name, folder, status)
    if not isinstance(status, Done):
        raise IncompleteRunError(f"{folder} holds no finished slide", "Finish the run first")
    rgb = read_thumbnail_file(folder)
    threshold = config.regions.threshold
    if threshold is not None:
        map_ = replace(map_, attributes={**map_.attributes, "threshold": threshold})
    regions = regions_of(map_, config)
    totals = SlideTotals.of(shown_map(map_, config), regions)
    write_results(folder, rgb, map_, regions, config)
    write_threshold(folder / MAP_NAME, map_.threshold)
    status = status.model_copy(
        update={
            "totals": totals,
            "threshold": map_.threshold,
            "settings": ResultSettings.of(config, map_.threshold),
        }
    )
    write_status(folder, status)
    return SlideResult(folder.name, folder, status)
