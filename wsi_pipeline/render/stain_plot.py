"""A slide's stains drawn: the hues of its pixels, its vectors and the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from wsi_pipeline.geometry import Box
from wsi_pipeline.render.page import FAINT, INK, Drawing, Page
from wsi_pipeline.stain.optical_density import MAX_BLUE_TO_GREEN, MAX_RED_TO_GREEN
from wsi_pipeline.stain.vectors import MAX_EOSIN_RED, StainVectors, Vector

_RANGE: Final = 1.5
"""Of the axes: density in red (blue) over green."""
_BINS: Final = 100
_SAMPLE_OD: Final = 0.9
_ROW_PX: Final = 19
_MARKERS: Final = ("o", "^", "s")


@dataclass(frozen=True, slots=True, eq=False)
class StainPlot:
    """What is drawn of a slide's stains."""

    od: NDArray[np.float64]
    """float64, shape (n, 3): optical density of pixels of the tissue that are not blank."""
    vectors: tuple[tuple[str, StainVectors], ...]
    """Names and vectors, at most three."""


def draw_stain_plot(page: Page, plot: StainPlot, box: Box) -> None:
    """Draw hues and vectors into a box, and the numbers below it."""
    page.text(box.x, box.y - 30, "Stains of the tissue", 11, fontweight="bold")
    words = "each pixel by its density in red and blue, over that in green"
    page.text(box.x, box.y - 12, words, 8.5, color=FAINT)
    page.paste(_hue_picture(plot.od, box), box)
    _draw_limits(page, box)
    axes = page.axes(box)
    for (_, vectors), marker in zip(plot.vectors, _MARKERS, strict=False):
        _draw_vectors(axes, box, vectors, marker)
    _draw_numbers(page, plot, box)


def plot_height(plot: StainPlot) -> int:
    """Return the room that the numbers take below the box, px."""
    return 60 + 2 * len(plot.vectors) * _ROW_PX


def _hue_picture(od: NDArray[np.float64], box: Box) -> NDArray[np.uint8]:
    """Return the pixels' hues as a density, each bin in the color that it stands for."""
    green = np.maximum(od[:, 1], 1e-6)
    spread = (od[:, 2] / green, od[:, 0] / green)
    counts, _, _ = np.histogram2d(*spread, bins=_BINS, range=[(0, _RANGE), (0, _RANGE)])
    share = counts / max(counts.max(), 1.0)
    centers = (np.arange(_BINS) + 0.5) / _BINS * _RANGE
    blue, red = np.meshgrid(centers, centers, indexing="ij")
    hue = np.stack([red, np.ones_like(red), blue], axis=-1)
    color = 255 * np.exp(-_SAMPLE_OD * hue / np.linalg.norm(hue, axis=-1, keepdims=True))
    weight = (share**0.35)[..., np.newaxis]
    picture = (color * weight + 255 * (1 - weight)).round().astype(np.uint8)[::-1]
    rows = np.arange(box.height) * _BINS // box.height
    cols = np.arange(box.width) * _BINS // box.width
    return np.asarray(picture[rows][:, cols])


def _draw_limits(page: Page, box: Box) -> None:
    right, top = _place(box, MAX_RED_TO_GREEN, MAX_BLUE_TO_GREEN)
    middle, _ = _place(box, MAX_EOSIN_RED, 0)
    page.line((right, right), (top, box.bottom))
    page.line((box.x, right), (top, top))
    page.line((middle, middle), (top, box.bottom), width=0.5)
    page.text(box.x + 6, top - 6, "not H&E: ink, blood, pigment, DAB", 8.5, color=FAINT)
    page.text(box.x + 6, box.bottom - 7, "eosin's side", 8.5, color=FAINT)
    page.text(right - 6, box.bottom - 7, "hematoxylin's side", 8.5, color=FAINT, ha="right")
    for value in (0, 0.5, 1.0):
        x, y = _place(box, value, value)
        page.text(x, box.bottom + 14, f"{value:g}", 8.5, color=FAINT, ha="center")
        page.text(box.x - 5, y + 4, f"{value:g}", 8.5, color=FAINT, ha="right")
    page.text(box.right, box.bottom + 14, "red ▸", 8.5, color=FAINT, ha="right")
    page.text(box.x - 5, box.y + 8, "blue ▴", 8.5, color=FAINT, ha="right")


def _draw_vectors(axes: Drawing, box: Box, vectors: StainVectors, marker: str) -> None:
    for stain, vector in (("H", vectors.hematoxylin), ("E", vectors.eosin)):
        if vector[1] <= 0:
            continue  # no density in green: a hue beyond this plot
        x, y = _place(box, vector[0] / vector[1], vector[2] / vector[1])
        if not (box.x <= x <= box.right and box.y <= y <= box.bottom):
            continue
        _mark(axes, x - box.x, y - box.y, marker, vector)
        halo = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(x - box.x + 8, y - box.y + 4, stain, size=9, color=INK, path_effects=halo)


def _mark(axes: Drawing, x: float, y: float, marker: str, vector: Vector) -> None:
    axes.plot(
        [x],
        [y],
        marker=marker,
        markersize=8.5,
        markerfacecolor=_hex(vector),
        markeredgecolor=INK,
        markeredgewidth=1.3,
    )


def _draw_numbers(page: Page, plot: StainPlot, box: Box) -> None:
    table = Box(box.x, box.bottom + 34, box.width, plot_height(plot))
    axes = page.axes(table)
    columns = [table.width * share for share in (0.6, 0.73, 0.86, 1.0)]
    for x, word in zip(columns, ("red", "green", "blue", "max."), strict=True):
        page.text(table.x + x, table.y + 10, word, 8.5, color=FAINT, ha="right")
    row = 1
    for (name, vectors), marker in zip(plot.vectors, _MARKERS, strict=False):
        stains = (("H", vectors.hematoxylin), ("E", vectors.eosin))
        for (stain, vector), most in zip(stains, vectors.max_concentrations, strict=True):
            y = 10 + row * _ROW_PX
            _mark(axes, 8, y - 4, marker, vector)
            page.text(table.x + 24, table.y + y, f"{stain}  {name}", 9.5)
            for x, number in zip(columns, (*vector, most), strict=True):
                page.text(table.x + x, table.y + y, f"{number:.2f}", 9.5, ha="right")
            row += 1


def _place(box: Box, red: float, blue: float) -> tuple[float, float]:
    return (box.x + red / _RANGE * box.width, box.bottom - blue / _RANGE * box.height)


def _hex(vector: Vector) -> str:
    """Return the color that a stain of this vector has at full strength."""
    levels = 255 * np.exp(-_SAMPLE_OD * np.asarray(vector))
    red, green, blue = (int(min(255, level)) for level in levels)
    return f"#{red:02x}{green:02x}{blue:02x}"
