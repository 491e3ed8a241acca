"""Contours: outlines that follow the tissue, areas that count it, bounds that are stated."""

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap, TissueRaster
from wsi_pipeline.maps.contours import interpolated
from wsi_pipeline.maps.regions import Regions, SlideTotals, find_regions

NAN = np.nan
PX_PER_CELL = 10
PX_MM2 = 0.04**2
"""Of the tissue raster: cells of 400 µm, px of 40."""


def map_with(
    values: Any, tissue_px: NDArray[np.bool_] | None = None, origin_l0: tuple[int, int] = (100, 200)
) -> ProbabilityMap:
    """Return a map with cells of 50 level-0 px and a tissue mask of 5; all tissue if none."""
    cells = np.asarray(values, np.float32)
    shape = (cells.shape[0] * PX_PER_CELL, cells.shape[1] * PX_PER_CELL)
    inside = np.ones(shape, bool) if tissue_px is None else tissue_px
    fraction = inside.reshape(cells.shape[0], PX_PER_CELL, cells.shape[1], PX_PER_CELL)
    return ProbabilityMap(
        cells,
        fraction.mean((1, 3)).astype(np.float32),
        origin_l0,
        (50.0, 50.0),
        Mpp(8, 8),
        mask=TissueRaster(inside, origin_l0, (5.0, 5.0)),
    )


def found(map_: ProbabilityMap, **changes: Any) -> Regions:
    chosen: dict[str, Any] = {"threshold": 0.5, "low_threshold": 0.5, "smoothing_cells": 0}
    return find_regions(map_, **(chosen | changes))


