#!/usr/bin/env python3
"""Set up the environment if need be and run the main job: slides to maps, regions and overlays.

Without a slide it makes a synthetic one (drawn by a program, no patient's tissue) and runs on that.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

import bootstrap

DEMO_OUT = bootstrap.ROOT / "demo_out"
GENERATOR = bootstrap.ROOT / "wsi_pipeline/slides/synthetic"
LEFT_BEHIND = {
    "overlay": "overlay.png",
    "map": "probability.zarr",
    "regions": "regions.geojson",
}
LISTED_SLIDES = 5


def main() -> int:
    arguments = _parse()
    python = bootstrap.enter(setup_only=arguments.setup_only)
    slides, out = arguments.slides, arguments.out
    if not slides:
        slides, out = [_synthetic_slide(python)], out or DEMO_OUT / "run"
    out = out or DEMO_OUT / "slides"
    options = ["--mpp", str(arguments.mpp)] if arguments.mpp else []
    command = ["-m", "wsi_pipeline", "run", *map(str, slides), "-o", str(out), *options]
    status = subprocess.run([str(python), *command], check=False).returncode
    _show_results(out)
    if not arguments.slides:
        print("The slide is synthetic: drawn by a program to look like H&E, no patient's tissue.")
        print(f"Its truth: {slides[0].with_name(slides[0].stem + '_truth.geojson')}")
    return status


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "slides", nargs="*", type=Path, metavar="SLIDE", help="slide file or folder"
    )
    parser.add_argument(
        "-o", "--out", type=Path, help="folder for the results (default: demo_out/...)"
    )
    parser.add_argument("--mpp", type=float, help="µm per pixel, for slides that do not state it")
    parser.add_argument("--setup-only", action="store_true", help="stop after the set-up")
    return parser.parse_args()


def _synthetic_slide(python: Path) -> Path:
    """Make the demo slide, unless one of this generator is there already."""
    slide = DEMO_OUT / "synthetic.tif"
    newest = max(path.stat().st_mtime for path in GENERATOR.glob("*.py"))
    if slide.is_file() and slide.stat().st_mtime > newest:
        print(f"Using the synthetic slide {slide}", flush=True)
        return slide
    print(f"Drawing a synthetic slide, {slide}", flush=True)
    maker = bootstrap.ROOT / "scripts/make_demo_slide.py"
    subprocess.run([str(python), str(maker), str(slide)], check=True)
    return slide


def _show_results(out: Path) -> None:
    folders = sorted(out.glob("slides/*/overlay.png"), key=os.path.getmtime, reverse=True)
    for overlay in folders[:LISTED_SLIDES]:
        print(f"\n{overlay.parent.name}")
        for name, file in LEFT_BEHIND.items():
            print(f"  {name:8} {overlay.parent / file}")
    if len(folders) > LISTED_SLIDES:
        print(f"\n... and {len(folders) - LISTED_SLIDES} more in {out / 'slides'}")
    if (out / "index.html").is_file():
        print(f"\nAll at a glance: {out / 'index.html'}")


if __name__ == "__main__":
    raise SystemExit(main())
