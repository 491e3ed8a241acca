"""Regions: which cells belong, outlines on cell edges, figures that follow from the cells."""

from collections.abc import Callable

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import SlideTotals, find_regions, outline_cells, smooth

MapOf = Callable[..., ProbabilityMap]
NAN = np.nan
MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)).filter(np.any)


def test_a_single_hot_cell_survives_the_default_smoothing_at_its_exact_place(
    map_of: MapOf,
) -> None:
    values = np.full((5, 6), 0.05)
    values[3, 2] = 0.9
    (region,) = find_regions(map_of(values), threshold=0.5, low_threshold=0.4)
    # Cells of 800 x 1600 level-0 px from (100, 200).
    assert region.outline_l0.bounds == (1700, 5000, 2500, 6600)
    assert region.area_mm2 == pytest.approx(0.16)
    assert region.perimeter_mm == pytest.approx(1.6)
    assert region.n_patches == 1
    assert region.max_probability == pytest.approx(0.9)


def test_figures_are_of_the_map_before_smoothing(map_of: MapOf) -> None:
    values = [[0.1, 0.9, 0.7, 0.1]]
    (region,) = find_regions(map_of(values), threshold=0.5, low_threshold=0.4, smoothing_cells=0.5)
    assert region.mean_probability == pytest.approx(0.8)
    assert region.max_probability == pytest.approx(0.9)


def test_a_region_grows_to_the_low_threshold_from_a_seed_above_the_high_one(map_of: MapOf) -> None:
    values = [[0.45, 0.6, 0.45, 0.1, 0.45, 0.45]]
    regions = find_regions(map_of(values), threshold=0.5, low_threshold=0.4, smoothing_cells=0)
    assert regions.labels.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_probabilities_equal_to_the_threshold_belong(map_of: MapOf) -> None:
    regions = find_regions(map_of([[0.5]]), threshold=0.5, low_threshold=0.5, smoothing_cells=0)
    assert len(regions) == 1


def test_cells_that_touch_at_a_corner_are_one_region_of_valid_parts(map_of: MapOf) -> None:
    (region,) = find_regions(
        map_of([[0.9, 0.1], [0.1, 0.9]]), threshold=0.5, low_threshold=0.5, smoothing_cells=0
    )
    assert isinstance(region.outline_l0, shapely.MultiPolygon)
    assert region.outline_l0.is_valid
    assert region.n_patches == 2


def test_regions_are_numbered_from_the_largest(map_of: MapOf) -> None:
    values = [[0.9, 0, 0.9, 0.9, 0.9, 0, 0.9, 0.9]]
    regions = find_regions(map_of(values), threshold=0.5, low_threshold=0.5, smoothing_cells=0)
    assert [(r.number, r.n_patches) for r in regions] == [(1, 3), (2, 2), (3, 1)]
    assert regions.labels.tolist() == [[3, 0, 1, 1, 1, 0, 2, 2]]


@pytest.mark.parametrize(("min_area_mm2", "expected"), [(0, 3), (0.16, 3), (0.17, 2), (0.5, 0)])
def test_regions_below_the_minimum_area_are_dropped(
    map_of: MapOf, min_area_mm2: float, expected: int
) -> None:
    values = [[0.9, 0, 0.9, 0.9, 0, 0.9, 0.9, 0.9]]
    regions = find_regions(
        map_of(values),
        threshold=0.5,
        low_threshold=0.5,
        smoothing_cells=0,
        min_area_mm2=min_area_mm2,
    )
    assert len(regions) == expected
    assert len(np.unique(regions.labels)) == len(regions) + 1


@pytest.mark.parametrize("hole", [0.0, NAN], ids=["low", "not classified"])
def test_holes_are_kept(map_of: MapOf, hole: float) -> None:
    values = np.full((3, 3), 0.9)
    values[1, 1] = hole
    (region,) = find_regions(map_of(values), threshold=0.5, low_threshold=0.4)
    assert isinstance(region.outline_l0, shapely.Polygon)
    assert len(region.outline_l0.interiors) == 1
    assert region.n_patches == 8
    assert region.perimeter_mm == pytest.approx(16 * 0.4)


def test_straight_edges_carry_no_points_between_their_corners(map_of: MapOf) -> None:
    values = np.zeros((4, 6))
    values[1:3, 1:5] = 0.9
    (region,) = find_regions(map_of(values), threshold=0.5, low_threshold=0.4)
    assert len(shapely.get_coordinates(region.outline_l0)) == 5


def test_cells_that_were_not_classified_never_join_a_region(map_of: MapOf) -> None:
    regions = find_regions(map_of([[0.9, NAN, 0.9]]), threshold=0.5, low_threshold=0.4)
    assert regions.labels.tolist() == [[1, 0, 2]]


