#!/usr/bin/env python3
"""Whether stated areas are those of tissue: each figure against a count of the mask's pixels.

    python scripts/studies/areas.py SLIDE... [--outline cells] [--workers N]

Each slide is run as a user runs it. IDC mm² of status.json, of summary.csv and the sum of the
regions in regions.geojson stand beside the tissue whose pixels (16 µm) have their centers inside
the outlines, read from that file by shapely: none of the code that made the figures takes part.
The table is printed, and written into areas.md beside this script. Exit status 1 where two differ
by more than 1 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import shapely
from delineation import counted_mm2
from study_table import beside, measured_today, write_table

from wsi_pipeline.config import load_config
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.results.layout import SUMMARY_NAME
from wsi_pipeline.results.slide_files import SlideResult
from wsi_pipeline.results.summary import write_summary

MOST = 0.01
"""Share by which a figure may differ from the count."""


@dataclass(frozen=True, slots=True)
class Areas:
    """What each place says of a slide, mm²; `n_regions` is none."""

    status: float
    summary: float
    geojson: float
    counted: float
    outline: float
    tissue: float
    n_regions: int

    @property
    def largest_difference(self) -> float:
        """Of a figure from the count, as a share of that."""
        figures = (self.status, self.summary, self.geojson)
        return max(abs(figure - self.counted) for figure in figures) / max(self.counted, 1e-9)


def main() -> int:
    """Measure, print the table and write it beside the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE")
    parser.add_argument("--outline", choices=("contour", "cells"), default="contour")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads")
    options = parser.parse_args()
    settings = {"execution": {"workers": options.workers}, "regions": {"outline": options.outline}}
    config = load_config(None, settings)
    found: dict[str, Areas] = {}
    for slide in options.slides:
        with TemporaryDirectory() as folder:
            result = run_slide(slide, folder, config)
            if result.totals is not None:
                found[slide.stem] = measure(result, Path(folder))
    called = [areas.largest_difference for areas in found.values() if areas.counted > 0]
    facts = (
        f"{len(found)} slides, outlines {options.outline}; largest difference "
        f"{max(called):.2%}; largest share {max(a.status / a.tissue for a in found.values()):.3f}"
    )
    lines = [measured_today(facts), "", *table(found)]
    print("\n".join(lines))
    write_table(beside(__file__), lines)
    return int(max(called) > MOST)


def measure(result: SlideResult, out: Path) -> Areas:
    """Return what is said of a slide that was run, and what is counted."""
    totals, map_ = result.totals, ProbabilityMap.open(result.map_path)
    assert totals is not None
    write_summary(out)
    with (out / SUMMARY_NAME).open(newline="", encoding="utf-8-sig") as file:
        (row,) = csv.DictReader(file)
    features = json.loads(result.regions_path.read_text(encoding="utf-8"))["features"]
    outlines = shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in features])
    outlines_um = shapely.transform(outlines, lambda xy: xy * (map_.mpp.x, map_.mpp.y))
    return Areas(
        status=totals.idc_mm2,
        summary=float(row["idc_mm2"]),
        geojson=sum(f["properties"]["measurements"]["Area mm^2"] for f in features),
        counted=counted_mm2(outlines_um, map_),
        outline=shapely.area(outlines_um) / 1e6,
        tissue=totals.tissue_mm2,
        n_regions=len(features),
    )


def table(found: dict[str, Areas]) -> list[str]:
    """Return a row a slide."""
    heads = ("status", "summary", "GeoJSON", "counted", "outline", "tissue")
    rows = [f"| slide | {' | '.join(heads)} | regions | largest difference |", "|---" * 9 + "|"]
    for name, areas in found.items():
        figures = " | ".join(f"{figure:.3f}" for figure in astuple(areas)[:6])
        rows.append(f"| {name} | {figures} | {areas.n_regions} | {areas.largest_difference:.2%} |")
    return rows


if __name__ == "__main__":
    sys.exit(main())
