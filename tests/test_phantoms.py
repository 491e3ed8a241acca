"""The phantoms are what they say: every other test leans on them."""

from __future__ import annotations

import time

import numpy as np
import openslide
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import PhantomFactory
from tests.phantoms import (
    GLASS,
    HOT,
    SIZE_OF_RATIO_16_0009,
    TISSUE,
    Phantom,
    corrupt_tile,
    level_box,
    truncate,
)
from wsi_pipeline.geometry import Box, Size


def read(slide: openslide.OpenSlide, level: int, box_level: Box) -> NDArray[np.uint8]:
    """Read a box of a level, RGBA, at whole pixels of the level."""
    ratio = slide.level_downsamples[level]
    if ratio == int(ratio):
        corner = (box_level.x * int(ratio), box_level.y * int(ratio))
        return np.asarray(slide.read_region(corner, level, (box_level.width, box_level.height)))
    # no level-0 pixel is a whole pixel of this level, but the first one
    whole = np.asarray(slide.read_region((0, 0), level, (box_level.right, box_level.bottom)))
    return whole[box_level.y :, box_level.x :]


def hot_box(slide: openslide.OpenSlide, level: int, around: Box) -> Box:
    """Find the hot pixels in a box of a level."""
    pixels = read(slide, level, around)[..., :3]
    rows, cols = np.nonzero((pixels == HOT).all(axis=-1))
    left, top = around.x + int(cols.min()), around.y + int(rows.min())
    return Box(left, top, int(np.ptp(cols)) + 1, int(np.ptp(rows)) + 1)


def grown(box: Box, margin: int) -> Box:
    return Box(
        max(box.x - margin, 0),
        max(box.y - margin, 0),
        box.width + 2 * margin,
        box.height + 2 * margin,
    )


def assert_hot_where_stated(phantom: Phantom) -> None:
    with openslide.OpenSlide(phantom.path) as slide:
        for level, ratio in enumerate(phantom.level_ratios):
            expected = level_box(phantom.hot_box_l0, ratio)
            assert hot_box(slide, level, grown(expected, 8)) == expected


