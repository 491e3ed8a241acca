"""One contract, two implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.slide_reader import SlideReaderContract
from wsi_pipeline.geometry import Mpp, RgbArray
from wsi_pipeline.slides import ArrayReader, SlideReader, open_slide


class TestArrayReader(SlideReaderContract):
    @pytest.fixture
    def reader(self, pyramid_levels: list[RgbArray]) -> ArrayReader:
        return ArrayReader(pyramid_levels, mpp=Mpp(1.0, 1.0))


class TestOpenSlideReader(SlideReaderContract):
    @pytest.fixture
    def reader(
        self, pyramid_levels: list[RgbArray], write_slide: Callable[..., Path]
    ) -> Iterator[SlideReader]:
        with open_slide(write_slide(pyramid_levels)) as slide:
            yield slide
