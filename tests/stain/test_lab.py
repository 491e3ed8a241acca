from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import lab2rgb

from wsi_pipeline.stain.lab import lab_from_rgb, rgb_from_lab

LEVEL = st.integers(0, 255)


@given(LEVEL, LEVEL, LEVEL)
def test_colors_come_back_from_lab(red: int, green: int, blue: int) -> None:
    rgb = np.array([[red, green, blue]], dtype=np.uint8)
    assert rgb_from_lab(lab_from_rgb(rgb)) == pytest.approx(rgb, abs=0.05)


@pytest.mark.parametrize("lab", [(60.0, 25.0, -10.0), (35.0, 30.0, -30.0), (90.0, 5.0, -2.0)])
def test_levels_are_those_of_scikit_image(lab: tuple[float, float, float]) -> None:
    expected = 255 * lab2rgb(np.array([lab]))
    assert rgb_from_lab(np.array([lab])) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    "lab", [(100.0, 60.0, 0.0), (0.0, 0.0, 0.0), (-20.0, 0.0, 0.0), (10.0, 0.0, 120.0)]
)
def test_impossible_colors_are_finite_and_raise_no_warning(
    lab: tuple[float, float, float],
) -> None:
    assert np.isfinite(rgb_from_lab(np.array([lab]))).all()


def test_what_a_screen_cannot_show_is_not_clipped() -> None:
    assert rgb_from_lab(np.array([[95.0, 60.0, 0.0]])).max() > 256
