"""Many slides: the run over them and its record."""

from wsi_pipeline.archive.jobs import make_jobs
from wsi_pipeline.archive.progress import RunOutcome, Watcher
from wsi_pipeline.archive.runner import run_slides

__all__ = ["RunOutcome", "Watcher", "make_jobs", "run_slides"]
