"""From a thumbnail to the tissue mask of a slide, and quality flags of its patches."""

from wsi_pipeline.tissue.annotation import (
    MASK_SUFFIXES,
    MaskFrame,
    UserMask,
    mask_from_annotations,
    mask_from_png,
    mask_to_geojson,
)
from wsi_pipeline.tissue.area import area_fraction
from wsi_pipeline.tissue.artifacts import Artifacts
from wsi_pipeline.tissue.assessable import why_not_assessable
from wsi_pipeline.tissue.glass import Glass, estimate_glass, find_glass
from wsi_pipeline.tissue.mask import TissueMask, TissueParameters, segment_tissue
from wsi_pipeline.tissue.quality import QualityFlag, patch_flags
from wsi_pipeline.tissue.white_balance import WhiteBalance

__all__ = [
    "MASK_SUFFIXES",
    "Artifacts",
    "Glass",
    "MaskFrame",
    "QualityFlag",
    "TissueMask",
    "TissueParameters",
    "UserMask",
    "WhiteBalance",
    "area_fraction",
    "estimate_glass",
    "find_glass",
    "mask_from_annotations",
    "mask_from_png",
    "mask_to_geojson",
    "patch_flags",
    "segment_tissue",
    "why_not_assessable",
]
