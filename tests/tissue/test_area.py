from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsi_pipeline.tissue import area_fraction

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def fractions(mask: np.ndarray, x: list[float], y: list[float]) -> np.ndarray:
    """Return the fractions of the windows between neighboring edges."""
    return area_fraction(mask, x_start=x[:-1], x_stop=x[1:], y_start=y[:-1], y_stop=y[1:])


def test_an_edge_cuts_a_pixel_by_area() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 2] = True
    found = area_fraction(mask, x_start=[2.25], x_stop=[4.25], y_start=[0.5], y_stop=[1.5])
    assert found.dtype == np.float32
    assert found[0, 0] == pytest.approx(0.75 * 0.5 / (2.0 * 1.0))


def test_rows_follow_y_and_columns_follow_x() -> None:
    mask = np.zeros((2, 6), dtype=bool)
    mask[0, 4:] = True
    found = fractions(mask, [0, 2, 4, 6], [0, 1, 2])
    assert found.tolist() == [[0, 0, 1], [0, 0, 0]]


def test_what_lies_outside_the_mask_is_no_tissue() -> None:
    mask = np.ones((4, 4), dtype=bool)
    found = area_fraction(
        mask, x_start=[-2.0, 3.0, 9.0], x_stop=[2.0, 7.0, 10.0], y_start=[0.0], y_stop=[4.0]
    )
    assert found[0].tolist() == [0.5, 0.25, 0.0]


def test_windows_may_overlap() -> None:
    mask = np.eye(4, dtype=bool)
    found = area_fraction(mask, x_start=[0, 1], x_stop=[2, 3], y_start=[0, 1], y_stop=[2, 3])
    assert found.tolist() == [[0.5, 0.25], [0.25, 0.5]]


@pytest.mark.parametrize(("start", "stop"), [([1.0], [1.0]), ([2.0], [1.0]), ([0.0, 1.0], [2.0])])
def test_a_window_without_width_is_refused(start: list[float], stop: list[float]) -> None:
    mask = np.ones((2, 2), dtype=bool)
    with pytest.raises(ValueError, match="x_stop > x_start"):
        area_fraction(mask, x_start=start, x_stop=stop, y_start=[0.0], y_stop=[1.0])


@given(MASKS, st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=60)
def test_fractions_over_a_partition_average_to_the_mask(
    mask: np.ndarray, n_rows: int, n_cols: int
) -> None:
    height, width = mask.shape
    found = fractions(
        mask, list(np.linspace(0, width, n_cols + 1)), list(np.linspace(0, height, n_rows + 1))
    )
    assert found.shape == (n_rows, n_cols)
    assert found.mean() == pytest.approx(mask.mean(), abs=1e-6)


@given(MASKS, st.floats(-3, 8), st.floats(0.1, 9), st.floats(-3, 8), st.floats(0.1, 9))
@settings(max_examples=60)
def test_a_fraction_equals_the_sum_of_pixel_overlaps(
    mask: np.ndarray, x: float, width: float, y: float, height: float
) -> None:
    def overlap(start: float, length: float, n: int) -> np.ndarray:
        pixel = np.arange(n)
        cut = np.minimum(pixel + 1, start + length) - np.maximum(pixel, start)
        return np.asarray(np.maximum(cut, 0))

    expected = overlap(y, height, mask.shape[0]) @ mask @ overlap(x, width, mask.shape[1])
    found = area_fraction(mask, x_start=[x], x_stop=[x + width], y_start=[y], y_stop=[y + height])
    assert found[0, 0] == pytest.approx(expected / (width * height), abs=1e-5)
