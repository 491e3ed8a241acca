"""The probability map of a slide: its grid, its store on disk (the home of zarr), its regions."""

from wsi_pipeline.maps.block_store import BlockStore
from wsi_pipeline.maps.map import ProbabilityMap, TissueRaster
from wsi_pipeline.maps.store import copy_map, write_map, write_threshold

__all__ = [
    "BlockStore",
    "ProbabilityMap",
    "TissueRaster",
    "copy_map",
    "write_map",
    "write_threshold",
]
