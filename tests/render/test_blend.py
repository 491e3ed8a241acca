"""Colors on the slide: right place, fixed limits, "not classified" unlike zero."""

from collections.abc import Callable
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Size
from wsi_pipeline.maps import ProbabilityMap, TissueRaster
from wsi_pipeline.render.blend import Blend, CellLookup, heatmap, overlay, smooth_px, tissue_px

MakeMap = Callable[..., ProbabilityMap]
PINK = np.full((390, 480, 3), (230, 160, 200), np.uint8)


@pytest.mark.parametrize("offset_l0", [(0, 0), (1000, 333)], ids=["no bounds", "bounds"])
@pytest.mark.parametrize("size_px", [Size(480, 390), Size(240, 195), Size(163, 133)])
def test_the_hot_square_is_drawn_within_half_a_pixel_of_its_place(
    make_map: MakeMap, offset_l0: tuple[int, int], size_px: Size
) -> None:
    picture = heatmap(make_map(offset_l0), size_px, Blend())
    yellow = np.asarray(mpl.colormaps["viridis"](1.0, bytes=True))
    rows, cols = np.nonzero((picture == yellow).all(axis=-1))
    scale = size_px.width / 480
    found = (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(found, np.array((250, 100, 400, 200)) * scale, atol=0.51)


def test_cells_that_overhang_the_bounds_are_cut(make_map: MakeMap) -> None:
    lookup = CellLookup.of(make_map(), Size(480, 390))
    assert (lookup.row[-1], lookup.col[-1]) == (7, 9)
    assert (lookup.row >= 0).all()


def test_pixels_beyond_the_grid_show_no_cell(make_map: MakeMap) -> None:
    picture = heatmap(make_map(bounds_l0=[-100, -100, 900, 900]), Size(90, 90), Blend())
    assert (picture[0, 0] == 0).all()
    assert (picture[-1, -1] == 0).all()


def test_the_heatmap_is_opaque_where_classified_and_transparent_elsewhere(
    make_map: MakeMap,
) -> None:
    picture = heatmap(make_map(), Size(480, 390), Blend())
    assert (picture[:, :450, 3] == 255).all()
    assert (picture[:, 450:, 3] == 0).all()


def test_probability_zero_leaves_the_slide_as_it_is_and_one_colors_it(make_map: MakeMap) -> None:
    picture = overlay(PINK, make_map(), Blend("viridis", 1.0))
    assert (picture[0, 0] == PINK[0, 0]).all()
    np.testing.assert_allclose(picture[150, 300], (253, 231, 37), atol=2)


def test_tissue_that_was_not_classified_is_hatched_and_glass_is_not(make_map: MakeMap) -> None:
    map_ = make_map()
    map_.tissue[:4, 9] = 1.0
    picture = overlay(PINK, map_, Blend())
    changed = (picture != PINK).any(axis=-1)
    assert 0.1 < changed[:200, 450:].mean() < 0.4
    assert not changed[200:, 450:].any()


def test_a_smooth_map_has_the_cells_values_at_their_centers_and_runs_between_them(
    make_map: MakeMap,
) -> None:
    map_ = make_map()
    map_.values[...] = np.where(np.isnan(map_.values), np.nan, 0.1)
    map_.values[2, 5] = 0.9
    size = Size(480, 390)
    drawn = smooth_px(map_, size, tissue_px(map_, size))
    assert drawn[125, 275] == pytest.approx(0.9, abs=0.02)
    assert drawn[125, 300] == pytest.approx(0.5, abs=0.03)  # half way, on logits
    assert drawn[125, 325] == pytest.approx(0.1, abs=0.02)
    assert np.isnan(drawn[:, 450:]).all()


def test_a_smooth_map_colors_tissue_alone_and_cells_are_squares_on_request(
    make_map: MakeMap,
) -> None:
    inside = np.ones((39, 48), bool)
    inside[10:20, 30:] = False  # the right half of the hot square
    map_ = replace(make_map(), mask=TissueRaster(inside, (0, 0), (10.0, 10.0)))
    smooth = (overlay(PINK, map_, Blend()) != PINK).any(axis=-1)
    squares = (overlay(PINK, map_, Blend(map_style="cells")) != PINK).any(axis=-1)
    assert smooth[110:190, 260:290].all()
    assert not smooth[105:195, 305:395].any()
    assert squares[110:190, 260:390].all()


def test_a_smooth_map_hatches_the_tissue_of_cells_that_were_not_classified(
    make_map: MakeMap,
) -> None:
    inside = np.ones((39, 48), bool)
    inside[20:, 45:] = False
    map_ = replace(make_map(), mask=TissueRaster(inside, (0, 0), (10.0, 10.0)))
    map_.tissue[:, 9] = 0.5
    changed = (overlay(PINK, map_, Blend()) != PINK).any(axis=-1)
    assert 0.1 < changed[:200, 450:].mean() < 0.4
    assert not changed[200:, 450:].any()


def test_colors_do_not_depend_on_the_slides_own_range() -> None:
    low = Blend().opaque(np.array([0.1, 0.2], np.float32))
    whole = Blend().opaque(np.array([0.0, 0.1, 0.2, 1.0], np.float32))
    np.testing.assert_array_equal(low, whole[1:3])


def test_probabilities_outside_0_to_1_are_clipped() -> None:
    rgba = Blend().opaque(np.array([-0.5, 0.0, 1.0, 1.5], np.float32))
    np.testing.assert_array_equal(rgba[[0, 3]], rgba[[1, 2]])


@given(st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_opacity_rises_with_probability(first: float, second: float) -> None:
    low, high = sorted((first, second))
    alpha = Blend().translucent(np.array([low, high], np.float32))[:, 3]
    assert alpha[0] <= alpha[1]


def test_an_unknown_color_map_is_refused_with_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'virdis'.*viridis, cividis"):
        Blend("virdis")


@pytest.mark.parametrize("opacity", [0.0, -1.0, 1.1])
def test_an_opacity_out_of_range_is_refused(opacity: float) -> None:
    with pytest.raises(ConfigError, match="opacity"):
        Blend(opacity=opacity)