def px_centers_l0(map_: ProbabilityMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    assert map_.mask is not None
    row, col = np.indices(map_.mask.inside.shape) + 0.5
    (x, y), (dx, dy) = map_.mask.origin_l0, map_.mask.step_l0
    return x + col * dx, y + row * dy


def cell_centers_l0(map_: ProbabilityMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    row, col = np.indices(map_.values.shape) + 0.5
    return (
        map_.origin_l0[0] + col * map_.step_l0[0],
        map_.origin_l0[1] + row * map_.step_l0[1],
    )


def counted_mm2(map_: ProbabilityMap, outline: shapely.Geometry) -> float:
    """Count the tissue inside an outline px by px."""
    assert map_.mask is not None
    inside = shapely.contains_xy(outline, *px_centers_l0(map_)) & map_.mask.inside
    return float(inside.sum() * PX_MM2)


def disc(shape: tuple[int, int], center: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    row, col = np.indices(shape) + 0.5
    away: NDArray[np.bool_] = np.hypot(row - center[0], col - center[1]) <= radius
    return away


@st.composite
def maps(draw: st.DrawFn) -> ProbabilityMap:
    """Draw a map of blocks of tissue with gaps; some cells are not classified."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6))
    values = draw(
        hnp.arrays(np.float32, shape, elements=st.sampled_from([0.02, 0.3, 0.45, 0.55, 0.98, NAN]))
    )
    halves = draw(hnp.arrays(np.bool_, (shape[0] * 2, shape[1] * 2), fill=st.just(value=True)))
    tissue = halves.repeat(PX_PER_CELL // 2, axis=0).repeat(PX_PER_CELL // 2, axis=1)
    return map_with(values, tissue)


@given(maps(), st.sampled_from(["contour", "cells"]), st.sampled_from([0.0, 0.4, 0.8]))
@settings(max_examples=150, deadline=None)
def test_the_share_of_idc_cannot_pass_one_and_the_area_is_what_is_counted(
    map_: ProbabilityMap, outline: Any, sigma: float
) -> None:
    regions = found(map_, outline=outline, smoothing_cells=sigma, low_threshold=0.4)
    totals = SlideTotals.of(map_, regions)
    assert not totals.idc_share > 1
    assert totals.idc_mm2 <= totals.tissue_mm2 or np.isnan(totals.idc_mm2)
    assert map_.mask is not None
    assert totals.tissue_mm2 == pytest.approx(map_.mask.inside.sum() * PX_MM2)
    assert regions.area_mm2 == pytest.approx(sum(region.area_mm2 for region in regions))
    for region in regions:
        assert region.outline_l0.is_valid
        near_the_line = region.perimeter_mm * 0.04 * 0.4  # so much of a px all along the outline
        counted = counted_mm2(map_, region.outline_l0)
        assert abs(counted - region.area_mm2) <= 0.01 * region.area_mm2 + near_the_line


@given(maps())
@settings(max_examples=150, deadline=None)
def test_every_called_center_on_tissue_is_inside_and_every_other_outside(
    map_: ProbabilityMap,
) -> None:
    assert map_.mask is not None
    regions = found(map_)
    outlines = shapely.union_all([region.outline_l0 for region in regions])
    x, y = cell_centers_l0(map_)
    inside = shapely.dwithin(outlines, shapely.points(x, y), 0.01)
    called = map_.values >= 0.5
    half = PX_PER_CELL // 2
    corners = [map_.mask.inside[half - i :: PX_PER_CELL, half - j :: PX_PER_CELL]
               for i in (0, 1) for j in (0, 1)]  # fmt: skip
    on_tissue = np.all(corners, axis=0)
    assert inside[called & on_tissue].all()
    assert not inside[(map_.values < 0.5) & on_tissue].any()
    assert (regions.labels[called & on_tissue] > 0).all()
    assert not regions.labels[~called].any()


@given(maps())
@settings(max_examples=100, deadline=None)
def test_an_outline_stays_within_its_bound_from_the_edges_of_the_called_cells(
    map_: ProbabilityMap,
) -> None:
    called = map_.values >= 0.5
    x, y = cell_centers_l0(map_)
    side = 50 * (0.5 + 0.37) + 0.5  # and a tenth of a px of the raster
    grown = shapely.union_all(
        shapely.box(x[called] - side, y[called] - side, x[called] + side, y[called] + side)
    )
    for region in found(map_):
        assert grown.covers(region.outline_l0)


def test_an_area_counts_tissue_and_no_glass() -> None:
    tissue = np.zeros((30, 30), bool)
    tissue[:, 7:15] = True
    map_ = map_with([[0.9] * 3] * 3, tissue)
    for outline in ("contour", "cells"):
        regions = found(map_, outline=outline)
        assert regions.area_mm2 == pytest.approx(240 * PX_MM2)
        assert SlideTotals.of(map_, regions).idc_share == 1
    (region,) = found(map_, outline="cells")
    assert region.outline_mm2 == pytest.approx(9 * 0.16)
    (region,) = found(map_)
    assert region.outline_mm2 == pytest.approx(240 * PX_MM2, rel=0.01)
    np.testing.assert_allclose(region.outline_l0.bounds, (135, 200, 175, 350), atol=2.6)


def test_one_region_never_spans_two_pieces_of_tissue() -> None:
    tissue = np.zeros((30, 40), bool)
    tissue[2:28, 2:18] = tissue[2:28, 22:38] = True
    map_ = map_with([[0.9] * 4] * 3, tissue)
    regions = found(map_)
    assert [region.n_patches for region in regions] == [6, 6]
    assert regions.labels.tolist() == [[1, 1, 2, 2]] * 3
    left, right = (region.outline_l0.bounds for region in regions)
    assert left[2] <= 100 + 18 * 5
    assert right[0] >= 100 + 22 * 5
    assert len(found(map_, outline="cells")) == 1


def test_a_wide_hole_of_glass_is_kept_out_and_a_narrow_one_is_bridged() -> None:
    tissue = np.ones((60, 60), bool)
    tissue &= ~disc((60, 60), (20, 20), 8) & ~disc((60, 60), (45, 45), 2)
    map_ = map_with(np.full((6, 6), 0.9), tissue)
    (region,) = found(map_)
    assert len(region.outline_l0.interiors) == 1
    hole = shapely.Polygon(region.outline_l0.interiors[0])
    assert hole.centroid.distance(shapely.Point(200, 300)) < 3
    assert region.area_mm2 == pytest.approx(tissue.sum() * PX_MM2)
    assert region.outline_mm2 > region.area_mm2


def test_a_small_piece_of_tissue_stays_whole() -> None:
    tissue = disc((40, 40), (18, 22), 9)
    values = np.full((4, 4), NAN)
    values[0:3, 1:4] = 0.7
    map_ = map_with(values, tissue)
    (region,) = found(map_)
    assert region.area_mm2 == pytest.approx(tissue.sum() * PX_MM2)
    assert region.outline_mm2 == pytest.approx(tissue.sum() * PX_MM2, rel=0.02)


def test_tissue_that_was_not_classified_is_never_inside() -> None:
    map_ = map_with([[0.9, 0.9, NAN, 0.9]])
    regions = found(map_)
    assert len(regions) == 2
    unseen = shapely.box(200.01, 200, 249.99, 250)
    for region in regions:
        assert region.outline_l0.intersection(unseen.buffer(-2.5)).area == 0
    assert regions.area_mm2 == pytest.approx(3 * 0.16)
    assert regions.tissue_mm2 == pytest.approx(4 * 0.16)


def test_the_outline_runs_where_the_interpolated_logit_meets_the_level() -> None:
    """Between p and 1 - p that is half way; the nearer a side is to it, the nearer the line."""
    for low, share in ((0.1, 0.5), (0.4, 1 / (1 + 0.4055)), (0.49, 0.75)):
        (region,) = found(map_with([[0.9, 0.9, low, low]] * 3))
        assert region.outline_l0.bounds[2] == pytest.approx(100 + 50 * (1.5 + share), abs=1)


def test_cells_that_touch_at_a_corner_stay_one_region_on_one_piece_of_tissue() -> None:
    (region,) = found(map_with([[0.9, 0.02, 0.02], [0.02, 0.9, 0.02], [0.02, 0.02, 0.02]]))
    assert region.n_patches == 2
    assert region.outline_l0.is_valid


def test_a_map_without_its_mask_has_outlines_of_cells_and_areas_of_their_tissue() -> None:
    values = np.array([[0.9, 0.9, 0.1]], np.float32)
    tissue = np.array([[1.0, 0.25, 0.5]], np.float32)
    regions = found(ProbabilityMap(values, tissue, (0, 0), (50.0, 50.0), Mpp(8, 8)))
    assert regions.outline == "cells"
    (region,) = regions
    assert region.outline_l0.equals(shapely.box(0, 0, 100, 50))
    assert region.area_mm2 == pytest.approx(1.25 * 0.16)
    assert region.outline_mm2 == pytest.approx(2 * 0.16)


def test_the_minimum_area_is_one_of_tissue() -> None:
    tissue = np.zeros((10, 40), bool)
    tissue[:, :4] = tissue[:, 20:] = True
    map_ = map_with([[0.9, 0.1, 0.9, 0.9]], tissue)
    assert len(found(map_, min_area_mm2=0.1)) == 1
    assert len(found(map_, min_area_mm2=0.01)) == 2


def test_interpolation_leaves_out_what_is_not_known() -> None:
    values = np.array([[0.0, 2.0, NAN]], np.float32)
    places = np.array([0.2, 0.5, 1.0, 1.5, 1.9, 2.5])
    between = interpolated(values, np.array([0.5]), places)
    np.testing.assert_allclose(between, [[0, 0, 1, 2, 2, NAN]], atol=1e-6)
