"""The probability map of a slide and its store on disk (the home of zarr)."""

from wsi_pipeline.probability.map import ProbabilityMap
from wsi_pipeline.probability.store import read_map, write_map
from wsi_pipeline.probability.working import WorkingStore

__all__ = ["ProbabilityMap", "WorkingStore", "read_map", "write_map"]
