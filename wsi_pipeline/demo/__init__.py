"""A synthetic H&E whole-mount slide with its truth, for demonstrations and end-to-end tests.

Drawn from random fields by a program: no patient's tissue, no pixel of a real slide, and no measure
of diagnostic accuracy.
"""

from wsi_pipeline.demo.slide import DemoTruth, make_demo_slide

__all__ = ["DemoTruth", "make_demo_slide"]
