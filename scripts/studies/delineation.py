#!/usr/bin/env python3
"""How near outlines come to those of the exhaustive map, and at what price.

    python scripts/studies/delineation.py SLIDE... [--model DIR] [--workers N]

Each slide is done with patches side by side, with borders refined, at half the stride, and with a
patch every 80 µm, whose outlines the others are measured against: mean distance of the one
boundary to the other, taken both ways, and Dice of the areas, both inside the tissue. Where a
SLIDE_truth.png lies beside a slide, cells are scored against it too, each way by its own map. The
table is printed, and written into delineation.md beside this script. Needs the time of some thirty
passes over each slide.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from study_table import beside, measured_today, write_table

from wsi_pipeline.classifier import find_model
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.learning.data.truth import SlideTruth, find_truths
from wsi_pipeline.learning.reports.slide_evaluation import SlideComparison, compare, slide_row
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.results.slide_files import regions_of
from wsi_pipeline.results.status import Done

EXHAUSTIVE = "every 80 µm"
WAYS: dict[str, dict[str, Any]] = {
    EXHAUSTIVE: {"tiling": {"stride_px": 10}},
    "side by side, outlines of cells": {"regions": {"outline": "cells"}},
    "side by side": {},
    "borders at half the stride": {"tiling": {"border_step": 2}},
    "half the stride everywhere": {"tiling": {"stride_px": 25}},
}
BOUNDARY_STEP_UM = 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One slide done one way."""

    patches: int
    seconds: float
    """Of the passes over the slide."""
    distance_um: float
    dice: float
    area_mm2: float
    counted_mm2: float
    """The tissue inside the outlines, counted once more by another way."""
    truth: SlideComparison | None


def main() -> None:
    """Measure, print the tables, and write them beside the script."""
    arguments = parse()
    card = find_model(arguments.model)
    found: dict[str, dict[str, Measured]] = {}
    for slide in arguments.slides:
        found[slide.stem] = measure(slide, arguments.model, arguments.workers)
    facts = (
        f"{len(found)} slides, model {card.name} ({card.sha256[:8]}), {arguments.workers} threads "
        f"on {os.cpu_count()} cores, load average {os.getloadavg()[1]:.1f}"
    )
    lines = [measured_today(facts), "", *summary(found), "", *by_slide(found)]
    print("\n".join(lines))
    write_table(beside(__file__), lines)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE")
    parser.add_argument("--model", default="idc-compact", help="bundled name or model folder")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads")
    return parser.parse_args()


