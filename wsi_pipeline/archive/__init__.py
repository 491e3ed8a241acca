"""Many slides: inputs, the run over them and its record."""

from wsi_pipeline.archive.inputs import FoundSlides, find_slides, search_inputs
from wsi_pipeline.archive.jobs import make_jobs
from wsi_pipeline.archive.progress import RunOutcome, Watcher
from wsi_pipeline.archive.runner import run_slides
from wsi_pipeline.archive.slide_list import SlideEntry

__all__ = [
    "FoundSlides",
    "RunOutcome",
    "SlideEntry",
    "Watcher",
    "find_slides",
    "make_jobs",
    "run_slides",
    "search_inputs",
]
