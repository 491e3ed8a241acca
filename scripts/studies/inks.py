#!/usr/bin/env python3
"""Which patches under a stroke of a pen are flagged, by color and width.

    python scripts/studies/inks.py SLIDES

SLIDES: slides with their truth beside them. Strokes are drawn over their tissue patches, as ink
that absorbs light and as paint that covers it; an entry is the share of patches with the flag PEN.
The first line says how many patches are flagged as they are. Printed, and written into inks.md.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from conditions import Condition
from numpy.typing import NDArray
from study_table import beside, measured_today, write_table

from wsi_pipeline.classifier import find_model
from wsi_pipeline.config import load_config
from wsi_pipeline.geometry import Box, RgbArray
from wsi_pipeline.learning.data.truth import find_truths
from wsi_pipeline.learning.training.changed_copies import levels
from wsi_pipeline.pipeline.blocks import cut_patches
from wsi_pipeline.pipeline.plan import SlidePlan, plan_slide
from wsi_pipeline.slides import SlideSource, read_canvas
from wsi_pipeline.tissue import QualityFlag, patch_flags

UM_PX = 8.0
PER_SLIDE = 60
WIDTHS_UM = (8, 16, 24, 40, 60, 300, 600)
ABSORBING: dict[str, tuple[float, float, float]] = {
    "blue": (1.6, 0.95, 0.25),
    "black": (1.9, 1.9, 1.85),
    "green": (1.6, 0.6, 0.95),
    "red": (0.18, 1.7, 1.5),
    "violet": (1.1, 1.7, 0.4),
}
"""Natural-log density in red, green, blue of a full stroke of ink."""
COVERING: dict[str, tuple[int, int, int]] = {
    "blue": (25, 45, 160),
    "black": (25, 25, 30),
    "green": (20, 120, 70),
    "red": (200, 25, 35),
    "violet": (100, 30, 150),
}
"""Color of a full stroke of paint."""


def stroke_masks(
    n: int, side_px: int, width_px: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return how far each pixel is under a bent stroke, float32 (n, side, side), 0 to 1."""
    y, x = np.mgrid[:side_px, :side_px] + 0.5 - side_px / 2
    masks = np.empty((n, side_px, side_px), np.float32)
    reach = 0.24 * side_px if width_px < 0.6 * side_px else 0.3 * width_px
    for mask in masks:
        angle, offset, phase = rng.uniform(0, np.pi), rng.uniform(-reach, reach), rng.uniform(0, 6)
        along, across = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
        distance = np.abs(across - offset + 3 * np.sin(along / 12 + phase))
        mask[:] = np.clip(width_px / 2 + 0.5 - distance, 0, 1) * min(1.0, width_px)
    return masks


def inked(color: str, width_um: float, patches: RgbArray, *, seed: int = 0) -> RgbArray:
    """Draw a stroke of absorbing ink over each patch at 8 µm/px."""
    rng = np.random.default_rng(seed)
    masks = stroke_masks(len(patches), patches.shape[1], width_um / UM_PX, rng)[..., None]
    thickness = rng.uniform(0.75, 1.1, (len(patches), 1, 1, 1))
    passed = np.exp(-thickness * np.array(ABSORBING[color]))
    return levels(patches * (1 - masks + masks * passed))


def painted(color: str, width_um: float, patches: RgbArray, *, seed: int = 0) -> RgbArray:
    """Draw a stroke of covering paint, 75 to 100 % opaque, over each patch at 8 µm/px."""
    rng = np.random.default_rng(seed)
    masks = stroke_masks(len(patches), patches.shape[1], width_um / UM_PX, rng)[..., None]
    cover = masks * rng.uniform(0.75, 1.0, (len(patches), 1, 1, 1))
    return levels(patches * (1 - cover) + cover * np.array(COVERING[color]))


STROKES: dict[str, Condition] = {
    f"{kind} {color}, {width} µm": partial(draw, color, float(width))
    for kind, draw in (("ink", inked), ("paint", painted))
    for color in ABSORBING
    for width in WIDTHS_UM
}
"""Strokes over patches of 50 px at 8 µm/px, by name."""


def main() -> None:
    """Measure, print the table, and write it beside the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slides", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=beside(__file__), metavar="FILE.md")
    arguments = parser.parse_args()
    card, config = find_model("idc-compact"), load_config()
    found = [
        patches_of(plan_slide(SlideSource(truth.slide_path), config, card))
        for truth in find_truths(arguments.slides)
    ]
    n_all, n_flagged = (sum(map(count, found)) for count in (len, n_with_ink))
    patches = np.concatenate([every(some, PER_SLIDE) for some in found])
    facts = (
        f"{len(found)} slides, {len(patches)} patches under each stroke; of all {n_all} patches as "
        f"they are {n_flagged / n_all:.2%} are flagged"
    )
    lines = [f"| stroke | {' | '.join(f'{w} µm' for w in WIDTHS_UM)} |"]
    lines.append("|---" * (len(WIDTHS_UM) + 1) + "|")
    for kind in ("ink", "paint"):
        for color in ABSORBING:
            shares = (
                n_with_ink(STROKES[f"{kind} {color}, {w} µm"](patches)) / len(patches)
                for w in WIDTHS_UM
            )
            lines.append(f"| {kind}, {color} | {' | '.join(f'{share:.2f}' for share in shares)} |")
    print("\n".join([facts, *lines]))
    write_table(arguments.out, [measured_today(facts), "", *lines])


def n_with_ink(patches: RgbArray) -> int:
    """Return how many patches carry the flag PEN."""
    return int(np.count_nonzero(patch_flags(patches, UM_PX) & np.uint8(QualityFlag.PEN)))


def patches_of(plan: SlidePlan) -> RgbArray:
    """Return the patches of a slide that a run would classify, in balanced light."""
    reader, side = plan.source.open_shared(), plan.grid.patch_px
    parts = []
    for row in np.flatnonzero(plan.keep.any(axis=1)):
        cols = np.flatnonzero(plan.keep[row])
        left, n_cols = int(cols[0]), int(cols[-1] - cols[0]) + 1
        box = Box(left * side, int(row) * side, n_cols * side, side)
        canvas = read_canvas(reader, plan.read_plan, box)
        parts.append(cut_patches(canvas, np.zeros_like(cols), cols - left, side, side))
    balanced: RgbArray = plan.white_balance.apply(np.concatenate(parts))
    return balanced


def every(patches: RgbArray, n: int) -> RgbArray:
    """Return n of the patches, spread evenly."""
    chosen = np.unique(np.linspace(0, len(patches) - 1, n).astype(int))
    return np.asarray(patches[chosen], dtype=np.uint8)


if __name__ == "__main__":
    main()
