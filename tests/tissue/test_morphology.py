"""The rectangle filter against scipy's running one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
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


@given(mask=MASKS, ground=st.data(), steps=st.integers(0, 4))
def test_a_flood_goes_as_far_over_the_ground_as_dilation_under_a_mask(
    mask: BoolMask, ground: st.DataObject, steps: int
) -> None:
    open_ground = ground.draw(arrays(np.bool_, mask.shape))
    found = morphology.flood(mask, open_ground, 10.0 * steps, um_px=(10.0, 10.0))
    expected = mask.copy()
    for _ in range(steps):
        expected = ndimage.binary_dilation(expected, mask=open_ground | expected)
    np.testing.assert_array_equal(found, expected)


@given(
    mask=MASKS, radius_um=st.floats(5.0, 60.0), um_px=st.sampled_from([(10.0, 10.0), (9.0, 14.0)])
)
def test_opening_leaves_the_discs_that_the_mask_holds(
    mask: BoolMask, radius_um: float, um_px: tuple[float, float]
) -> None:
    found = morphology.open_round(mask, radius_um, um_px)
    np.testing.assert_array_equal(found, opened_by_the_book(mask, radius_um, um_px))


@given(mask=MASKS, area_px=st.integers(1, 12))
def test_small_parts_go_and_small_holes_are_filled(mask: BoolMask, area_px: int) -> None:
    labels, n_parts = ndimage.label(mask, np.ones((3, 3)))
    large = [n for n in range(1, n_parts + 1) if (labels == n).sum() >= area_px]
    left = morphology.drop_small(mask, area_px * 6.0, um_px=(2.0, 3.0))
    np.testing.assert_array_equal(left, np.isin(labels, large))
    holes, n_holes = ndimage.label(~mask)
    edge = np.concatenate((holes[0], holes[-1], holes[:, 0], holes[:, -1]))
    small = [n for n in range(1, n_holes + 1) if (holes == n).sum() < area_px and n not in edge]
    filled = morphology.fill_small_holes(mask, area_px * 6.0, um_px=(2.0, 3.0))
    np.testing.assert_array_equal(filled, mask | np.isin(holes, small))


@given(mask=MASKS)
def test_parts_on_the_edge_are_those_that_reach_it(mask: BoolMask) -> None:
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    edge = np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))
    expected = np.isin(labels, edge[edge > 0])
    np.testing.assert_array_equal(morphology.parts_on_edge(mask), expected)


def opened_by_the_book(
    mask: BoolMask, radius_um: float, um_px: tuple[float, float]
) -> NDArray[np.bool_]:
    """Every disc at every place, on a picture whose edge goes on."""
    n = math.ceil(radius_um / min(um_px)) + 1
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    disc = np.hypot(y * um_px[1], x * um_px[0]) < radius_um * (1 - 1e-9)
    wide = np.pad(mask, 2 * n, mode="edge")
    center = ndimage.binary_erosion(wide, disc, border_value=1)
    # Discs whose center lies further out than the radius do not touch the picture.
    opened = ndimage.binary_dilation(center, disc)
    return opened[2 * n : -2 * n, 2 * n : -2 * n] & mask
