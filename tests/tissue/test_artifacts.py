"""What lies on a slide, each kind painted alone: which layer of the result it has to land in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.draw import disk, line_aa

from wsi_pipeline.geometry import BoolMask, RgbArray
from wsi_pipeline.tissue import TissueMask, segment_tissue

UM_PX = (16.0, 16.0)
INKS = {
    "red": (0.85, 0.12, 0.15),
    "green": (0.12, 0.50, 0.30),
    "blue": (0.12, 0.25, 0.70),
    "black": (0.08, 0.08, 0.09),
}
"""Share of the light that a full layer of ink lets through."""
ON_GLASS = ((35.0, 200.0), (165.0, 260.0))
ACROSS = ((20.0, 60.0), (180.0, 140.0))
"""Strokes from (row, column) to (row, column); the second crosses the block of tissue."""
Stroke = tuple[tuple[float, float], tuple[float, float]]


def along(stroke: Stroke, width_um: float) -> BoolMask:
    """Return the pixels of a straight stroke with round ends on the picture of 200 x 300 px."""
    (y0, x0), (y1, x1) = stroke
    rows, cols = np.mgrid[:200, :300] + 0.5
    length_2 = (y1 - y0) ** 2 + (x1 - x0) ** 2
    t = np.clip(((rows - y0) * (y1 - y0) + (cols - x0) * (x1 - x0)) / length_2, 0, 1)
    away = np.hypot(rows - y0 - t * (y1 - y0), cols - x0 - t * (x1 - x0))
    return np.asarray(away * UM_PX[0] <= width_um / 2, dtype=bool)


def inked(rgb: RgbArray, where: BoolMask, ink: str, opacity: float) -> RgbArray:
    light = np.where(where[..., None], np.array(INKS[ink]) ** opacity, 1.0)
    return np.asarray(np.rint(rgb * light), dtype=np.uint8)


def core_of(where: BoolMask) -> BoolMask:
    """Return the mask less a rim of one pixel, whose color is mixed."""
    inner = where.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(where, step, axis)
    return inner


@pytest.mark.parametrize("opacity", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("width_um", [300.0, 1000.0])
@pytest.mark.parametrize("ink", sorted(INKS))
def test_a_slanted_stroke_on_glass_is_pen_and_no_tissue(
    specimen: Any, ink: str, width_um: float, opacity: float
) -> None:
    stroke = along(ON_GLASS, width_um)
    mask = segment_tissue(inked(specimen.rgb, stroke, ink, opacity), um_px=UM_PX)
    assert mask.artifacts.pen[core_of(stroke)].mean() > 0.98
    assert not mask.mask[stroke].any()
    assert mask.mask[62:138, 42:158].all()


@pytest.mark.parametrize("opacity", [0.75, 1.0])
@pytest.mark.parametrize("ink", sorted(INKS))
def test_tissue_under_a_stroke_stays_tissue_and_is_marked(
    specimen: Any, ink: str, opacity: float
) -> None:
    stroke = along(ACROSS, 500.0)
    mask = segment_tissue(inked(specimen.rgb, stroke, ink, opacity), um_px=UM_PX)
    block = np.zeros_like(stroke)
    block[66:134, 46:154] = True
    assert mask.mask[block].mean() > 0.99
    assert mask.artifacts.pen[core_of(stroke) & block].mean() > 0.95
    away = ~along(ACROSS, 900.0)
    assert not (mask.artifacts.pen & away).any()
    glass = core_of(stroke)
    glass[40:160] = False
    assert not mask.mask[glass].any()


def test_a_film_of_ink_along_a_margin_is_no_stroke(specimen: Any) -> None:
    film = np.zeros((200, 300), dtype=bool)
    film[60:140, 152:160] = True  # 128 µm
    for ink in INKS:
        mask = segment_tissue(inked(specimen.rgb, film, ink, 1.0), um_px=UM_PX)
        assert mask.pen_share == 0
        assert mask.mask[62:138, 42:158].mean() > 0.99


Painter = Callable[[NDArray[np.float64]], None]


def hair(picture: NDArray[np.float64]) -> None:
    rows, cols, weight = line_aa(10, 190, 190, 290)
    picture[rows, cols] *= 1 - 0.3 * weight[:, None]


def dust(picture: NDArray[np.float64]) -> None:
    for row in range(10, 190, 30):
        rows, cols = disk((row, 230), 2.5)
        picture[rows, cols] *= 0.5


def bubble(picture: NDArray[np.float64]) -> None:
    outer, inner = (np.zeros((200, 300), dtype=bool) for _ in range(2))
    for ring, radius in ((outer, 32), (inner, 30)):
        rows, cols = disk((100, 235), radius)
        ring[rows, cols] = True
    picture[outer & ~inner] *= 0.6


def coverslip_edge(picture: NDArray[np.float64]) -> None:
    picture[:, 240:244] *= 0.7
    picture[:, 244:] *= 0.93


def ground_edge_of_the_slide(picture: NDArray[np.float64]) -> None:
    """Grey with a yellow tinge, rough, sprinkled with colored dust, close by the tissue."""
    rng = np.random.default_rng(5)
    picture[140:165] *= np.array([0.92, 0.905, 0.89]) * rng.normal(1, 0.03, (25, 300, 1))
    for col in range(180, 300, 25):
        picture[150:152, col : col + 3] = (190, 120, 150)


def grey_glass(picture: NDArray[np.float64]) -> None:
    picture[:, 170:] *= 0.85


def black_fill(picture: NDArray[np.float64]) -> None:
    picture[:, 260:] = 0


def faint_fat(picture: NDArray[np.float64]) -> None:
    picture[60:140, 160:230] = 248
    picture[60:140:5, 160:230] = picture[60:140, 160:230:5] = (228, 219, 226)


@pytest.mark.parametrize(
    ("paint", "layer", "most_tissue", "least_layer"),
    [
        (hair, "debris", 0.0, 0.001),
        (dust, "debris", 0.0, 0.001),
        (bubble, "debris", 0.0, 0.005),
        (coverslip_edge, "debris", 0.0, 0.01),
        (grey_glass, "debris", 0.0, 0.0),
        (black_fill, "black", 0.0, 0.13),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_thing_on_glass_lands_in_its_layer(
    specimen: Any, paint: Painter, layer: str, most_tissue: float, least_layer: float
) -> None:
    mask = painted(specimen.rgb, paint)
    assert mask.mask[:, 175:].mean() <= most_tissue
    assert mask.mask[62:138, 42:158].mean() > 0.99
    shares = {name: float(getattr(mask.artifacts, name).mean()) for name in LAYERS}
    assert shares[layer] >= least_layer
    # Debris is whatever is dark and grey, be it the edge of something else.
    assert all(share == 0 for name, share in shares.items() if name not in (layer, "debris"))


LAYERS = ("pen", "black", "debris")


def test_the_ground_edge_of_a_slide_is_debris_though_colored_dust_lies_on_it(specimen: Any) -> None:
    mask = painted(specimen.rgb, ground_edge_of_the_slide)
    beyond_reach = np.s_[:, 255:]
    assert mask.mask[beyond_reach].mean() < 0.002
    assert mask.artifacts.debris[beyond_reach].mean() > 0.02


def test_faint_fat_is_tissue_and_nothing_else(specimen: Any) -> None:
    mask = painted(specimen.rgb, faint_fat)
    assert mask.mask[62:134, 160:224].mean() > 0.95
    assert not mask.artifacts.pen.any()
    assert not mask.artifacts.black.any()


def painted(rgb: RgbArray, paint: Painter) -> TissueMask:
    picture = rgb.astype(np.float64)
    paint(picture)
    return segment_tissue(np.clip(np.rint(picture), 0, 255).astype(np.uint8), um_px=UM_PX)


def test_a_slide_that_is_all_pen_is_empty() -> None:
    picture = np.full((60, 80, 3), (30, 90, 60), dtype=np.uint8)
    mask = segment_tissue(picture, um_px=UM_PX)
    assert mask.is_empty
    assert mask.pen_share == 1
