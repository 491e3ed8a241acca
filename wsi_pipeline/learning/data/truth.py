"""Slides with truth beside them: ``NAME.tif`` and ``NAME_truth.png``, one px a cell."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.errors import DatasetError
from wsi_pipeline.slides import SLIDE_SUFFIXES

SUFFIX: Final = "_truth.png"
TRUTH_FORMATS: Final = ("PNG",)


@dataclass(frozen=True, slots=True, eq=False)
class SlideTruth:
    """The labels of one slide."""

    slide_id: str
    slide_path: Path
    cells: NDArray[np.uint8]
    """uint8, shape (rows, cols): 0 = no label, 1 = not IDC, 2 = IDC."""

    def on_cells(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the labels on a map of this shape; they may differ by a row or column at the edge.

        Raises
        ------
        DatasetError
            Where the shapes differ by more: the truth belongs to another grid.
        """
        difference = np.subtract(self.cells.shape, shape)
        if np.abs(difference).max() > 1:
            raise DatasetError(
                f"the truth of {self.slide_id} has {self.cells.shape} cells, its map {shape}",
                "Truth has one px per patch of the model, from the slide's upper left corner",
            )
        cells = np.zeros(shape, np.uint8)
        rows, cols = np.minimum(self.cells.shape, shape)
        cells[:rows, :cols] = self.cells[:rows, :cols]
        return cells


def find_truths(folder: Path) -> list[SlideTruth]:
    """Return the slides of a folder that have their truth beside them, by name.

    Raises
    ------
    DatasetError
        Where there is none, or a truth is not readable or has no slide.
    """
    found = [_read(path) for path in sorted(folder.rglob(f"*{SUFFIX}"))]
    if not found:
        raise DatasetError(
            f"{folder} holds no *{SUFFIX}", "Truth lies beside its slide, one px per patch"
        )
    return found


def _read(path: Path) -> SlideTruth:
    name = path.name.removesuffix(SUFFIX)
    slides = [
        other
        for other in sorted(path.parent.glob(f"{glob.escape(name)}.*"))
        if other.suffix.lower() in SLIDE_SUFFIXES
    ]
    if not slides:
        raise DatasetError(f"{path} has no slide {name}.* beside it", "Put the slide beside it")
    try:
        with Image.open(path, formats=TRUTH_FORMATS) as picture:
            cells = np.asarray(picture)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if cells.ndim != 2 or cells.max(initial=0) > 2:
        raise DatasetError(
            f"{path} has values up to {cells.max(initial=0)} in {cells.ndim} dimensions",
            "Truth is a gray or palette PNG: 0 no label, 1 not IDC, 2 IDC",
        )
    return SlideTruth(name, slides[0], cells.astype(np.uint8))
