"""`wsi-pipeline preview`: one page that shows why a slide fails, or that it will do."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsi_pipeline.cli.main import EXIT_DONE, EXIT_SOME_FAILED
from wsi_pipeline.cli.run import config_of
from wsi_pipeline.config import STAIN_METHODS

EPILOG = """\
writes preview.png and preview.html (the same, with its numbers as text; works offline), and the
tissue mask as mask.png and mask.geojson, which may be edited and given to `run --mask`. The model
is not loaded, and nothing is classified.

exit status: 0 a run can do this slide; 1 it would fail or find no tissue (the page says why)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("slide", type=Path, metavar="SLIDE", help="a slide or a picture")
    add("-o", "--out", type=Path, required=True, metavar="DIR", help="where the page goes")
    add("-c", "--config", type=Path, metavar="FILE", help="YAML configuration (see configs/)")
    add("--model", metavar="NAME_OR_DIR", help="whose patches are shown (default: bundled model)")
    add("--stride", type=int, metavar="PX", help="step between patches at the model's µm/px")
    add("--stain", choices=STAIN_METHODS, help="what a run would use; all are shown")
    add("--stain-reference", metavar="FILE",
        help="normalize to this: a stain_reference.json, or a slide or picture, whose reference is "
        "then written to DIR/stain_reference.json")  # fmt: skip
    add("--mpp", type=float, metavar="UM", help="µm/px for slides that state none")


def execute(options: argparse.Namespace) -> int:
    """Write the page and say what it found."""
    config = config_of(options)
    from wsi_pipeline.classifier import find_model
    from wsi_pipeline.pipeline.stain import save_reference, stain_reference
    from wsi_pipeline.preview.slide import preview_slide
    from wsi_pipeline.slides import SlideSource

    card = find_model(config.model)
    wanted = config.stain.reference
    saved = save_reference(Path(wanted), config, card, options.out) if wanted else None
    reference = stain_reference(card, saved)
    source = SlideSource(options.slide.absolute(), config.slide.mpp, None, config.slide.apply_icc)
    preview = preview_slide(source, config, card, reference, options.out)
    for words in preview.problems:
        print(f"problem: {words}")
    for words in preview.cautions:
        print(f"note: {words}")
    for path in preview.files:
        print(f"  {path}")
    if saved:
        print(f"  {saved}")
    return EXIT_SOME_FAILED if preview.problems else EXIT_DONE
