"""What people draw on slides, read from the files of every common program."""

from wsi_pipeline.annotations.areas import Area, only_areas, polygons
from wsi_pipeline.annotations.drawing import Annotation, Drawing
from wsi_pipeline.annotations.naming import owner_of, slide_names
from wsi_pipeline.annotations.place import Place, check_place, doubts_of_place
from wsi_pipeline.annotations.reading import (
    ANNOTATION_SUFFIXES,
    KNOWN_KINDS,
    OTHER_PROGRAMS,
    annotation_stem,
    read_annotations,
)

__all__ = [
    "ANNOTATION_SUFFIXES",
    "KNOWN_KINDS",
    "OTHER_PROGRAMS",
    "Annotation",
    "Area",
    "Drawing",
    "Place",
    "annotation_stem",
    "check_place",
    "doubts_of_place",
    "only_areas",
    "owner_of",
    "polygons",
    "read_annotations",
    "slide_names",
]
