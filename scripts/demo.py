#!/usr/bin/env python3
"""Set up the environment if need be and run the main job: slides to maps, regions and overlays.

Without a slide it makes a synthetic one (drawn by a program, no patient's tissue) and runs on that.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import bootstrap

DEMO_OUT = bootstrap.ROOT / "demo_out"
SYNTHETIC = DEMO_OUT / "synthetic.tif"
GENERATOR = bootstrap.ROOT / "wsi_pipeline/demo"


def main() -> int:
    arguments = _parse()
    python = bootstrap.enter(bootstrap.RUN_LOCK, setup_only=arguments.setup_only)
    slides, out = arguments.slides, arguments.out or _from_here(DEMO_OUT / "slides")
    options = ["--mpp", str(arguments.mpp)] if arguments.mpp else []
    if not slides:
        slides, out = [SYNTHETIC], arguments.out or _from_here(DEMO_OUT / "run")
        options += _draw_synthetic_slide(python)
    # it ends by saying where the results are and what to type next
    command = ["-m", "wsi_pipeline", "run", *map(str, slides), "-o", str(out), *options]
    return subprocess.run([str(python), *command], check=False).returncode


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
    print("The slide is synthetic: drawn by a program to look like H&E, no patient's tissue.")
    print(f"Its truth: {_from_here(SYNTHETIC.with_name('synthetic_truth.geojson'))}")
    newest = max(path.stat().st_mtime for path in GENERATOR.glob("*.py"))
    if SYNTHETIC.is_file() and SYNTHETIC.stat().st_mtime > newest:
        print(f"Using {_from_here(SYNTHETIC)}", flush=True)
        return []
    print(f"Drawing {_from_here(SYNTHETIC)}", flush=True)
    maker = bootstrap.ROOT / "scripts/make_demo_slide.py"
    subprocess.run([str(python), str(maker), str(SYNTHETIC)], check=True)
    return ["--overwrite"]  # what a run left of an earlier drawing is no longer true


def _from_here(path: Path) -> Path:
    """Return the path as it is typed from the working folder, where it lies below that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    raise SystemExit(main())
