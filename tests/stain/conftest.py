"""Fixtures of the stain tests."""

from __future__ import annotations

import pytest

from tests.stain.mixtures import PixelMaker, mix
from wsi_pipeline.stain import StainReference


@pytest.fixture
def make_pixels() -> PixelMaker:
    return mix


@pytest.fixture(scope="session")
def reference() -> StainReference:
    return StainReference.fit(mix(), source="synthetic")
