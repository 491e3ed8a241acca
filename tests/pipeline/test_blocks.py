import numpy as np
import pytest

from wsi_pipeline.geometry import Box, Mpp
from wsi_pipeline.maps.cells import cells_from_patches, flags_from_patches
from wsi_pipeline.maps.grid import Block, TileGrid
from wsi_pipeline.pipeline.blocks import _halves, cut_patches
from wsi_pipeline.pipeline.plan import kept_in


def grid_of(cells: int, stride: int) -> TileGrid:
    side = cells * stride
    return TileGrid.cover(
        Box(0, 0, side, side), Mpp(8.0, 8.0), patch_px=50, stride_px=stride, spacing_um_px=8.0
    )


def test_patches_are_cut_where_their_indices_say() -> None:
    canvas = np.arange(200 * 150 * 3, dtype=np.uint32).reshape(200, 150, 3).astype(np.uint8)
    rows, cols = np.array([0, 2, 5]), np.array([1, 0, 3])
    patches = cut_patches(canvas, rows, cols, 50, 25)
    for patch, row, col in zip(patches, rows, cols, strict=True):
        np.testing.assert_array_equal(
            patch, canvas[row * 25 : row * 25 + 50, col * 25 : col * 25 + 50]
        )
    assert patches.flags.c_contiguous


@pytest.mark.parametrize("block", [Block(0, 0, 1, 2), Block(3, 4, 5, 2), Block(2, 2, 7, 7)])
def test_halves_partition_a_block(block: Block) -> None:
    whole = np.zeros((12, 12), int)
    for half in _halves(block):
        whole[half.row : half.row + half.n_rows, half.col : half.col + half.n_cols] += 1
    inside = whole[block.row : block.row + block.n_rows, block.col : block.col + block.n_cols]
    assert (inside == 1).all()
    assert whole.sum() == block.n_rows * block.n_cols


def test_only_the_rectangle_around_the_kept_patches_is_read() -> None:
    keep = np.zeros((10, 10), bool)
    keep[4, 5] = keep[6, 7] = True
    inner, inside = kept_in(keep, Block(2, 3, 8, 7)) or (None, None)
    assert inner == Block(4, 5, 3, 3)
    assert inside is not None
    assert inside.sum() == 2
    assert kept_in(keep, Block(0, 0, 3, 3)) is None


def test_a_cell_is_the_mean_of_the_patches_that_cover_it() -> None:
    grid = grid_of(4, 25)
    patches = np.array([[0.1, 0.2, np.nan], [0.3, 0.4, 0.5], [np.nan] * 3], np.float32)
    cells = cells_from_patches(patches, grid)
    assert cells[0, 0] == pytest.approx(0.1)
    assert cells[1, 1] == pytest.approx((0.1 + 0.2 + 0.3 + 0.4) / 4)
    assert cells[1, 3] == pytest.approx(0.5)
    assert np.isnan(cells[3]).all()


@pytest.mark.parametrize(("stride", "side"), [(25, 7), (10, 12), (5, 14)])
def test_averaging_equals_a_loop_over_every_patch_and_cell(stride: int, side: int) -> None:
    grid = grid_of(side, stride)
    rng = np.random.default_rng(stride)
    patches = rng.random(grid.patch_shape).astype(np.float32)
    patches[rng.random(grid.patch_shape) < 0.4] = np.nan
    cells = cells_from_patches(patches, grid)
    k = 50 // stride
    for row, col in np.ndindex(grid.shape):
        covering = patches[max(0, row - k + 1) : row + 1, max(0, col - k + 1) : col + 1]
        known = covering[~np.isnan(covering)].astype(np.float64)
        if known.size:
            assert cells[row, col] == pytest.approx(known.mean(), rel=1e-6)
        else:
            assert np.isnan(cells[row, col])


def test_flags_of_overlapping_patches_are_joined() -> None:
    flags = np.zeros((3, 3), np.uint8)
    flags[0, 0], flags[1, 1] = 1, 4
    cells = flags_from_patches(flags, grid_of(4, 25))
    assert cells[0, 0] == 1
    assert cells[1, 1] == 5
    assert cells[2, 2] == 4
    assert cells[3, 3] == 0
