from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsi_pipeline.geometry import Size
from wsi_pipeline.slides.downsamples import corrected_downsamples


def downsample(level_0: tuple[int, int], level: tuple[int, int]) -> tuple[float, float]:
    return corrected_downsamples([Size(*level_0), Size(*level)])[1]


@pytest.mark.parametrize(
    ("level_0", "level", "expected"),
    [
        ((46000, 32914), (11500, 8228), 4),
        ((46000, 32914), (2875, 2057), 16),
        ((29382, 13812), (7345, 3453), 4),
        ((29382, 13812), (3672, 1726), 8),
        ((2299, 3212), (287, 401), 8),
        ((3000, 2500), (1000, 834), 3),
        ((1000, 1000), (7, 7), 128),
        ((130, 100), (1, 1), 128),
    ],
)
def test_whole_numbers_are_restored(
    level_0: tuple[int, int], level: tuple[int, int], expected: int
) -> None:
    assert downsample(level_0, level) == (expected, expected)


def test_a_ratio_that_no_whole_number_explains_is_kept_per_axis() -> None:
    assert downsample((10_000, 8_000), (4_000, 3_100)) == (2.5, 8_000 / 3_100)


def test_axes_with_different_ratios_are_kept() -> None:
    assert downsample((8_000, 8_000), (4_000, 2_000)) == (2.0, 4.0)


def test_level_0_is_1() -> None:
    assert corrected_downsamples([Size(1, 1)]) == ((1.0, 1.0),)


@given(
    width=st.integers(200, 200_000),
    height=st.integers(200, 200_000),
    power=st.integers(1, 6),
    round_up=st.booleans(),
)
def test_every_pyramid_by_powers_of_two_is_recognized(
    width: int, height: int, power: int, round_up: bool
) -> None:
    n = 2**power
    up = n - 1 if round_up else 0
    level = ((width + up) // n, (height + up) // n)
    assume(min(level) >= 2)
    assert downsample((width, height), level) == (n, n)
