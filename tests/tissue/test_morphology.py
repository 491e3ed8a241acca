"""The rectangle filter against scipy's running one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask
from wsi_pipeline.tissue import morphology

SIDES = st.integers(0, 8).map(lambda radius: 2 * radius + 1)
MASKS = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(mask=MASKS, size=st.tuples(SIDES, SIDES))
def test_joining_shifted_copies_equals_a_running_filter(
    mask: BoolMask, size: tuple[int, int]
) -> None:
    numbers = mask.astype(np.uint8)
    grown = morphology.box_filter(mask, size, np.logical_or)
    shrunk = morphology.box_filter(mask, size, np.logical_and)
    np.testing.assert_array_equal(grown, ndimage.maximum_filter(numbers, size, mode="nearest") > 0)
    np.testing.assert_array_equal(shrunk, ndimage.minimum_filter(numbers, size, mode="nearest") > 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (9, 5), (41, 41)])
def test_the_smallest_value_around_is_that_of_a_running_filter(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).normal(size=(37, 29)).astype(np.float32)
    expected = ndimage.minimum_filter(picture, size, mode="nearest")
    np.testing.assert_array_equal(morphology.box_filter(picture, size, np.minimum), expected)


def test_a_radius_grows_a_point_to_a_rectangle_of_micrometers() -> None:
    mask = np.zeros((21, 31), bool)
    mask[10, 15] = True
    grown = morphology.grow(mask, 30.0, um_px=(10.0, 5.0))
    rows, cols = np.nonzero(grown)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (4, 16, 12, 18)
    assert grown.sum() == 13 * 7
