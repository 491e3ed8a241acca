"""Two opinions of one slide: runs against runs, and runs against pathologists' outlines."""

from wsi_pipeline.compare.agreement import Agreement, RegionMatch, compare_outlines
from wsi_pipeline.compare.maps import MapDifference, compare_maps
from wsi_pipeline.compare.outlines import Outline, Outlines, outlines_of, read_outlines

__all__ = [
    "Agreement",
    "MapDifference",
    "Outline",
    "Outlines",
    "RegionMatch",
    "compare_maps",
    "compare_outlines",
    "outlines_of",
    "read_outlines",
]
