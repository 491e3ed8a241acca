"""Scores against figures worked out by hand and against masks counted pixel by pixel."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from numpy.typing import NDArray

from wsi_pipeline.compare import Outline, Outlines, compare_outlines
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps.regions import outline_cells

MPP = Mpp(1.0, 2.0)
"""A square of 1000 x 1000 px is 2 mm²."""
MASKS = hnp.arrays(np.bool_, (6, 6))


def _squares(*corners: tuple[float, float], side: float = 1000) -> Outlines:
    boxes = [shapely.box(x, y, x + side, y + side) for x, y in corners]
    return Outlines("test", tuple(Outline(str(n), box) for n, box in enumerate(boxes)))


def _of(mask: NDArray[np.bool_], judged: NDArray[np.bool_] | None = None) -> Outlines:
    items = (Outline("all", outline_cells(mask)),) if mask.any() else ()
    return Outlines("mask", items, None if judged is None else outline_cells(judged))


def test_scores_of_two_squares_that_share_half() -> None:
    found = compare_outlines(_squares((500, 0)), _squares((0, 0)), MPP)
    assert (found.result_mm2, found.reference_mm2) == (2.0, 2.0)
    assert found.dice == pytest.approx(0.5)
    assert found.iou == pytest.approx(1 / 3)
    assert found.sensitivity == pytest.approx(0.5)
    assert found.precision == pytest.approx(0.5)
    assert found.area_difference_mm2 == pytest.approx(0)
    assert found.hausdorff_um == pytest.approx(500)
    assert np.isnan(found.kappa)


def test_distances_are_micrometers_along_either_axis() -> None:
    down = compare_outlines(_squares((0, 300)), _squares((0, 0)), MPP)
    across = compare_outlines(_squares((300, 0)), _squares((0, 0)), MPP)
    assert down.hausdorff_um == pytest.approx(600)
    assert across.hausdorff_um == pytest.approx(300)


def test_equal_outlines_agree_wholly() -> None:
    found = compare_outlines(_squares((0, 0), (3000, 0)), _squares((0, 0), (3000, 0)), MPP)
    assert (found.dice, found.iou, found.hausdorff_um) == (1.0, 1.0, 0.0)
    assert not found.gained
    assert not found.lost


def test_overlapping_outlines_of_one_reader_count_once() -> None:
    found = compare_outlines(_squares((0, 0), (0, 0)), _squares((0, 0)), MPP)
    assert found.dice == 1
    assert found.result_mm2 == 2


def test_missed_and_false_regions_are_named() -> None:
    found = compare_outlines(_squares((0, 0), (9000, 0)), _squares((100, 0), (0, 9000)), MPP)
    assert [m.name for m in found.gained] == ["1"]
    assert [m.name for m in found.lost] == ["1"]
    assert found.reference_regions[0].covered_share == pytest.approx(0.9)
    assert found.reference_regions[0].is_hit


def test_a_touch_is_no_hit() -> None:
    found = compare_outlines(_squares((950, 0)), _squares((0, 0)), MPP)
    assert found.reference_regions[0].covered_share == pytest.approx(0.05)
    assert len(found.lost) == 1


def test_two_empty_readings_have_no_dice_rather_than_a_perfect_or_a_bad_one() -> None:
    found = compare_outlines(_squares(), _squares(), MPP)
    assert np.isnan([found.dice, found.iou, found.sensitivity, found.hausdorff_um]).all()
    assert found.area_difference_mm2 == 0


def test_a_reading_against_none_is_all_false() -> None:
    found = compare_outlines(_squares((0, 0)), _squares(), MPP)
    assert (found.dice, found.precision) == (0.0, 0.0)
    assert np.isnan(found.sensitivity)
    assert len(found.gained) == 1


def test_what_the_reference_did_not_judge_does_not_count() -> None:
    reference = Outlines("truth", _squares((0, 0)).items, shapely.box(0, 0, 1000, 1000))
    found = compare_outlines(_squares((0, 0), (5000, 5000)), reference, MPP)
    assert found.precision == 1
    assert not found.gained


def test_tumor_that_the_run_did_not_classify_is_missed() -> None:
    result = Outlines("run", _squares((0, 0)).items, shapely.box(0, 0, 1000, 1000))
    found = compare_outlines(result, _squares((0, 0), (5000, 0)), MPP)
    assert found.sensitivity == pytest.approx(0.5)


@given(MASKS, MASKS)
@settings(max_examples=80, deadline=None)
def test_area_scores_equal_counting_cells(
    found: NDArray[np.bool_], true: NDArray[np.bool_]
) -> None:
    judged = np.ones_like(true)
    scores = compare_outlines(_of(found, judged), _of(true), Mpp(1000, 1000))
    both = (found & true).sum()
    np.testing.assert_allclose(scores.result_mm2, found.sum())
    np.testing.assert_allclose(scores.reference_mm2, true.sum())
    if (found | true).any():
        np.testing.assert_allclose(scores.dice, 2 * both / (found.sum() + true.sum()))
        np.testing.assert_allclose(scores.iou, both / (found | true).sum())
    p, q = found.mean(), true.mean()
    by_chance = p * q + (1 - p) * (1 - q)
    if by_chance < 1:
        observed = (found == true).mean()
        expected = (observed - by_chance) / (1 - by_chance)
        np.testing.assert_allclose(scores.kappa, expected, atol=1e-9)


@given(MASKS, MASKS)
@settings(max_examples=40, deadline=None)
def test_swapping_the_readers_swaps_what_depends_on_it(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> None:
    ahead = compare_outlines(_of(first), _of(second), Mpp(100, 100))
    back = compare_outlines(_of(second), _of(first), Mpp(100, 100))
    np.testing.assert_allclose(
        (ahead.dice, ahead.sensitivity, ahead.hausdorff_um),
        (back.dice, back.precision, back.hausdorff_um),
    )
