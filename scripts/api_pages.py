#!/usr/bin/env python3
"""Build the pages of the Python side: every public name with its examples, and what they return.

    .venv/bin/python scripts/api_pages.py -o html

Then open html/index.html. Needs pdoc (`scripts/test.py --setup-only` brings it), no network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pdoc

import wsi_pipeline

MODULES = (
    "wsi_pipeline",
    "wsi_pipeline.config",
    "wsi_pipeline.errors",
    "wsi_pipeline.geometry",
    "wsi_pipeline.results.status",
    "wsi_pipeline.slides",
)
"""What a user of the public names meets: their arguments, results and errors."""


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("html"), metavar="DIR")
    out = parser.parse_args().out
    for name in wsi_pipeline.__all__:
        getattr(wsi_pipeline, name)  # imported when first asked for: pdoc looks at what is there
    pdoc.render.configure(docformat="numpy", footer_text=wsi_pipeline.NOTICE)
    only_these = [f"!{name}." for name in MODULES]  # not their submodules
    pdoc.pdoc(*MODULES, *only_these, *MODULES[1:], output_directory=out)
    print(f"{out / 'index.html'}")


if __name__ == "__main__":
    main()
