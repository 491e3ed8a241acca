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
SYNTHETIC = DEMO_OUT / "synthetic.tif"
GENERATOR = bootstrap.ROOT / "wsi_pipeline/demo"
LEFT_BEHIND = {
    "overlay": "overlay.png",
    "map": "probability.zarr",
    "regions": "regions.geojson",
}
LISTED_SLIDES = 5


def main() -> int:
    arguments = _parse()
    python = bootstrap.enter(setup_only=arguments.setup_only)
    slides, out = arguments.slides, arguments.out or DEMO_OUT / "slides"
    options = ["--mpp", str(arguments.mpp)] if arguments.mpp else []
    if not slides:
        slides, out = [SYNTHETIC], arguments.out or DEMO_OUT / "run"
        options += _draw_synthetic_slide(python)
    command = ["-m", "wsi_pipeline", "run", *map(str, slides), "-o", str(out), *options]
    status = subprocess.run([str(python), *command], check=False).returncode
    _show_results(out)
    if not arguments.slides:
        print("The slide is synthetic: drawn by a program to look like H&E, no patient's tissue.")
        print(f"Its truth: {SYNTHETIC.with_name('synthetic_truth.geojson')}")
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


def _draw_synthetic_slide(python: Path) -> list[str]:
    """Make the demo slide unless this generator has; return the options for its run."""
    newest = max(path.stat().st_mtime for path in GENERATOR.glob("*.py"))
    if SYNTHETIC.is_file() and SYNTHETIC.stat().st_mtime > newest:
        print(f"Using the synthetic slide {SYNTHETIC}", flush=True)
        return []
    print(f"Drawing a synthetic slide, {SYNTHETIC}", flush=True)
    maker = bootstrap.ROOT / "scripts/make_demo_slide.py"
    subprocess.run([str(python), str(maker), str(SYNTHETIC)], check=True)
    return ["--overwrite"]  # what a run left of an earlier drawing is no longer true


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
