#!/usr/bin/env python3
"""What the light of another scanner does to mask and map, with and without white balance.

    python scripts/studies/tints.py SLIDES [--model DIR]

SLIDES: slides with their truth beside them (`NAME.tif`, `NAME_truth.png`). Each is written again in
the light of `TINTS`, as JPEG 95 without loss of chroma, and gone through by the pipeline itself
with `slide.white_balance: auto` and `none`. The table is printed, and written into tints.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
from conditions import Condition
from study_table import beside, measured_today, write_table

from wsi_pipeline.classifier import find_model
from wsi_pipeline.config import load_config
from wsi_pipeline.geometry import BoolMask, RgbArray
from wsi_pipeline.learning.data.truth import SlideTruth, find_truths
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.reports.slide_evaluation import compare_slides, pooled_predictions
from wsi_pipeline.learning.training.changed_copies import levels
from wsi_pipeline.pipeline.plan import plan_slide
from wsi_pipeline.slides import SlideSource, open_slide

TILE_PX = 256


def tinted(factors: tuple[float, float, float], rgb: RgbArray) -> RgbArray:
    """Multiply the light of each channel."""
    return levels(rgb * np.asarray(factors))


TINTS: dict[str, Condition] = {
    "as scanned": lambda rgb: rgb,
    "dark 0.77": partial(tinted, (0.77, 0.77, 0.77)),
    "pink": partial(tinted, (1.0, 0.88, 0.96)),
    "violet": partial(tinted, (0.88, 0.80, 0.95)),
    "yellow": partial(tinted, (1.0, 0.97, 0.82)),
    "blue": partial(tinted, (0.88, 0.95, 1.0)),
}
"""Factors on red, green and blue light: of slides as of patches."""


def main() -> None:
    """Measure, print the table, and write it beside the script."""
    arguments = parse()
    truths, card = find_truths(arguments.slides), find_model(arguments.model)
    lines = [
        "| light | glass | mask's Dice to the untinted one, mean (least) | AUC / Dice of cells, "
        "white_balance: none | auto |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for row in rows(truths, arguments.model):
        lines.append(row)
        print(row, flush=True)
    facts = f"{card.name} (sha256 {card.sha256[:12]}), {len(truths)} slides, cells pooled"
    write_table(arguments.out, [measured_today(facts), "", *lines])


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slides", type=Path)
    parser.add_argument("--model", default="idc-compact", metavar="NAME_OR_DIR")
    parser.add_argument("-o", "--out", type=Path, default=beside(__file__), metavar="FILE.md")
    return parser.parse_args()


def rows(truths: list[SlideTruth], model: str) -> Iterator[str]:
    """Yield the table's rows, one for each light."""
    untinted: list[BoolMask] = []
    for name, tint in TINTS.items():
        with TemporaryDirectory() as scratch:
            place = Path(scratch)
            slides = [replace(t, slide_path=changed(t.slide_path, tint, place)) for t in truths]
            found = [mask_and_glass(truth.slide_path, model) for truth in slides]
            # The copies as scanned come first: what JPEG alone does to a mask is no light's fault.
            untinted = untinted or [mask for mask, _ in found]
            overlaps = [dice(mask, was) for (mask, _), was in zip(found, untinted, strict=True)]
            glass = np.median([color for _, color in found], axis=0).round().astype(int)
            cells = [entry(slides, model, choice, place / choice) for choice in ("none", "auto")]
            yield (
                f"| {name} | {', '.join(map(str, glass))} | {np.mean(overlaps):.4f} "
                f"({np.min(overlaps):.4f}) | {cells[0]} | {cells[1]} |"
            )


def mask_and_glass(path: Path, model: str) -> tuple[BoolMask, tuple[int, int, int]]:
    """Return the tissue mask that a run would use, and the glass that it sees."""
    mask = plan_slide(SlideSource(path), load_config(), find_model(model)).tissue_mask
    return mask.mask, mask.glass_rgb


def entry(truths: list[SlideTruth], model: str, balance: str, work: Path) -> str:
    """Return AUC and Dice of the pooled cells by the whole pipeline."""
    choices = {"model": model, "outputs": "map", "slide": {"white_balance": balance}}
    comparisons = list(compare_slides(truths, find_model(model), load_config(None, choices), work))
    pooled, threshold = pooled_predictions(comparisons), comparisons[0].threshold
    called = metrics.call_scores(pooled.labels, pooled.probabilities, threshold)
    return f"{metrics.auc(pooled.labels, pooled.probabilities):.4f} / {called['f1']:.4f}"


def dice(mask: BoolMask, other: BoolMask) -> float:
    """Return the overlap of two masks of one shape."""
    return float(2 * (mask & other).sum() / max(int(mask.sum() + other.sum()), 1))


def changed(path: Path, change: Condition, folder: Path) -> Path:
    """Write a slide's finest level changed, at its µm/px; return the file."""
    with open_slide(path) as slide:
        size, mpp = slide.pyramid.size_l0, slide.info.mpp
        rgb = slide.thumbnail(max(size.width, size.height))
    assert mpp is not None, f"{path} states no µm/px"
    target = folder / f"{path.stem}.tif"
    tifffile.imwrite(
        target,
        change(rgb),
        tile=(TILE_PX, TILE_PX),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 95},
        subsampling=(1, 1),
        resolution=(1e4 / mpp.x, 1e4 / mpp.y),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    return target


if __name__ == "__main__":
    main()
