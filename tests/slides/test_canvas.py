from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_pipeline.errors import SlideError
from wsi_pipeline.geometry import Box, FloatArray, Mpp, RgbArray, Size
from wsi_pipeline.slides import (
    ArrayReader,
    Pyramid,
    ReadPlan,
    SlideReader,
    open_slide,
    plan_read,
    read_canvas,
)

RATIOS = st.one_of(
    st.sampled_from([1.0, 2.0, 3.0, 4.0, 16.0009, 2.0004, 0.9997, 1.0, 0.97, 1.5, 15.9995]),
    st.floats(0.95, 20.0),
)
CUTS = st.lists(st.integers(1, 39), max_size=4, unique=True).map(sorted)


def noise(width: int, height: int, seed: int = 0) -> RgbArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(width: int, height: int) -> Pyramid:
    return _pyramid((width, height))


def _pyramid(*sizes: tuple[int, int], downsamples: tuple[float, ...] = (1.0,)) -> Pyramid:
    levels = tuple(Size(*size) for size in sizes)
    return Pyramid(
        levels, tuple((d, d) for d in downsamples), Box(0, 0, *sizes[0]), has_bounds=False
    )


def area_mean(source: RgbArray, origin: float, ratio: float, index: tuple[int, int]) -> FloatArray:
    """Mean over one canvas px by brute force: every source px weighted by its overlap."""
    total, weight = np.zeros(3), 0.0
    (row, col) = index
    top, left = origin + row * ratio, origin + col * ratio
    for y, x in itertools.product(range(source.shape[0]), range(source.shape[1])):
        h = max(0.0, min(y + 1, top + ratio) - max(y, top))
        w = max(0.0, min(x + 1, left + ratio) - max(x, left))
        total += h * w * source[y, x]
        weight += h * w
    return (total / weight).astype(np.float32)


# --- the plan ---


@pytest.mark.parametrize(
    ("downsamples", "spacing", "level"),
    [
        ((1.0, 4.0, 16.0), 4.0, 2),
        ((1.0, 4.0, 16.0), 4.1, 2),
        ((1.0, 4.0, 16.0), 3.9, 1),
        ((1.0, 4.0, 16.0009), 4.0, 2),
        ((1.0, 4.0, 16.3), 4.0, 2),
        ((1.0, 4.0, 16.4), 4.0, 1),
        ((1.0, 4.0, 16.0), 0.25, 0),
        ((1.0, 4.0, 16.0), 100.0, 2),
    ],
)
def test_the_coarsest_level_not_coarser_than_the_target_is_read(
    downsamples: tuple[float, ...], spacing: float, level: int
) -> None:
    pyramid = _pyramid((4096, 4096), (1024, 1024), (256, 256), downsamples=downsamples)
    plan = plan_read(pyramid, Mpp(0.25, 0.25), spacing, (0, 0))
    assert plan.level == level
    assert plan.ratio == pytest.approx((spacing / 0.25 / downsamples[level],) * 2)


def test_the_finer_axis_decides_nothing_where_the_other_is_too_coarse() -> None:
    pyramid = _pyramid((4096, 4096), (2048, 2048), downsamples=(1.0, 2.0))
    plan = plan_read(pyramid, Mpp(0.5, 0.4), 0.8, (100, 60))
    assert plan.level == 0
    assert plan.ratio == pytest.approx((1.6, 2.0))
    assert plan.origin_level == (100.0, 60.0)


def test_a_slide_slightly_coarser_than_the_model_is_accepted() -> None:
    assert plan_read(flat(100, 100), Mpp(8.3, 8.3), 8.0, (0, 0)).ratio[0] < 1


def test_a_slide_coarser_than_the_model_is_refused() -> None:
    with pytest.raises(SlideError, match=r"8\.5 µm/px, the model needs 8"):
        plan_read(flat(100, 100), Mpp(8.5, 8.5), 8.0, (0, 0))


# --- the pixels ---


@settings(max_examples=60, deadline=None)
@given(ratio=RATIOS, origin=st.floats(0, 9), x_cuts=CUTS, y_cuts=CUTS, corner=st.integers(-3, 30))
def test_any_partition_equals_the_read_in_one_piece(
    ratio: float, origin: float, x_cuts: list[int], y_cuts: list[int], corner: int
) -> None:
    reader = ArrayReader([noise(300, 260)])
    plan = ReadPlan(0, (ratio, ratio * 1.01), (origin, origin / 2))
    whole = read_canvas(reader, plan, Box(corner, corner, 40, 40))
    xs, ys = [0, *x_cuts, 40], [0, *y_cuts, 40]
    for (x, right), (y, bottom) in itertools.product(
        itertools.pairwise(xs), itertools.pairwise(ys)
    ):
        part = read_canvas(reader, plan, Box(corner + x, corner + y, right - x, bottom - y))
        np.testing.assert_array_equal(part, whole[y:bottom, x:right])


