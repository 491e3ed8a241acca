"""Where annotations lie: what can be known of a wrong unit or a wrong slide is told."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from wsi_pipeline.annotations import Place, check_place, doubts_of_place
from wsi_pipeline.errors import StorageError

TISSUE_L0 = shapely.box(40_000, 30_000, 60_000, 50_000)


def is_tissue(points_l0: NDArray[np.float64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = shapely.contains_xy(TISSUE_L0, points_l0)
    return found


PLACE = Place((0, 0, 100_000, 80_000), (0.25, 0.25), is_tissue)
LESION_L0 = shapely.box(42_000, 32_000, 50_000, 40_000)


def scaled(factor: float) -> shapely.Polygon:
    return shapely.transform(LESION_L0, lambda xy: xy * factor)


def test_a_lesion_on_tissue_raises_no_doubt() -> None:
    check_place("a.xml", [LESION_L0], PLACE)
    assert doubts_of_place([LESION_L0], PLACE) == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [(0.25, "micrometers"), (0.00025, "millimeters"), (1 / 16, "a level 16 times smaller")],
)
def test_another_unit_that_would_put_the_lesion_on_tissue_is_named(
    factor: float, words: str
) -> None:
    (doubt,) = doubts_of_place([scaled(factor)], PLACE)
    assert words in doubt
    assert "As read 0%" in doubt


def test_a_place_that_no_unit_explains_is_left_alone() -> None:
    assert doubts_of_place([shapely.box(90_000, 100, 91_000, 200)], PLACE) == []


def test_what_lies_beyond_the_slide_is_told_with_numbers() -> None:
    (doubt,) = doubts_of_place([shapely.box(50_000, 40_000, 150_000, 50_000)], PLACE)
    assert "50% of the drawn area" in doubt
    assert "drawn: x 50000 to 150000" in doubt
    assert "slide: x 0 to 100000" in doubt


def test_a_file_of_another_slide_is_refused() -> None:
    with pytest.raises(StorageError, match=r"all of a\.xml lies beside the slide"):
        check_place("a.xml", [shapely.box(100_000, 0, 110_000, 50)], PLACE)
