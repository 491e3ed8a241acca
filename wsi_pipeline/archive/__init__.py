"""Many slides: inputs, the run over them, its record and gallery."""

from wsi_pipeline.archive.inputs import SlideEntry, find_slides
from wsi_pipeline.archive.rendering import render_slides, slide_folders
from wsi_pipeline.archive.runner import RunOutcome, Watcher, make_jobs, run_slides

__all__ = [
    "RunOutcome",
    "SlideEntry",
    "Watcher",
    "find_slides",
    "make_jobs",
    "render_slides",
    "run_slides",
    "slide_folders",
]
