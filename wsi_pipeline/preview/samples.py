"""Patches of a slide looked at without the model: their quality, and some to show."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import ReadError
from wsi_pipeline.geometry import Box, RgbArray
from wsi_pipeline.pipeline.plan import SlidePlan, pen_flags
from wsi_pipeline.slides import read_canvas
from wsi_pipeline.stain.optical_density import optical_density
from wsi_pipeline.stain.vectors import StainVectors, least_squares_amounts
from wsi_pipeline.tissue import patch_flags

MAX_LOOKED_AT: Final = 300
"""Patches that are read: shares are then right within 6 percentage points."""
SHOWN_QUANTILES: Final = (1.0, 0.9, 0.7, 0.45, 0.2, 0.0)
"""Ranks of hematoxylin of the patches shown, from nests of nuclei to stroma."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class PatchSamples:
    """Patches spread evenly over the tissue, at the model's µm/px."""

    scanned: RgbArray
    """uint8, shape (n, side, side, 3)."""
    pixels: RgbArray
    """The same in balanced light, as a run would go on with them; the same object if unchanged."""
    corner_um: NDArray[np.float64]
    """float64, shape (n, 2): x, y of each patch from the corner of the scanned bounds, µm."""
    flags: NDArray[np.uint8]
    """uint8, shape (n,): sums of `QualityFlag`."""
    n_lost: int
    """Patches that could not be read."""

    def __len__(self) -> int:
        return len(self.pixels)


def read_samples(plan: SlidePlan) -> PatchSamples:
    """Read up to `MAX_LOOKED_AT` of the patches that a run would classify."""
    grid, reader = plan.grid, plan.source.open_shared()
    rows, cols = np.nonzero(plan.keep)
    n_wanted = min(MAX_LOOKED_AT, len(rows))
    parts, places, under_pen, n_lost = [], [], [], 0
    strokes = pen_flags(plan, patches=True)
    for index in np.linspace(0, len(rows) - 1, n_wanted).astype(int) if n_wanted else ():
        x, y = int(cols[index]) * grid.stride_px, int(rows[index]) * grid.stride_px
        box = Box(x, y, grid.patch_px, grid.patch_px)
        try:
            parts.append(read_canvas(reader, plan.read_plan, box))
        except ReadError as error:
            logger.warning("left out of the preview: %s", error)
            n_lost += 1
            continue
        places.append((x * grid.spacing_um_px, y * grid.spacing_um_px))
        under_pen.append(strokes[rows[index], cols[index]])
    side = grid.patch_px
    scanned = np.stack(parts) if parts else np.empty((0, side, side, 3), np.uint8)
    pixels = plan.white_balance.apply(scanned)
    corner_um = np.array(places, np.float64).reshape(-1, 2)
    flags = patch_flags(pixels, grid.spacing_um_px) | np.array(under_pen, np.uint8)
    return PatchSamples(scanned, pixels, corner_um, flags, n_lost)


def choose_shown(
    samples: PatchSamples, glass_rgb: tuple[int, int, int], vectors: StainVectors | None
) -> list[int]:
    """Return the patches to show: from much hematoxylin to little, far from each other.

    Patches without a quality flag come first; a slide of nothing but flagged ones shows those.
    """
    good = np.flatnonzero(samples.flags == 0)
    pool = good if len(good) >= len(SHOWN_QUANTILES) else np.arange(len(samples))
    amount = _hematoxylin(samples.pixels[pool], glass_rgb, vectors)
    ranked = pool[np.argsort(amount, kind="stable")]
    width = max(1, len(ranked) // 10)
    chosen: list[int] = []
    for quantile in SHOWN_QUANTILES[: len(ranked)]:
        center = round(quantile * (len(ranked) - 1))
        start = min(max(0, center - width // 2), len(ranked) - width)
        near = [int(i) for i in ranked[start : start + width] if i not in chosen]
        if near:
            chosen.append(max(near, key=lambda i: _distance_um(samples, i, chosen)))
    return chosen


def _hematoxylin(
    pixels: RgbArray, glass_rgb: tuple[int, int, int], vectors: StainVectors | None
) -> NDArray[np.float64]:
    """Return the mean amount of hematoxylin of each patch, or of darkness where it is not known."""
    od = optical_density(pixels[:, ::2, ::2], glass_rgb)
    amount = (
        od.mean(axis=-1) if vectors is None else least_squares_amounts(od, vectors.matrix)[..., 0]
    )
    return np.asarray(amount.mean(axis=(1, 2)), np.float64)


def _distance_um(samples: PatchSamples, index: int, others: list[int]) -> float:
    if not others:
        return 0.0
    offset = samples.corner_um[others] - samples.corner_um[index]
    return float(np.hypot(*offset.T).min())
