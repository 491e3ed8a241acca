"""Lines as hands draw them, and as nobody does."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from wsi_pipeline.annotations import only_areas


def test_a_line_that_crosses_itself_a_few_times_is_an_area() -> None:
    angle = np.linspace(0, 2 * np.pi, 400)
    petals = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.2 + np.cos(9 * angle))[:, None]
    area = only_areas(shapely.Polygon(petals * 1000))
    assert area.is_valid
    assert area.area > 0


def test_what_a_line_goes_around_twice_is_inside() -> None:
    twice = [(0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (5, 0), (15, 0), (15, 10), (5, 10), (5, 0)]
    assert only_areas(shapely.Polygon(twice)).area == pytest.approx(150)


@pytest.mark.parametrize("n", [300, 5_000])
def test_a_scribble_of_random_points_is_refused_in_bounded_work(n: int) -> None:
    points = np.random.default_rng(0).random((n, 2)) * 1e4
    with pytest.raises(ValueError, match="crosses itself more than 500 times"):
        only_areas(shapely.Polygon(points))
