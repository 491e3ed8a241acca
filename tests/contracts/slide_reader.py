"""What every slide reader promises. An implementation's test subclasses it and gives a `reader`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wsi_pipeline.geometry import Box, Mpp, RgbArray
from wsi_pipeline.slides import ArrayReader, SlideReader, plan_read, read_canvas


class SlideReaderContract:
    """Held by a reader of `pyramid_levels` (see tests/slides/conftest.py) at 1 µm/px."""

    @pytest.fixture
    def reader(self) -> SlideReader:
        """Return the reader; each implementation has its own."""
        raise NotImplementedError

    def test_levels_have_whole_downsamples_and_the_whole_slide_as_bounds(
        self, reader: SlideReader
    ) -> None:
        pyramid = reader.pyramid
        assert pyramid.level_downsamples == ((1.0, 1.0), (2.0, 2.0), (8.0, 8.0))
        assert pyramid.bounds_l0 == Box(0, 0, 640, 480)
        assert not pyramid.has_bounds

    @pytest.mark.parametrize("level", [0, 1, 2])
    @pytest.mark.parametrize("corner", [(0, 0), (13, 7), (40, 33)])
    def test_a_box_holds_the_pixels_of_its_level(
        self,
        reader: SlideReader,
        pyramid_levels: list[RgbArray],
        level: int,
        corner: tuple[int, int],
    ) -> None:
        x, y = corner
        pixels = reader.read_level(level, Box(x, y, 31, 22))
        np.testing.assert_array_equal(pixels, pyramid_levels[level][y : y + 22, x : x + 31])
        assert pixels.dtype == np.uint8

    def test_outside_of_the_level_is_background(
        self, reader: SlideReader, pyramid_levels: list[RgbArray]
    ) -> None:
        pixels = reader.read_level(1, Box(-10, -5, 340, 260))
        inside = np.zeros(pixels.shape[:2], bool)
        inside[5:245, 10:330] = True
        np.testing.assert_array_equal(pixels[inside].reshape(240, 320, 3), pyramid_levels[1])
        assert (pixels[~inside] == 255).all()

    @pytest.mark.parametrize("box", [Box(5000, 0, 8, 6), Box(-100, -100, 8, 6)])
    def test_a_box_wholly_outside_is_background(self, reader: SlideReader, box: Box) -> None:
        pixels = reader.read_level(0, box)
        assert pixels.shape == (6, 8, 3)
        assert (pixels == 255).all()

    def test_an_empty_box_gives_no_pixels(self, reader: SlideReader) -> None:
        assert reader.read_level(0, Box(3, 3, 0, 5)).shape == (5, 0, 3)

    def test_two_threads_read_what_one_reads(
        self, reader: SlideReader, pyramid_levels: list[RgbArray]
    ) -> None:
        boxes = [Box(x, y, 64, 64) for x in range(0, 576, 37) for y in range(0, 400, 41)]
        with ThreadPoolExecutor(4) as pool:
            for box, pixels in zip(
                boxes, pool.map(lambda b: reader.read_level(0, b), boxes), strict=True
            ):
                expected = pyramid_levels[0][box.y : box.bottom, box.x : box.right]
                np.testing.assert_array_equal(pixels, expected)

    @pytest.mark.parametrize("max_side_px", [1, 7, 100, 320, 333])
    def test_a_thumbnail_keeps_shape_and_mean(
        self, reader: SlideReader, pyramid_levels: list[RgbArray], max_side_px: int
    ) -> None:
        thumbnail = reader.thumbnail(max_side_px)
        assert max(thumbnail.shape[:2]) == max_side_px
        assert thumbnail.shape[0] == max(1, round(max_side_px * 480 / 640))
        mean = pyramid_levels[0].mean(axis=(0, 1))
        np.testing.assert_allclose(thumbnail.mean(axis=(0, 1)), mean, atol=1.5)

    def test_a_thumbnail_is_never_enlarged(self, reader: SlideReader) -> None:
        assert reader.thumbnail(5000).shape == (480, 640, 3)

    def test_the_canvas_is_the_same_through_any_reader(
        self, reader: SlideReader, pyramid_levels: list[RgbArray]
    ) -> None:
        expected = ArrayReader(pyramid_levels, mpp=Mpp(1.0, 1.0))
        plan = plan_read(reader.pyramid, Mpp(1.0, 1.0), 3.3, (0, 0))
        box = Box(-3, -3, 210, 160)
        np.testing.assert_array_equal(
            read_canvas(reader, plan, box), read_canvas(expected, plan, box)
        )

    def test_reading_a_closed_slide_is_a_mistake(self, reader: SlideReader) -> None:
        reader.close()
        reader.close()
        with pytest.raises(ValueError, match="is closed"):
            reader.read_level(0, Box(0, 0, 4, 4))
        with pytest.raises(ValueError, match="is closed"):
            reader.thumbnail(10)

    def test_a_with_block_closes_the_slide(self, reader: SlideReader) -> None:
        with reader as slide:
            assert slide.read_level(0, Box(0, 0, 1, 1)).shape == (1, 1, 3)
        with pytest.raises(ValueError, match="is closed"):
            reader.read_level(0, Box(0, 0, 4, 4))

    def test_facts_are_recorded(self, reader: SlideReader) -> None:
        info = reader.info
        assert info.mpp == Mpp(1.0, 1.0)
        assert info.n_bytes > 0
        assert info.background_rgb == (255, 255, 255)
        assert info.icc == "none"
        assert info.warnings == ()
