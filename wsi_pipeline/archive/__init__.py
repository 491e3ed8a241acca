"""Many slides: inputs, the run over them and its record."""

from wsi_pipeline.archive.inputs import FoundSlides, SlideEntry, find_slides, search_inputs
from wsi_pipeline.archive.runner import RunOutcome, Watcher, make_jobs, run_slides

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
