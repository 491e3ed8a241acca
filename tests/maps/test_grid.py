import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Box, Mpp
from wsi_pipeline.maps.grid import TileGrid


def cover(width: int, height: int, mpp: float = 0.25, stride: int = 50) -> TileGrid:
    bounds = Box(0, 0, width, height)
    return TileGrid.cover(bounds, Mpp(mpp, mpp), patch_px=50, stride_px=stride, spacing_um_px=8.0)


def test_step_is_the_patch_in_level_0_pixels() -> None:
    grid = cover(120_000, 90_000)
    assert grid.step_l0 == (1600.0, 1600.0)
    assert grid.shape == (57, 75)
    assert grid.cell_area_mm2 == pytest.approx(0.16)


def test_far_corner_is_exact_on_a_wide_slide() -> None:
    grid = TileGrid.cover(
        Box(0, 0, 120_000, 90_000),
        Mpp(0.2528, 0.2529),
        patch_px=50,
        stride_px=50,
        spacing_um_px=8.0,
    )
    x, y = grid.l0_from_grid(grid.rows - 1, grid.cols - 1)
    assert x == pytest.approx((grid.cols - 1) * 400 / 0.2528, abs=1e-6)
    assert y == pytest.approx((grid.rows - 1) * 400 / 0.2529, abs=1e-6)


def test_a_remainder_below_a_pixel_makes_no_further_column() -> None:
    assert cover(1600 * 10 + 16, 1600).cols == 10
    assert cover(1600 * 10 + 64, 1600).cols == 11


def test_a_slide_smaller_than_a_patch_has_one_cell() -> None:
    assert cover(10, 10).shape == (1, 1)
    assert cover(10, 10, stride=10).patch_shape == (1, 1)


@pytest.mark.parametrize("stride", [0, 20, 51, 100])
def test_stride_that_does_not_divide_the_patch_is_refused(stride: int) -> None:
    with pytest.raises(ConfigError, match="does not divide"):
        cover(16_000, 16_000, stride=stride)


@given(
    st.integers(1, 200_000),
    st.integers(1, 200_000),
    st.floats(0.1, 8.0),
    st.sampled_from([50, 25, 10]),
)
def test_cells_cover_the_slide_to_a_pixel(w: int, h: int, mpp: float, stride: int) -> None:
    grid = cover(w, h, mpp, stride)
    right, bottom = grid.l0_from_grid(grid.rows, grid.cols)
    pixel = grid.pixel_l0[0]
    assert right >= w - pixel * 1.001
    assert bottom >= h - pixel * 1.001
    assert (grid.cols - 1) * grid.step_l0[0] <= w
    row, col = grid.grid_from_l0(*grid.l0_from_grid(3, 7))
    assert math.isclose(row, 3, abs_tol=1e-9)
    assert math.isclose(col, 7, abs_tol=1e-9)


@given(st.integers(1, 6_000), st.integers(1, 6_000), st.integers(1, 50))
def test_blocks_partition_the_patches(width: int, height: int, side: int) -> None:
    grid = cover(width, height, 0.5, 25)
    seen = {
        (row, col)
        for block in grid.blocks(side)
        for row in range(block.row, block.row + block.n_rows)
        for col in range(block.col, block.col + block.n_cols)
    }
    sizes = sum(block.n_rows * block.n_cols for block in grid.blocks(side))
    n_rows, n_cols = grid.patch_shape
    assert sizes == len(seen) == n_rows * n_cols
