"""Every finished slide of an output folder drawn again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsi_pipeline.config import Config
from wsi_pipeline.errors import IncompleteRunError, WsiPipelineError
from wsi_pipeline.results.slide_files import MAP_NAME, SlideResult, render_slide
from wsi_pipeline.results.summary import write_summary


def slide_folders(out: Path) -> list[Path]:
    """Return the folders of the slides of an output folder, by name.

    Raises
    ------
    IncompleteRunError
        Where the folder is not the output of a run. Links are not followed: they could make the
        results of others, or any file of this machine, part of it.
    """
    slides = out / "slides"
    if slides.is_symlink() or not slides.is_dir():
        raise IncompleteRunError(f"{out} holds no slides/", "Give the folder that `run -o` wrote")
    return sorted(path for path in slides.iterdir() if path.is_dir() and not path.is_symlink())


def render_slides(
    out: Path, config: Config
) -> Iterator[tuple[str, SlideResult | WsiPipelineError]]:
    """Render each slide that has a map; yield its id and its result or what went wrong."""
    for folder in slide_folders(out):
        if not (folder / MAP_NAME).is_dir():
            continue
        try:
            yield folder.name, render_slide(folder, config)
        except WsiPipelineError as error:
            yield folder.name, error
    write_summary(out, parquet=config.parquet)
