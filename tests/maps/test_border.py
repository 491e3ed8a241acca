"""Borders refined: which patches are added, what stands for the others, what cells then hold."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_pipeline.geometry import Box, Mpp
from wsi_pipeline.maps.border import border_cells, border_positions, lattice_steps, with_between
from wsi_pipeline.maps.cells import cells_from_patches
from wsi_pipeline.maps.coarse import coarse_positions
from wsi_pipeline.maps.grid import TileGrid

NAN = np.nan


def grid_of(rows: int, cols: int, step: int = 2) -> TileGrid:
    """Return a grid of so many whole patches of 400 µm, cells of a `step`-th of one."""
    return TileGrid.cover(
        Box(0, 0, cols * 50, rows * 50),
        Mpp(8, 8),
        patch_px=50,
        stride_px=50 // step,
        spacing_um_px=8.0,
        whole_patches=True,
    )


def first_of(grid: TileGrid) -> NDArray[np.bool_]:
    return coarse_positions(np.ones(grid.patch_shape, bool), grid.cells_per_patch)


@pytest.mark.parametrize("height_px", [51, 76, 100, 101, 126])
def test_the_fine_grid_holds_every_patch_of_the_plain_one(height_px: int) -> None:
    bounds = Box(0, 0, 130, height_px)
    plain = TileGrid.cover(bounds, Mpp(8, 8), patch_px=50, stride_px=50, spacing_um_px=8.0)
    fine = TileGrid.cover(
        bounds, Mpp(8, 8), patch_px=50, stride_px=25, spacing_um_px=8.0, whole_patches=True
    )
    assert fine.shape == (2 * plain.rows, 2 * plain.cols)
    assert first_of(fine)[::2, ::2].shape == plain.patch_shape
    assert first_of(fine).sum() == plain.rows * plain.cols


@pytest.mark.parametrize(
    ("step", "steps"), [(1, (1,)), (2, (2, 1)), (4, (4, 2, 1)), (10, (10, 5, 1)), (11, (11, 1))]
)
def test_each_pass_halves_the_step_where_it_can(step: int, steps: tuple[int, ...]) -> None:
    assert lattice_steps(step) == steps


@given(hnp.arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32)))
@settings(max_examples=60, deadline=None)
def test_where_every_patch_is_classified_the_cells_are_those_of_the_exhaustive_map(
    drawn: NDArray[np.float32],
) -> None:
    grid = grid_of(4, 5)
    probability = np.resize(drawn, grid.patch_shape).astype(np.float32)
    values, n_classified = border_cells(probability, probability, grid)
    np.testing.assert_array_equal(values, cells_from_patches(probability, grid))
    assert n_classified.max() == 4
    assert (n_classified[0, 0], n_classified[0, 1]) == (1, 2)


def test_a_patch_between_is_the_mean_of_the_classified_ones_beside_it() -> None:
    grid = grid_of(2, 2)
    probability = np.full(grid.patch_shape, NAN, np.float32)
    probability[::2, ::2] = [[0.1, 0.3], [0.5, NAN]]
    guesses = with_between(probability, first_of(grid), np.ones(grid.patch_shape, bool), 2)
    assert guesses[0, 1] == pytest.approx(0.2)
    assert guesses[1, 0] == pytest.approx(0.3)
    assert guesses[1, 1] == pytest.approx(0.3)  # of three
    assert guesses[2, 1] == pytest.approx(0.5)  # of one


def test_without_borders_the_cells_interpolate_the_patches() -> None:
    grid = grid_of(1, 3)
    probability = np.full(grid.patch_shape, NAN, np.float32)
    probability[0, ::2] = [0.0, 0.4, 0.8]
    wanted = ~first_of(grid)
    patches = with_between(probability, first_of(grid), wanted, 2)
    values, n_classified = border_cells(patches, probability, grid)
    np.testing.assert_allclose(values[0], [0, 0.1, 0.3, 0.5, 0.7, 0.8], atol=1e-6)
    assert (n_classified == 1).all()


def test_a_cell_that_no_classified_patch_covers_has_no_value() -> None:
    grid = grid_of(1, 2)
    probability = np.array([[0.2, NAN, NAN]], np.float32)
    wanted = np.array([[False, True, False]])
    patches = with_between(probability, first_of(grid), wanted, 2)
    values, n_classified = border_cells(patches, probability, grid)
    np.testing.assert_allclose(values[0], [0.2, 0.2, NAN, NAN])
    assert n_classified[0].tolist() == [1, 1, 0, 0]


def chosen(values: NDArray[np.float64], n_most: int, level: float = 0.5) -> list[list[int]]:
    cells = values.astype(np.float32)
    candidates = np.ones((cells.shape[0] - 1, cells.shape[1] - 1), bool)
    added = border_positions(cells, candidates, level=level, n_most=n_most)
    places: list[list[int]] = np.argwhere(added).tolist()
    return places


def test_patches_are_added_where_the_level_is_crossed_or_near() -> None:
    row = [0.01, 0.01, 0.01, 0.99, 0.99, 0.99, 0.6, 0.6, 0.99]
    places = chosen(np.array([row, row]), 100)
    assert places == [[0, 2], [0, 6]]


def test_nothing_is_added_where_the_map_is_settled() -> None:
    assert chosen(np.full((4, 4), 0.02), 100) == []
    assert chosen(np.full((4, 4), 0.97), 100) == []


def test_the_price_is_kept_and_crossings_come_first_then_what_is_nearest() -> None:
    row = [0.6, 0.6, 0.58, 0.51, 0.51, 0.4, 0.01]
    assert chosen(np.array([row, row]), 1) == [[0, 4]]
    assert chosen(np.array([row, row]), 2) == [[0, 3], [0, 4]]
    assert chosen(np.array([row, row]), 0) == []
    assert chosen(np.array([row, row]), -3) == []


def test_cells_without_a_value_take_no_part() -> None:
    values = np.array([[0.9, NAN, 0.1], [0.9, NAN, 0.1]])
    assert chosen(values, 100) == []
    assert chosen(np.full((3, 3), NAN), 100) == []
