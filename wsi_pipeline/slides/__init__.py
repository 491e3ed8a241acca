"""Open a slide, know its resolution, read it on the pixel grid of the model.

Nothing here imports OpenSlide before a slide is opened.
"""

from wsi_pipeline.slides.array_reader import ArrayReader
from wsi_pipeline.slides.canvas import ReadPlan, plan_read, read_canvas, read_overview
from wsi_pipeline.slides.opening import IMAGE_FORMATS, IMAGE_SUFFIXES, SLIDE_SUFFIXES, open_slide
from wsi_pipeline.slides.overview import Thumbnail, read_thumbnail
from wsi_pipeline.slides.pyramid import Pyramid, SlideInfo, SlideReader
from wsi_pipeline.slides.resolution import require_mpp
from wsi_pipeline.slides.source import SlideSource, forget_readers

__all__ = [
    "IMAGE_FORMATS",
    "IMAGE_SUFFIXES",
    "SLIDE_SUFFIXES",
    "ArrayReader",
    "Pyramid",
    "ReadPlan",
    "SlideInfo",
    "SlideReader",
    "SlideSource",
    "Thumbnail",
    "forget_readers",
    "open_slide",
    "plan_read",
    "read_canvas",
    "read_overview",
    "read_thumbnail",
    "require_mpp",
]
