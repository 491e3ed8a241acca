from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue import Glass, estimate_glass, find_glass

STROMA = (226, 168, 200)
TINTS = {
    "as scanned": (1.0, 1.0, 1.0),
    "dark": (0.77, 0.77, 0.77),
    "pink": (1.0, 0.88, 0.96),
    "violet": (0.88, 0.8, 0.95),
    "yellow": (1.0, 0.97, 0.82),
    "blue": (0.9, 0.97, 1.0),
}


def lit(rgb: RgbArray, tint: tuple[float, float, float]) -> RgbArray:
    return np.rint(rgb * np.array(tint)).astype(np.uint8)


def ground(rgb: tuple[int, int, int] = (243, 243, 242), shape: Any = (200, 300)) -> RgbArray:
    noise = np.random.default_rng(0).integers(-2, 3, (*shape, 3))
    return np.clip(np.array(rgb) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def slide() -> RgbArray:
    """Textured tissue on a third of some glass."""
    rgb = ground()
    texture = np.random.default_rng(1).integers(-30, 31, (140, 140, 1))
    rgb[30:170, 40:180] = np.clip(np.array(STROMA) + texture, 0, 255)
    return rgb


@pytest.mark.parametrize("tint", TINTS.values(), ids=TINTS.keys())
def test_glass_is_measured_in_any_light(slide: RgbArray, tint: tuple[float, ...]) -> None:
    glass = find_glass(lit(slide, tint))  # type: ignore[arg-type]
    assert glass.is_seen
    assert glass.rgb == pytest.approx(np.array((243, 243, 242)) * tint, abs=1.5)
    assert glass.share > 0.5


def test_a_lamp_that_falls_off_and_dirt_move_it_little(slide: RgbArray) -> None:
    y, x = np.mgrid[-1:1:200j, -1:1:300j]
    dirty = slide * (1 - 0.04 * (x**2 + y**2))[..., None]
    dirty[::9, ::7] = (120, 110, 100)
    mean = np.array((243, 243, 242)) * (1 - 0.04 * 2 / 3)
    assert estimate_glass(dirty.astype(np.uint8)) == pytest.approx(mean, abs=4)


@pytest.mark.parametrize("tint", TINTS.values(), ids=TINTS.keys())
def test_fill_painted_beside_glass_is_left_out(slide: RgbArray, tint: tuple[float, ...]) -> None:
    filled = slide.copy()
    filled[:, 200:] = filled[:20] = 255
    glass = find_glass(lit(filled, tint))  # type: ignore[arg-type]
    assert glass.rgb == pytest.approx(np.array((243, 243, 242)) * tint, abs=2)


def test_a_reader_that_paints_another_color_is_believed(slide: RgbArray) -> None:
    slide[:, 200:] = (230, 230, 230)
    assert estimate_glass(slide, (230, 230, 230)) == pytest.approx((243, 243, 242), abs=1)


def test_no_glass_is_seen_in_the_middle_of_tissue() -> None:
    texture = np.random.default_rng(1).integers(-30, 31, (200, 200, 1))
    tissue = np.clip(np.array(STROMA) + texture, 0, 255).astype(np.uint8)
    assert find_glass(tissue) == Glass((255, 255, 255), 0.0)
    assert not find_glass(tissue).is_seen
    assert estimate_glass(tissue, (250, 250, 250)) == (250, 250, 250)


def test_a_flat_pink_beside_a_brighter_grey_is_tissue(slide: RgbArray) -> None:
    slide[:, 60:] = ground((238, 222, 233), (200, 240))
    assert estimate_glass(slide) == pytest.approx((243, 243, 242), abs=1)


def test_a_deep_pink_is_no_glass_however_flat() -> None:
    assert not find_glass(ground((226, 150, 190))).is_seen


def test_pale_tissue_that_is_flat_by_chance_is_no_glass() -> None:
    noise = np.random.default_rng(1).integers(-4, 5, (200, 300, 1))
    assert not find_glass((np.array((232, 212, 226)) + noise).astype(np.uint8)).is_seen


def test_pixels_pooled_in_one_row_do(slide: RgbArray) -> None:
    assert estimate_glass(slide.reshape(1, -1, 3)) == pytest.approx((243, 243, 242), abs=1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2)])
def test_a_picture_of_a_few_pixels_is_looked_at(shape: tuple[int, int]) -> None:
    assert find_glass(np.full((*shape, 3), 240, np.uint8)).rgb == (240, 240, 240)


def test_black_has_no_glass() -> None:
    assert not find_glass(np.zeros((20, 20, 3), np.uint8)).is_seen