@settings(max_examples=40, deadline=None)
@given(ratio=RATIOS, value=st.integers(0, 255))
def test_a_constant_slide_stays_constant(ratio: float, value: int) -> None:
    color = (value, 255 - value, 7)
    level = np.empty((200, 220, 3), np.uint8)
    level[:] = color
    reader = ArrayReader([level], background_rgb=color)
    pixels = read_canvas(reader, ReadPlan(0, (ratio, ratio), (3.3, 0.0)), Box(-5, -5, 30, 30))
    assert (pixels == np.array(color)).all()


@pytest.mark.parametrize("ratio", [1.37, 2.5, 6.05])
def test_a_pixel_is_the_mean_of_the_area_it_covers(ratio: float) -> None:
    source = noise(60, 50)
    plan = ReadPlan(0, (ratio, ratio), (2.3, 2.3))
    pixels = read_canvas(ArrayReader([source]), plan, Box(0, 0, 7, 7))
    for index in [(0, 0), (3, 5), (6, 6)]:
        expected = area_mean(source, 2.3, ratio, index)
        np.testing.assert_allclose(pixels[index], expected, atol=0.501)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 16])
def test_whole_ratios_average_whole_blocks(factor: int) -> None:
    source = noise(factor * 9, factor * 8)
    plan = ReadPlan(0, (float(factor), float(factor)), (0.0, 0.0))
    pixels = read_canvas(ArrayReader([source]), plan, Box(0, 0, 9, 8))
    expected = source.reshape(8, factor, 9, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(pixels, expected, atol=0.5)


@pytest.mark.parametrize("factor", [16, 17, 40])
def test_white_blocks_of_any_size_stay_white(factor: int) -> None:
    source = np.full((factor, factor, 3), 255, np.uint8)
    plan = ReadPlan(0, (float(factor), float(factor)), (0.0, 0.0))
    assert (read_canvas(ArrayReader([source]), plan, Box(0, 0, 1, 1)) == 255).all()


@pytest.mark.parametrize("ratio", [1.0, 4.0, 2.5, 7.3])
def test_the_mean_of_a_slide_is_preserved(ratio: float) -> None:
    source = noise(730, 730)
    n = int(730 / ratio)
    pixels = read_canvas(
        ArrayReader([source]), ReadPlan(0, (ratio, ratio), (0.0, 0.0)), Box(0, 0, n, n)
    )
    covered = source[: round(n * ratio), : round(n * ratio)]
    np.testing.assert_allclose(pixels.mean(), covered.mean(), atol=0.1)


@pytest.mark.parametrize("ratio", [1.0, 1.0004, 4.0, 4.0007, 2.3])
def test_an_edge_lands_in_its_pixel(ratio: float) -> None:
    edge_px = 57
    source = np.zeros((4, 400, 3), np.uint8)
    source[:, round(edge_px * ratio) :] = 255
    plan = ReadPlan(0, (ratio, 1.0), (0.0, 0.0))
    row = read_canvas(ArrayReader([source]), plan, Box(0, 1, 80, 1))[0, :, 0]
    assert (row[: edge_px - 1] == 0).all()
    assert (row[edge_px + 1 :] == 255).all()
    assert np.argmax(row > 127) in {edge_px, edge_px - 1}


class _Ruler:
    """A slide 120,000 px wide whose pixels state their own x in the three bytes of a color."""

    def __init__(self, width: int) -> None:
        self.pyramid = flat(width, 64)
        self.info = ArrayReader([np.zeros((1, 1, 3), np.uint8)]).info

    def read_level(self, level: int, box: Box) -> RgbArray:
        x = np.arange(box.x, box.right, dtype=np.uint32)
        color = np.stack([x >> 16, (x >> 8) & 255, x & 255], axis=-1).astype(np.uint8)
        return np.broadcast_to(color, (box.height, box.width, 3)).copy()


@pytest.mark.parametrize("ratio", [1.0, 1.0009, 0.9991, 1.00001])
def test_no_error_grows_across_a_wide_slide(ratio: float) -> None:
    reader = _Ruler(120_000)
    index = int(119_990 / ratio)
    plan = ReadPlan(0, (ratio, 1.0), (0.25, 0.0))
    pixel = read_canvas(reader, plan, Box(index, 0, 1, 1))[0, 0].astype(int)  # type: ignore[arg-type]
    x = pixel[0] * 65536 + pixel[1] * 256 + pixel[2]
    assert abs(x - (0.25 + index * ratio)) <= 0.5


def test_a_fractional_ratio_reads_the_far_corner_where_it_is() -> None:
    width, ratio = 120_000, 2.0123
    source = np.zeros((3, width, 3), np.uint8)
    source[:, 119_000:] = 255
    row = read_canvas(
        ArrayReader([source]), ReadPlan(0, (ratio, 1.0), (0.0, 0.0)), Box(59_000, 0, 400, 1)
    )[0, :, 0]
    assert abs(59_000 + int(np.argmax(row > 127)) - 119_000 / ratio) <= 0.5 + 1e-6


def test_beyond_the_slide_is_its_background() -> None:
    reader = ArrayReader([np.zeros((40, 40, 3), np.uint8)], background_rgb=(240, 241, 242))
    pixels = read_canvas(reader, ReadPlan(0, (2.5, 2.5), (0.0, 0.0)), Box(-4, -4, 40, 40))
    assert (pixels[4:20, 4:20] == 0).all()
    outside = np.ones((40, 40), bool)
    outside[4:20, 4:20] = False
    assert (pixels[outside] == np.array([240, 241, 242])).all()


def test_an_empty_box_has_no_pixels() -> None:
    reader = ArrayReader([noise(10, 10)])
    plan = ReadPlan(0, (1.0, 1.0), (0.0, 0.0))
    assert read_canvas(reader, plan, Box(2, 2, 0, 3)).shape == (3, 0, 3)


class _Counting:
    """Counts the reads of the reader it wraps."""

    def __init__(self, inner: ArrayReader) -> None:
        self.inner, self.pyramid, self.info = inner, inner.pyramid, inner.info
        self.boxes: list[Box] = []

    def read_level(self, level: int, box: Box) -> RgbArray:
        self.boxes.append(box)
        return self.inner.read_level(level, box)


@pytest.mark.parametrize("ratio", [1.0, 4.0, 4.0008, 2.3])
def test_a_box_of_the_canvas_is_one_read_no_larger_than_it_must_be(ratio: float) -> None:
    reader = _Counting(ArrayReader([noise(400, 400)]))
    plan = ReadPlan(0, (ratio, ratio), (0.0, 0.0))
    read_canvas(reader, plan, Box(10, 10, 50, 50))  # type: ignore[arg-type]
    assert len(reader.boxes) == 1
    assert reader.boxes[0].width <= 50 * ratio + 2


def test_nothing_far_beyond_the_slide_is_read() -> None:
    reader = _Counting(ArrayReader([noise(40, 40)]))
    plan = ReadPlan(0, (2.5, 2.5), (0.0, 0.0))
    pixels = read_canvas(reader, plan, Box(0, 0, 2000, 1500))  # type: ignore[arg-type]
    assert pixels.shape == (1500, 2000, 3)
    assert reader.boxes[0].width <= 40 + 3 * 2.5


# --- through OpenSlide, whose downsample is no whole number ---


@pytest.fixture
def odd_slide(odd_levels: list[RgbArray], write_slide: Callable[..., Path]) -> SlideReader:
    return open_slide(write_slide(odd_levels))


def test_rounded_level_sizes_do_not_drift(
    odd_slide: SlideReader, odd_levels: list[RgbArray]
) -> None:
    assert odd_slide.pyramid.level_downsamples[1] == (2.0, 2.0)
    size = odd_slide.pyramid.level_sizes[1]
    far = Box(size.width - 41, size.height - 41, 40, 40)
    pixels = odd_slide.read_level(1, far).astype(int)
    expected = odd_levels[1][far.y : far.bottom, far.x : far.right].astype(int)
    # OpenSlide interpolates by a tenth of a pixel here; a pixel off shows as 85, half a one as 40
    assert np.abs(pixels - expected).mean() < 15


@pytest.mark.parametrize("spacing", [2.0, 2.45, 4.0])
def test_any_partition_of_such_a_slide_is_equal_bit_for_bit(
    odd_slide: SlideReader, spacing: float
) -> None:
    plan = plan_read(odd_slide.pyramid, Mpp(1.0, 1.0), spacing, (0, 0))
    assert plan.level == 1
    n = int(2400 / spacing)
    whole = read_canvas(odd_slide, plan, Box(0, 0, n, n))
    for x, y in [(0, 0), (101, 53), (n - 90, n - 77), (255, 256)]:
        box = Box(x, y, min(77, n - x), min(77, n - y))
        np.testing.assert_array_equal(
            read_canvas(odd_slide, plan, box), whole[y : box.bottom, x : box.right]
        )
