"""The finished slides of an output folder, as `export` and `compare` take them up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import IncompleteRunError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import Regions
from wsi_pipeline.results.rendering import slide_folders
from wsi_pipeline.results.slide_files import (
    MAP_NAME,
    THUMBNAIL_FORMATS,
    THUMBNAIL_NAME,
    read_status,
    regions_of,
    shown_map,
)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedSlide:
    """A slide's results, read back from its folder."""

    folder: Path
    status: Mapping[str, Any]
    """What stands in status.json."""
    map_: ProbabilityMap
    regions: Regions
    """As the run's own regions.geojson has them, unless another threshold was asked for."""

    @property
    def slide_id(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def quickhash(self) -> str | None:
        """Of the slide's content; None where the map states none."""
        value = self.map_.attributes.get("slide", {}).get("quickhash")
        return str(value) if value else None

    def thumbnail(self) -> RgbArray:
        """Return the stored picture of the scanned bounds, uint8 (H, W, 3).

        Raises
        ------
        IncompleteRunError
            Where the run stored none.
        """
        path = self.folder / THUMBNAIL_NAME
        try:
            with Image.open(path, formats=THUMBNAIL_FORMATS) as picture:
                return np.asarray(picture.convert("RGB"))
        except FileNotFoundError as error:
            raise IncompleteRunError(
                f"{self.slide_id} has a map but no thumbnail to draw on",
                "It was made with --outputs map: run the slide again with --outputs all "
                "--overwrite",
            ) from error
        except OSError as error:
            raise IncompleteRunError(
                f"{path} cannot be read ({error})", "Run the slide again with --overwrite"
            ) from error


def finished_folders(out: Path) -> list[Path]:
    """Return the folders of the slides that are done or empty, by name.

    Raises
    ------
    IncompleteRunError
        Where the folder is not the output of a run, or no slide of it is finished.
    """
    folders = [folder for folder in slide_folders(out) if _is_finished(folder)]
    if not folders:
        raise IncompleteRunError(f"{out} holds no finished slide", "Finish the run first")
    return folders


def read_finished(folder: Path, threshold: float | None = None) -> FinishedSlide:
    """Read a slide's results.

    Parameters
    ----------
    folder : Path
        Of the slide.
    threshold : float, optional
        Probability from which a cell is IDC; default: that of the regions that stand there.

    Raises
    ------
    StorageError
        Where the map cannot be read.
    """
    status = read_status(folder)
    config = settings_of(folder, status, threshold)
    map_ = shown_map(ProbabilityMap.open(folder / MAP_NAME), config)
    regions = regions_of(map_, config)
    # `render` moves the threshold without touching the stored map.
    attributes = {**map_.attributes, "threshold": regions.threshold}
    return FinishedSlide(folder, status, replace(map_, attributes=attributes), regions)


def _is_finished(folder: Path) -> bool:
    state = read_status(folder).get("state")
    return state in ("done", "empty") and (folder / MAP_NAME).is_dir()


def settings_of(folder: Path, status: Mapping[str, Any], threshold: float | None = None) -> Config:
    """Return how the slide's regions were found, also after `render` has changed it.

    Parameters
    ----------
    folder : Path
        Of the slide.
    status : mapping
        What stands in its status.json.
    threshold : float, optional
        To find them at another one.
    """
    stated = _stated_parameters(folder / "regions.geojson")
    before = stated.get("threshold") or status.get("threshold")
    low = stated.get("low_threshold")
    return load_config(
        None,
        {
            "regions": {
                "threshold": before if threshold is None else threshold,
                "low_share": min(1.0, low / before) if low is not None and before else None,
                "smoothing_cells": stated.get("smoothing_cells"),
                "min_area_mm2": stated.get("min_area_mm2"),
                "outline": stated.get("outline"),
            },
            "render": {"flagged": status.get("flagged")},
        },
    )


def _stated_parameters(path: Path) -> dict[str, Any]:
    """Return what a regions.geojson of ours says of itself; nothing where there is none."""
    try:
        own = json.loads(path.read_text(encoding="utf-8"))["wsi_pipeline"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return own if isinstance(own, dict) else {}
