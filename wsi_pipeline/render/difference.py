"""Where two readings of a slide agree and where each stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.patches import PathPatch
from PIL import Image

from wsi_pipeline.geometry import Box, FloatArray, RgbArray, Size
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.render.blend import CellLookup, RgbaArray, over
from wsi_pipeline.render.outlines import Area, path_of, to_picture
from wsi_pipeline.render.page import FAINT, HEADER, INK, Layout, Page
from wsi_pipeline.render.png import write_png

BOTH: Final = "#009e73"
ONLY_RESULT: Final = "#d55e00"
ONLY_REFERENCE: Final = "#0072b2"
"""Okabe and Ito's green, vermilion and blue, told apart by all kinds of color vision."""

_FILL_ALPHA: Final = 0.45
_CHANGE_ALPHA: Final = 0.85


@dataclass(frozen=True, slots=True, eq=False)
class DifferenceAreas:
    """What to draw, level-0 px of the whole slide, and what to call it."""

    both_l0: Area
    only_result_l0: Area
    only_reference_l0: Area
    result: str
    """Name of the result, e.g. of its model."""
    reference: str
    """Name of what it is compared with."""


@dataclass(frozen=True, slots=True)
class Words:
    """What stands around the picture."""

    title: str
    subtitle: str
    figures: Sequence[tuple[str, str]]
    """Names and values of scores, as they are to be read."""
    footer: str


def write_difference(
    thumbnail: RgbArray, map_: ProbabilityMap, areas: DifferenceAreas, words: Words, path: Path
) -> None:
    """Draw agreement and difference over a grey thumbnail, with the figures beside it.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        The scanned bounds of the slide.
    map_ : ProbabilityMap
        Says where the bounds lie and how large a pixel is.
    areas : DifferenceAreas
    words : Words
    path : Path
        The PNG file.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    page = _page(_greyed(thumbnail), map_, words)
    axes = page.axes(page.layout.image)
    for color, area_l0, _ in _kinds(areas):
        if area_l0.is_empty:
            continue
        outline = path_of([to_picture(area_l0, map_, page.layout.image)])
        axes.add_patch(PathPatch(outline, facecolor=color, alpha=_FILL_ALPHA, linewidth=0))
        axes.add_patch(PathPatch(outline, fill=False, edgecolor=color, linewidth=1.8))
    page.table(_draw_legend(page, areas) + 24, words.figures)
    write_png(page.finish(), path)


def write_change(
    thumbnail: RgbArray, map_: ProbabilityMap, change: FloatArray, words: Words, path: Path
) -> None:
    """Draw how the probability changed from one run to another, from -1 to 1, cell by cell.

    Takes and raises what `write_difference` does. `change`, float32 of the map's shape, is new less
    old; NaN, where one of them did not classify, is left grey.
    """
    size = Size(thumbnail.shape[1], thumbnail.shape[0])
    layer = CellLookup.of(map_, size).spread_rgba(_change_rgba(change))
    page = _page(over(_greyed(thumbnail), layer), map_, words)
    page.table(_draw_change_bar(page) + 40, words.figures)
    write_png(page.finish(), path)


def _page(picture: RgbArray, map_: ProbabilityMap, words: Words) -> Page:
    """Return a page with the picture of the slide and all that stands around it but the panel."""
    page = Page(Layout.around(Size(picture.shape[1], picture.shape[0])))
    page.paste(picture, page.layout.image)
    page.header(words.title, words.subtitle)
    page.scale_bar(map_)
    page.footer(words.footer)
    return page


def _change_rgba(change: FloatArray) -> RgbaArray:
    """Return red where the probability rose, blue where it fell, clear where it did not change."""
    known = np.nan_to_num(change).clip(-1, 1)
    rgba: RgbaArray = mpl.colormaps["RdBu_r"]((known + 1) / 2, bytes=True)
    rgba[..., 3] = (255 * _CHANGE_ALPHA * np.sqrt(np.abs(known))).round()
    return rgba


def _draw_change_bar(page: Page) -> int:
    bar = Box(page.layout.panel_x, HEADER + 28, 26, 240)
    falling = np.linspace(1, -1, bar.height, dtype=np.float32)[:, np.newaxis]
    ramp = _change_rgba(np.broadcast_to(falling, (bar.height, bar.width)))
    page.paste(over(np.full((bar.height, bar.width, 3), 200, np.uint8), ramp), bar)
    page.text(bar.x, bar.y - 14, "Change of probability", 11, fontweight="bold")
    for value in (-1, -0.5, 0, 0.5, 1):
        y = bar.y + (1 - value) / 2 * bar.height
        page.line((bar.right, bar.right + 4), (y, y))
        page.text(bar.right + 8, y + 4, f"{value:+g}" if value else "0")
    return bar.bottom


def _kinds(areas: DifferenceAreas) -> tuple[tuple[str, Area, str], ...]:
    return (
        (BOTH, areas.both_l0, "both"),
        (ONLY_RESULT, areas.only_result_l0, f"{areas.result} alone"),
        (ONLY_REFERENCE, areas.only_reference_l0, f"{areas.reference} alone"),
    )


def _greyed(thumbnail: RgbArray) -> RgbArray:
    """Return the slide in light grey, so that the only colors are those of the legend."""
    grey = np.asarray(Image.fromarray(thumbnail).convert("L"))
    light = (grey.astype(np.uint16) * 3 + 255) // 4
    return np.repeat(light.astype(np.uint8)[..., np.newaxis], 3, axis=2)


def _draw_legend(page: Page, areas: DifferenceAreas) -> int:
    x, y = page.layout.panel_x, HEADER + 10
    page.text(x, y, "Called IDC by", 11, fontweight="bold")
    for row, (color, area_l0, words) in enumerate(_kinds(areas)):
        box = Box(x, y + 14 + row * 24, 22, 14)
        page.rectangle(box, facecolor=color, alpha=_FILL_ALPHA, linewidth=0)
        page.rectangle(box, fill=False, edgecolor=color, linewidth=1.8)
        none = "  (none)" if area_l0.is_empty else ""
        page.text(box.right + 8, box.y + 11, words + none, color=FAINT if none else INK)
    return y + 14 + 3 * 24
