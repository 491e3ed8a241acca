"""Map against map: what changed, where both know."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from wsi_pipeline.compare import compare_maps
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.maps import ProbabilityMap

MakeMap = Callable[..., ProbabilityMap]
NAN = np.nan


def test_the_difference_is_new_less_old_where_both_classified(make_map: MakeMap) -> None:
    found = compare_maps(make_map([[0.75, 0.25, NAN, 0.5]]), make_map([[0.25, 0.25, 0.5, NAN]]))
    np.testing.assert_array_equal(found.values, [[0.5, 0, NAN, NAN]])
    assert (found.n_cells, found.n_only_new, found.n_only_old) == (2, 1, 1)
    assert found.mean_absolute == 0.25
    assert found.largest_absolute == 0.5
    assert (found.n_turned_positive, found.n_turned_negative) == (1, 0)


def test_a_map_agrees_with_itself(make_map: MakeMap) -> None:
    map_ = make_map([[0.9, 0.1, 0.2, NAN]])
    found = compare_maps(map_, map_)
    assert (found.kappa, found.mean_absolute) == (1, 0)
    assert found.correlation == pytest.approx(1)


def test_each_map_is_called_at_its_own_threshold(make_map: MakeMap) -> None:
    found = compare_maps(make_map([[0.6, 0.1]], threshold=0.7), make_map([[0.6, 0.1]]))
    assert found.n_turned_negative == 1


def test_a_coarser_map_is_read_at_the_centers_of_the_finer_ones_cells(make_map: MakeMap) -> None:
    fine = make_map(np.arange(8).reshape(2, 4) / 10)
    coarse = replace(make_map([[0.0, 0.5]]), step_l0=(200.0, 200.0))
    found = compare_maps(fine, coarse)
    np.testing.assert_allclose(found.values[0], [0.0, 0.1, -0.3, -0.2], atol=1e-6)


def test_maps_with_nothing_in_common_have_no_figures(make_map: MakeMap) -> None:
    found = compare_maps(make_map([[NAN, 0.5]]), make_map([[0.5, NAN]]))
    assert found.n_cells == 0
    assert np.isnan([found.kappa, found.mean_absolute, found.correlation]).all()


def test_maps_of_different_slides_are_refused(make_map: MakeMap) -> None:
    first = make_map([[0.5]], slide={"name": "a.svs", "quickhash": "1"})
    second = make_map([[0.5]], slide={"name": "b.svs", "quickhash": "2"})
    with pytest.raises(ConfigError, match=r"a\.svs and b\.svs are different slides"):
        compare_maps(first, second)