@pytest.mark.parametrize("ratios", [(1,), (1, 2, 4), (1, 4, 16)], ids=str)
def test_hot_square_is_where_stated_at_every_level(
    phantom_factory: PhantomFactory, ratios: tuple[int, ...]
) -> None:
    phantom = phantom_factory(level_ratios=ratios)
    with openslide.OpenSlide(phantom.path) as slide:
        assert slide.level_downsamples == pytest.approx(ratios)
    assert_hot_where_stated(phantom)


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0, 8.0])
def test_openslide_states_the_resolution(phantom_factory: PhantomFactory, mpp: float) -> None:
    with openslide.OpenSlide(phantom_factory(mpp=mpp).path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(mpp)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(mpp)


def test_without_tags_no_resolution_is_stated(phantom_factory: PhantomFactory) -> None:
    with openslide.OpenSlide(phantom_factory(mpp=None).path) as slide:
        assert "openslide.mpp-x" not in slide.properties


def test_72_dpi_reads_as_an_absurd_resolution(phantom_factory: PhantomFactory) -> None:
    with openslide.OpenSlide(phantom_factory(mpp=25400 / 72).path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(352.8, abs=0.1)


def test_rounded_level_sizes_report_a_ratio_of_16_0009(phantom_factory: PhantomFactory) -> None:
    phantom = phantom_factory(
        size_l0=SIZE_OF_RATIO_16_0009, hot_box_l0=Box(16000, 1600, 1600, 1600)
    )
    with openslide.OpenSlide(phantom.path) as slide:
        assert slide.level_downsamples[2] == pytest.approx(16.0009, abs=5e-5)
        assert slide.get_best_level_for_downsample(16) == 1  # the trap
    assert_hot_where_stated(phantom)


def test_a_slide_120000_px_wide_is_small_and_quick(phantom_factory: PhantomFactory) -> None:
    start = time.process_time()  # not the clock: the machine may be busy
    phantom = phantom_factory(
        size_l0=Size(120_000, 90_000), hot_box_l0=Box(112_000, 80_000, 3200, 3200), mpp=0.25
    )
    assert time.process_time() - start < 5
    assert phantom.path.stat().st_size < 5e6
    with openslide.OpenSlide(phantom.path) as slide:
        assert hot_box(slide, 2, Box(6900, 4900, 600, 600)) == Box(7000, 5000, 200, 200)
        assert tuple(read(slide, 0, Box(119_999, 89_999, 1, 1))[0, 0]) == (*TISSUE, 255)


def test_tissue_box_lies_on_glass(phantom_factory: PhantomFactory) -> None:
    phantom = phantom_factory(tissue_box_l0=Box(1000, 500, 2000, 2000))
    with openslide.OpenSlide(phantom.path) as slide:
        across = read(slide, 0, Box(998, 600, 4, 1))[0, :, :3]
        assert [tuple(pixel) for pixel in across] == [GLASS, GLASS, TISSUE, TISSUE]


def test_scanned_bounds_are_stated_and_outside_them_is_transparent(
    phantom_factory: PhantomFactory,
) -> None:
    bounds = Box(8000, 4000, 4096, 3072)
    phantom = phantom_factory(
        "phantom.scn",
        size_l0=Size(20_000, 12_000),
        bounds_l0=bounds,
        hot_box_l0=Box(9600, 4800, 800, 800),
        mpp=0.5,
    )
    with openslide.OpenSlide(phantom.path) as slide:
        stated = [
            int(slide.properties[f"openslide.bounds-{k}"]) for k in ("x", "y", "width", "height")
        ]
        assert Box(*stated) == bounds == phantom.bounds_l0
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert slide.dimensions == (20_000, 12_000)
        assert slide.level_count == 3
        assert read(slide, 0, Box(bounds.x - 2, bounds.y, 4, 1))[0, :, 3].tolist() == [
            0,
            0,
            255,
            255,
        ]
    assert_hot_where_stated(phantom)


def test_missing_tiles_are_transparent(phantom_factory: PhantomFactory) -> None:
    phantom = phantom_factory(missing_box_l0=Box(0, 0, 512, 512))
    with openslide.OpenSlide(phantom.path) as slide:
        alpha = read(slide, 0, Box(510, 0, 4, 1))[0, :, 3]
    assert alpha.tolist() == [0, 0, 255, 255]


def test_corrupt_tile_fails_alone(phantom_factory: PhantomFactory) -> None:
    phantom = phantom_factory()
    corrupt_tile(phantom.path, 17)  # second row of tiles, x from 256
    with openslide.OpenSlide(phantom.path) as slide:
        read(slide, 0, Box(0, 0, 4096, 256))
        with pytest.raises(openslide.OpenSlideError):
            read(slide, 0, Box(256, 256, 16, 16))
    with openslide.OpenSlide(phantom.path) as slide:
        read(slide, 0, Box(0, 512, 4096, 512))
        read(slide, 1, Box(0, 0, 1024, 768))


def test_truncated_file_does_not_read(phantom_factory: PhantomFactory) -> None:
    phantom = phantom_factory()
    truncate(phantom.path, 0.6)

    def read_all() -> None:
        with openslide.OpenSlide(phantom.path) as slide:
            for level, size in enumerate(slide.level_dimensions):
                slide.read_region((0, 0), level, size)

    with pytest.raises(openslide.OpenSlideError):
        read_all()


def test_equal_arguments_make_equal_files(phantom_factory: PhantomFactory) -> None:
    first, second = phantom_factory("first.tif"), phantom_factory("second.tif")
    assert first.path.read_bytes() == second.path.read_bytes()


@given(
    x=st.integers(0, 200_000), width=st.integers(1, 10_000), ratio=st.sampled_from([1, 2, 4, 16])
)
def test_level_box_holds_the_pixels_whose_centers_are_inside(
    x: int, width: int, ratio: int
) -> None:
    box = level_box(Box(x, 0, width, 1), ratio)
    inside = [
        p for p in range(max(box.x - 2, 0), box.right + 2) if x <= (p + 0.5) * ratio < x + width
    ]
    assert inside == list(range(box.x, box.right))
