"""`wsi-pipeline render`: regions and overlays again from the stored maps."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.cli.printing import counted
from wsi_pipeline.cli.run import config_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="output folder of a run")
    add("-c", "--config", type=Path, metavar="FILE", help="YAML configuration (see configs/)")
    add("--threshold", type=float, metavar="P", help="probability from which a cell is IDC")
    add("--min-area-mm2", type=float, metavar="MM2", help="drop regions with less tissue")
    add("--smoothing", type=float, metavar="CELLS", help="sigma of the smoothing, in cells")
    add("--outline", choices=("contour", "cells"), help="along the tissue, or along cells")
    add("--colormap", metavar="NAME", help="matplotlib color map")
    add("--map", choices=("smooth", "cells"), help="interpolated, or each cell a square")
    add("--flagged", choices=("kept", "hatched", "dropped"), help="cells with a quality flag")
    add("--opacity", type=float, metavar="SHARE", help="of the map over the slide, 0 to 1")


def execute(options: argparse.Namespace) -> int:
    """Render every finished slide of the folder."""
    config = config_of(options)
    from wsi_pipeline.results.rendering import render_slides

    n_failed = 0
    for slide_id, result in render_slides(options.out, config):
        if isinstance(result, Exception):
            n_failed += 1
            print(f"{slide_id}: {result}")
        elif result.totals is None:
            print(f"{slide_id}: empty, nothing to render")
        else:
            regions = counted(result.totals.n_regions, "region")
            print(f"{slide_id}: IDC {result.totals.idc_mm2:.2f} mm² in {regions}")
    return EXIT_SOME_FAILED if n_failed else EXIT_DONE
