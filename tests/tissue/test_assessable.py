"""Which pictures could show a tumor at all."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue.assessable import DARKEST_FIELD, why_not_assessable

GLASS, PINK, VIOLET, BLACK = (242, 240, 243), (205, 140, 185), (95, 50, 125), (4, 3, 5)


def field(*colors: tuple[int, int, int]) -> RgbArray:
    """Return stripes of equal width with the noise of a camera."""
    noise = np.random.default_rng(0).integers(-3, 4, (60, 60 * len(colors), 3))
    stripes = np.repeat(np.array(colors), 60, axis=0)[np.newaxis]
    return np.clip(stripes + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "colors",
    [
        (GLASS, PINK, VIOLET),
        (PINK, VIOLET),
        (VIOLET,),
        (GLASS,),
        ((182, 184, 180), PINK),
        (BLACK, GLASS, PINK),
        (BLACK, BLACK, BLACK, GLASS),
    ],
    ids=["slide", "tissue", "dark tissue", "glass", "dim lamp", "black fill", "mostly black fill"],
)
def test_stained_tissue_and_glass_are_assessable(colors: tuple[tuple[int, int, int], ...]) -> None:
    assert why_not_assessable(field(*colors)) == ""


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (field(GLASS, PINK, VIOLET) // 16, "nearly black"),
        (np.zeros((9, 9, 3), np.uint8), "nearly black"),
        (field(BLACK, (10, 20, 160), (30, 180, 40)), "black ground"),
        (255 - field(GLASS, PINK, VIOLET), "black ground"),
        (np.repeat(field(GLASS, VIOLET)[..., :1], 3, axis=2), "without colors"),
    ],
    ids=["12 bits in 16", "black", "fluorescence", "inverted", "gray"],
)
def test_what_could_not_show_a_tumor_is_named(picture: RgbArray, words: str) -> None:
    assert words in why_not_assessable(picture)


def test_blank_glass_without_color_is_blank_and_not_gray() -> None:
    assert why_not_assessable(np.full((50, 50, 3), 240, np.uint8)) == ""


def test_what_was_not_scanned_is_left_out() -> None:
    picture = field(BLACK, (10, 20, 160))
    unscanned = np.full((60, 600, 3), 255, np.uint8)
    both = np.concatenate([picture, unscanned], axis=1)
    assert "black ground" in why_not_assessable(both, (255, 255, 255))
    assert why_not_assessable(unscanned, (255, 255, 255)) == ""


def test_a_field_of_dark_tissue_is_not_black() -> None:
    assert "nearly black" in why_not_assessable(field((50, 20, 60)))
    assert why_not_assessable(field((50, 20, 60)), darkest=DARKEST_FIELD) == ""
