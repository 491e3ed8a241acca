"""Where everything lies in an output folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wsi_pipeline.errors import IncompleteRunError

SLIDES_NAME: Final = "slides"
"""Folder of the slides' folders, named by their ids."""
RUN_RECORD_NAME: Final = "run.json"
"""Record of the run that began last."""
RUNS_NAME: Final = "runs"
"""Folder of each run's own record."""
REGISTRY_NAME: Final = "slides.json"
"""Which slide each id stands for."""
SUMMARY_NAME: Final = "summary.csv"
PARQUET_NAME: Final = "summary.parquet"
PAGE_NAME: Final = "index.html"
GALLERY_NAME: Final = "gallery"
"""Folder of what the page shows."""

STATUS_NAME: Final = "status.json"
MAP_NAME: Final = "probability.zarr"
REGIONS_NAME: Final = "regions.geojson"
PATCHES_NAME: Final = "patches.csv"
OVERLAY_NAME: Final = "overlay.png"
HEATMAP_NAME: Final = "heatmap.png"
THUMBNAIL_NAME: Final = "thumbnail.jpg"
"""What overlays are drawn on."""
CARD_NAME: Final = "gallery.jpg"
"""The small picture on the slide's card in the gallery."""
REVIEW_NAME: Final = "review.json"
"""What a reviewer decided: kept when a slide is done again."""
WORKING_NAME: Final = "working"
"""Blocks of a slide that is not finished."""


def slide_folder(out: Path, slide_id: str) -> Path:
    """Return the folder of a slide's results."""
    return out / SLIDES_NAME / slide_id


def slide_folders(out: Path) -> list[Path]:
    """Return the folders of the slides of an output folder, by name.

    Raises
    ------
    IncompleteRunError
        Where the folder is not the output of a run. Links are not followed: they could make the
        results of others, or any file of this machine, part of it.
    """
    slides = out / SLIDES_NAME
    if slides.is_symlink() or not slides.is_dir():
        raise IncompleteRunError(f"{out} holds no slides/", "Give the folder that `run -o` wrote")
    return sorted(path for path in slides.iterdir() if path.is_dir() and not path.is_symlink())
