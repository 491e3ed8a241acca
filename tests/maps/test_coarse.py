"""Coarse to fine on arrays, against loops over every position."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.maps.coarse import coarse_positions, estimates, positions_to_refine

ABOVE = 0.2
GRIDS = st.tuples(st.integers(1, 11), st.integers(1, 11))


def settled(keep: BoolMask, truth: FloatArray, step: int) -> tuple[BoolMask, FloatArray]:
    """Run passes until nothing is left to do; return what was visited, and its values."""
    visited = np.zeros_like(keep)
    part = coarse_positions(keep, step)
    while True:
        visited |= part
        probability = np.where(visited, truth, np.nan).astype(np.float32)
        part = positions_to_refine(keep, visited, probability, step, ABOVE)
        assert not (part & (visited | ~keep)).any()
        if not part.any():
            return visited, probability


def near(values: FloatArray, row: int, col: int, step: int) -> FloatArray:
    """Return the known values less than `step` away."""
    rows, cols = (
        slice(max(0, row - step + 1), row + step),
        slice(max(0, col - step + 1), col + step),
    )
    found = values[rows, cols]
    return found[~np.isnan(found)]


@st.composite
def slides(draw: st.DrawFn) -> tuple[BoolMask, FloatArray, int]:
    shape = draw(GRIDS)
    keep = draw(arrays(np.bool_, shape))
    truth = draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    lost = draw(arrays(np.bool_, shape, elements=st.sampled_from([False, False, False, True])))
    return keep, np.where(lost, np.float32(np.nan), truth), draw(st.integers(2, 4))


@settings(max_examples=80, deadline=None)
@given(slides())
def test_what_is_left_to_an_estimate_has_only_low_patches_around_it(
    slide: tuple[BoolMask, FloatArray, int],
) -> None:
    keep, truth, step = slide
    visited, probability = settled(keep, truth, step)
    guesses = estimates(keep & ~visited, probability, step)
    for row, col in np.argwhere(keep & ~visited):
        around = near(probability, row, col, step)
        assert len(around) > 0
        assert around.max() < ABOVE
        np.testing.assert_allclose(guesses[row, col], around.mean(), rtol=1e-5, atol=1e-7)
    assert np.isnan(guesses[visited | ~keep]).all()


@settings(max_examples=40, deadline=None)
@given(slides())
def test_every_position_of_the_coarse_grid_is_tried_and_step_one_is_everything(
    slide: tuple[BoolMask, FloatArray, int],
) -> None:
    keep, truth, step = slide
    visited, _ = settled(keep, truth, step)
    assert visited[::step, ::step].sum() == keep[::step, ::step].sum()
    np.testing.assert_array_equal(coarse_positions(keep, 1), keep)
    assert not positions_to_refine(keep, keep, truth, 1, ABOVE).any()


def test_a_focus_is_followed_as_far_as_it_reaches() -> None:
    keep = np.ones((21, 21), bool)
    truth = np.full((21, 21), 0.01, np.float32)
    truth[4, 4:18] = 0.9  # met by the coarse grid, then a line that leaves it
    truth[4:16, 17] = 0.9
    visited, probability = settled(keep, truth, 2)
    assert visited[truth > 0.5].all()
    assert visited.mean() < 0.5
    np.testing.assert_array_equal(probability[truth > 0.5], truth[truth > 0.5])


def test_a_piece_of_tissue_between_the_coarse_positions_is_classified() -> None:
    keep = np.zeros((8, 8), bool)
    keep[3, 5] = True
    visited, _ = settled(keep, np.full((8, 8), 0.5, np.float32), 4)
    np.testing.assert_array_equal(visited, keep)


def test_neighbors_of_what_cannot_be_read_are_classified_not_guessed() -> None:
    keep = np.ones((5, 5), bool)
    truth = np.full((5, 5), 0.01, np.float32)
    truth[::2, ::2] = np.nan
    visited, probability = settled(keep, truth, 2)
    assert visited.all()
    assert np.isnan(estimates(keep & ~visited, probability, 2)).all()
