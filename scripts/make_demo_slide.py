#!/usr/bin/env python3
"""Draw a synthetic H&E whole-mount slide with its truth beside it. No patient's tissue."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsi_pipeline.demo import make_demo_slide


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the slide to write, .tif")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another slide")
    arguments = parser.parse_args()
    truth = make_demo_slide(arguments.path, seed=arguments.seed)
    print(f"{truth.slide_path}: synthetic, {truth.size_l0.width} x {truth.size_l0.height} px")
    print(
        f"  {truth.mpp} µm/px, tissue {truth.tissue_mm2:.0f} mm², tumor {truth.tumor_mm2:.1f} mm²"
    )
    print(f"  truth: {truth.truth_path.name}, {truth.outlines_path.name}")


if __name__ == "__main__":
    main()
