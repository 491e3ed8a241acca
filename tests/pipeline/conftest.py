"""Classifiers and pictures as the classifier's own tests have them."""

from tests.learning.conftest import color_classifier, make_color_classifier, paint_patch

__all__ = ["color_classifier", "make_color_classifier", "paint_patch"]