def measure(slide: Path, model: str, workers: int) -> dict[str, Measured]:
    """Do a slide every way and compare each with the exhaustive one."""
    truth, reference, found = truth_of(slide), None, {}
    for way, settings in WAYS.items():
        common = {"model": model, "outputs": "map", "execution": {"workers": workers}}
        config = load_config(None, {**common, **settings})
        start = time.perf_counter()
        map_, status = run(slide, config)
        outlines = outlines_um(map_, config)
        reference = outlines if reference is None else reference
        found[way] = Measured(
            status.patches,
            status.seconds["classify"],
            distance_um(outlines, reference),
            dice(outlines, reference, map_),
            regions_of(map_, config).area_mm2,
            counted_mm2(outlines, map_),
            None if truth is None else compare(slide.stem, map_, truth.cells, config),
        )
        print(f"{slide.stem}, {way}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


def truth_of(slide: Path) -> SlideTruth | None:
    """Return the truth beside a slide, None where there is none."""
    try:
        return next((t for t in find_truths(slide.parent) if t.slide_path == slide), None)
    except DatasetError:
        return None


def run(slide: Path, config: Config) -> tuple[ProbabilityMap, Done]:
    """Do one slide and return its map and its record."""
    with TemporaryDirectory() as folder:
        result = run_slide(slide, folder, config)
        assert isinstance(result.status, Done), "the slides of this study have tissue"
        return ProbabilityMap.open(result.map_path), result.status


def outlines_um(map_: ProbabilityMap, config: Config) -> shapely.Geometry:
    """Return all that is outlined as one area, µm."""
    union = shapely.union_all([region.outline_l0 for region in regions_of(map_, config)])
    return shapely.transform(union, lambda xy: xy * (map_.mpp.x, map_.mpp.y))


def distance_um(one: shapely.Geometry, other: shapely.Geometry) -> float:
    """Return the mean distance between two boundaries, both ways; NaN where there is none."""
    if one.is_empty or other.is_empty:
        return np.nan
    first, second = (
        shapely.get_coordinates(shapely.segmentize(area.boundary, BOUNDARY_STEP_UM))
        for area in (one, other)
    )
    there, back = cKDTree(second).query(first)[0], cKDTree(first).query(second)[0]
    return float((there.mean() + back.mean()) / 2)


def dice(one: shapely.Geometry, other: shapely.Geometry, map_: ProbabilityMap) -> float:
    """Return the Dice of two areas, counted on the tissue."""
    first, second = tissue_in(one, map_), tissue_in(other, map_)
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else np.nan


def counted_mm2(outlines: shapely.Geometry, map_: ProbabilityMap) -> float:
    """Return the tissue inside outlines, by the centers of the mask's px."""
    assert map_.mask is not None
    (x, y), mpp = map_.mask.step_l0, map_.mpp
    return float(tissue_in(outlines, map_).sum()) * x * mpp.x * y * mpp.y / 1e6


def tissue_in(area_um: shapely.Geometry, map_: ProbabilityMap) -> NDArray[np.bool_]:
    """Return which px of tissue have their center in an area."""
    assert map_.mask is not None
    rows, cols = np.nonzero(map_.mask.inside)
    (x0, y0), (dx, dy) = map_.mask.origin_l0, map_.mask.step_l0
    shapely.prepare(area_um)
    inside: NDArray[np.bool_] = shapely.contains_xy(
        area_um, (x0 + (cols + 0.5) * dx) * map_.mpp.x, (y0 + (rows + 0.5) * dy) * map_.mpp.y
    )
    return inside


def summary(found: dict[str, dict[str, Measured]]) -> Iterator[str]:
    """Yield a row a way: means over the slides."""
    yield (
        "| patches | times the patches | seconds | distance µm | Dice to the exhaustive map "
        "| cell AUC | cell Dice | region Dice |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for way in WAYS:
        ways = [slide[way] for slide in found.values()]
        first = [slide["side by side"].patches for slide in found.values()]
        price = np.mean([one.patches / n for one, n in zip(ways, first, strict=True)])
        seconds = sum(one.seconds for one in ways)
        distance, agreement = (
            np.nanmean([getattr(one, name) for one in ways]) for name in ("distance_um", "dice")
        )
        yield (
            f"| {way} | {price:.2f} | {seconds:.1f} | {distance:.0f} | {agreement:.3f} | "
            f"{' | '.join(against_truth(ways))} |"
        )


def against_truth(ways: Sequence[Measured]) -> list[str]:
    """Return AUC and Dice of cells, means over the slides with truth."""
    rows = [slide_row(one.truth) for one in ways if one.truth is not None]
    names = ("auc", "cell_dice", "region_dice")
    return [f"{np.nanmean([row[name] for row in rows]):.3f}" if rows else "" for name in names]


def by_slide(found: dict[str, dict[str, Measured]]) -> Iterator[str]:
    """Yield a row a slide: times the patches, distance and Dice of each way; areas."""
    ways = [way for way in WAYS if way != EXHAUSTIVE]
    yield "| slide | " + " | ".join(ways) + " | IDC mm², borders | counted otherwise |"
    yield "|---" * (len(ways) + 3) + "|"
    for name, slide in found.items():
        first = slide["side by side"].patches
        cells = [
            f"{slide[way].patches / first:.2f}: {slide[way].distance_um:.0f} µm, "
            f"{slide[way].dice:.3f}"
            for way in ways
        ]
        borders = slide["borders at half the stride"]
        areas = f"{borders.area_mm2:.3f} | {borders.counted_mm2:.3f}"
        yield f"| {name} | {' | '.join(cells)} | {areas} |"


if __name__ == "__main__":
    main()
