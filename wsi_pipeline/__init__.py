"""Delineate invasive ductal carcinoma on whole-slide images. Research use only."""

__version__ = "0.1.0"
