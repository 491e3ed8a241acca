"""Patches as those of the classifier's tests."""

from tests.learning.conftest import paint_patch

__all__ = ["paint_patch"]