def test_smoothing_ignores_what_was_not_classified(map_of: MapOf) -> None:
    values = np.full((4, 4), NAN, np.float32)
    values[1, 1:3] = 0.7
    np.testing.assert_allclose(smooth(values, 1.0)[1, 1:3], 0.7, rtol=1e-6)


def test_a_map_with_nothing_classified_has_no_regions_and_no_figures(map_of: MapOf) -> None:
    map_ = map_of(np.full((3, 3), NAN))
    regions = find_regions(map_, threshold=0.5, low_threshold=0.4)
    totals = SlideTotals.of(map_, regions)
    assert (len(regions), totals.n_regions, totals.n_classified) == (0, 0, 0)
    assert np.isnan([totals.idc_mm2, totals.idc_share, totals.mean_probability]).all()
    assert totals.tissue_mm2 == pytest.approx(9 * 0.16)


@pytest.mark.parametrize(("threshold", "low"), [(0.5, 0.6), (1.2, 0.5), (0.5, -0.1), (NAN, 0.1)])
def test_thresholds_out_of_order_are_refused(map_of: MapOf, threshold: float, low: float) -> None:
    with pytest.raises(ValueError, match="low_threshold <= threshold"):
        find_regions(map_of([[0.5]]), threshold=threshold, low_threshold=low)


def test_totals_follow_from_the_cells(map_of: MapOf) -> None:
    map_ = map_of([[0.75, 0.25, NAN, 0.25]])
    map_.tissue[...] = [[1.0, 0.5, 0.25, 0.25]]
    totals = SlideTotals.of(map_, find_regions(map_, threshold=0.5, low_threshold=0.5))
    assert totals.idc_mm2 == pytest.approx(0.16)
    assert totals.tissue_mm2 == pytest.approx(2 * 0.16)
    assert totals.classified_mm2 == pytest.approx(3 * 0.16)
    assert totals.idc_share == pytest.approx(0.5)
    assert totals.mean_probability == pytest.approx(1.25 / 3)
    assert totals.max_probability == 0.75


def test_a_cell_with_little_tissue_has_a_share_of_one_and_not_more(map_of: MapOf) -> None:
    map_ = map_of([[0.9]])
    map_.tissue[...] = 0.3
    totals = SlideTotals.of(map_, find_regions(map_, threshold=0.5, low_threshold=0.5))
    assert totals.idc_share == 1
    assert totals.idc_mm2 == pytest.approx(0.3 * 0.16)


def test_areas_are_square_millimeters_where_pixels_are_not_square(map_of: MapOf) -> None:
    for mpp in (Mpp(0.25, 0.25), Mpp(0.5, 0.25), Mpp(8, 8)):
        (region,) = find_regions(map_of([[0.9]], mpp), threshold=0.5, low_threshold=0.5)
        outline_um = shapely.transform(region.outline_l0, lambda xy, m=mpp: xy * (m.x, m.y))
        assert outline_um.area / 1e6 == pytest.approx(region.area_mm2) == pytest.approx(0.16)


@given(MASKS, st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_an_outline_covers_its_cells_and_nothing_else(
    cells: NDArray[np.bool_], row: int, col: int
) -> None:
    outline = outline_cells(cells, row, col)
    assert outline.is_valid
    assert outline.area == cells.sum()
    centers = np.indices(cells.shape) + 0.5
    inside = shapely.contains_xy(outline, centers[1] + col, centers[0] + row)
    np.testing.assert_array_equal(inside, cells)


@given(MASKS)
@settings(max_examples=100, deadline=None)
def test_an_outline_turns_at_every_point(cells: NDArray[np.bool_]) -> None:
    for polygon in shapely.get_parts(outline_cells(cells)):
        for ring in (polygon.exterior, *polygon.interiors):
            steps = np.diff(shapely.get_coordinates(ring), axis=0)
            horizontal = steps[:, 1] == 0
            assert (horizontal[:-1] != horizontal[1:]).all()
            assert horizontal[0] != horizontal[-1]


@given(MASKS, st.sampled_from([0.0, 0.4, 1.0]))
@settings(max_examples=50, deadline=None)
def test_every_region_cell_is_classified_and_numbers_match_areas(
    known: NDArray[np.bool_], sigma: float
) -> None:
    rng = np.random.default_rng(int(known.sum()))
    values = np.where(known, rng.random(known.shape), NAN).astype(np.float32)
    map_ = ProbabilityMap(values, np.ones_like(values), (0, 0), (50.0, 50.0), Mpp(8, 8))
    regions = find_regions(map_, threshold=0.6, low_threshold=0.4, smoothing_cells=sigma)
    assert not np.isnan(values[regions.labels > 0]).any()
    areas = [region.area_mm2 for region in regions]
    assert areas == sorted(areas, reverse=True)
    for region in regions:
        assert region.n_patches == (regions.labels == region.number).sum()
