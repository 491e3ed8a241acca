"""A white page laid out in pixels: a picture of the slide, a panel of words, header and footer.

Pictures are pasted without resampling; matplotlib draws lines and words over them.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox, TransformedBbox
from numpy.typing import NDArray

from wsi_pipeline import NOTICE
from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.render.fonts import drawable
from wsi_pipeline.render.scale import length_label, nice_length_mm

INK: Final = "#1a1a1a"
FAINT: Final = "#666666"
WARNING: Final = "#a01010"
_FRAME_GREY: Final = 170

_DPI: Final = 100
MARGIN: Final = 24
HEADER: Final = 64
_FOOTER: Final = 76
_PANEL: Final = 268
_MIN_IMAGE: Final = Size(520, 560)
"""Room kept for words where the slide's picture is smaller, px."""
_TITLE_CHAR_PX: Final = 13
_CAUTION_CHAR_PX: Final = 6.2
_WIDEST_CHAR_PX: Final = 26
"""Of any letter at the sizes used here; half of the room that words are drawn in."""
_TALLEST_PX: Final = 40
_ROW_PX: Final = 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand, px from the upper left corner."""

    figure: Size
    image: Box
    """The slide's picture, one to one."""

    @classmethod
    def around(cls, size: Size) -> Layout:
        """Return the layout for a picture of the slide of this size."""
        room = Size(max(size.width, _MIN_IMAGE.width), max(size.height, _MIN_IMAGE.height))
        figure = Size(room.width + _PANEL + 2 * MARGIN, room.height + HEADER + _FOOTER)
        return cls(figure, Box(MARGIN, HEADER, size.width, size.height))

    @property
    def panel_x(self) -> int:
        """Left edge of the panel's words."""
        return self.figure.width - MARGIN - _PANEL + 32

    @property
    def right(self) -> int:
        """Right edge of everything."""
        return self.figure.width - MARGIN


class Drawing:
    """Draws over a box of a page, in its px: x right, y down. Patches and lines end at its edge.

    Stands for an `Axes`, whose ticks and frames take longer to make than a whole page to draw.
    """

    def __init__(self, figure: Figure, box: Box, page: Size, zorder: float) -> None:
        self._figure, self._zorder = figure, zorder
        self._px = Affine2D().scale(1, -1).translate(box.x, page.height - box.y)
        self._edge = TransformedBbox(Bbox([[0, 0], [box.width, box.height]]), self._px)

    def add_patch(self, patch: Patch) -> None:
        """Add a patch."""
        patch.set_clip_box(self._edge)
        self._add(patch, 0)

    def plot(self, x: Sequence[float], y: Sequence[float], **style: Any) -> None:
        """Add a line, or markers."""
        self._add(Line2D(x, y, clip_box=self._edge, **style), 1)

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Add words with their baseline at y. A dollar sign is a dollar sign."""
        self._add(Text(x, y, words, parse_math=False, **style), 2)

    def _add(self, artist: Artist, above: int) -> None:
        artist.set_transform(self._px)
        artist.set_zorder(self._zorder + above)
        self._figure.add_artist(artist)


class Page:
    """What is drawn on one picture. `finish` gives its pixels."""

    def __init__(self, layout: Layout) -> None:
        size = layout.figure
        self.layout = layout
        self.pixels: RgbArray = np.full((size.height, size.width, 3), 255, np.uint8)
        self._figure = Figure(
            figsize=(size.width / _DPI, size.height / _DPI), dpi=_DPI, facecolor="none"
        )
        self._canvas = FigureCanvasAgg(self._figure)
        self._lines = Drawing(self._figure, Box(0, 0, size.width, size.height), size, 10)
        self._words: list[tuple[_Ink, int, int]] = []

    def paste(self, picture: RgbArray, box: Box) -> None:
        """Put a picture on the page, in a grey frame of one pixel that lies outside of it."""
        self.pixels[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1] = _FRAME_GREY
        self.pixels[box.y : box.bottom, box.x : box.right] = picture

    def axes(self, box: Box) -> Drawing:
        """Return what draws over a box, below the page's own words."""
        return Drawing(self._figure, box, self.layout.figure, 1)

    def text(self, x: float, y: float, words: str, size: float = 9.5, **style: Any) -> None:
        """Write words with their baseline at y. A dollar sign is a dollar sign."""
        left, top = math.floor(x), math.floor(y)
        words, fonts = drawable(words)
        style = {"color": INK, "fontsize": size, **style}
        families = tuple(fonts.pop("fontfamily", ()))
        style |= fonts
        ink = _ink_of(words, x - left, y - top, tuple(sorted(style.items())), families)
        self._words.append((ink, left, top))

    def line(self, x: tuple[float, float], y: tuple[float, float], width: float = 0.8) -> None:
        """Draw a straight line."""
        self._lines.plot(x, y, color=INK, linewidth=width)

    def rectangle(self, box: Box, **style: Any) -> None:
        """Draw a rectangle."""
        self._lines.add_patch(Rectangle((box.x, box.y), box.width, box.height, **style))

    def header(self, title: str, subtitle: str) -> None:
        """Write what the picture shows."""
        room = (self.layout.figure.width - 2 * MARGIN) // _TITLE_CHAR_PX
        self.text(MARGIN, 30, _shortened(drawable(title)[0], room), 15, fontweight="bold")
        self.text(MARGIN, 52, subtitle, color=FAINT)

    def footer(self, right: str) -> None:
        """Write the notice that no picture may lack, and who made it when."""
        y = self.layout.figure.height - 18
        self.text(MARGIN, y, NOTICE, fontweight="bold", color=WARNING)
        self.text(self.layout.right, y, right, color=FAINT, ha="right")

    def caution(self, words: str) -> None:
        """Write above the notice what a reader must not overlook."""
        room = int((self.layout.figure.width - 2 * MARGIN) // _CAUTION_CHAR_PX)
        y = self.layout.figure.height - 36
        self.text(MARGIN, y, _shortened(words, room), 8.5, color=WARNING)

    def scale_bar(self, map_: ProbabilityMap) -> None:
        """Draw a bar of a round length below the slide's picture."""
        image = self.layout.image
        mm_per_px = map_.bounds_l0[2] * map_.mpp.x / 1000 / image.width
        length_mm = nice_length_mm(mm_per_px * min(240, image.width))
        bar = Box(image.x, image.bottom + 16, max(1, round(length_mm / mm_per_px)), 5)
        self.rectangle(bar, color=INK, linewidth=0)
        self.text(bar.right + 8, bar.y + 8, length_label(length_mm), 10)

    def table(self, y: float, rows: Sequence[tuple[str, str]]) -> float:
        """Write names and values into the panel; return the y below them."""
        for row, (name, value) in enumerate(rows):
            self.text(self.layout.panel_x, y + row * _ROW_PX, name, 10, color=FAINT)
            self.text(self.layout.right, y + row * _ROW_PX, value, 10, ha="right")
        return y + len(rows) * _ROW_PX

    def finish(self) -> RgbArray:
        """Return the page's pixels, uint8 (H, W, 3), with all that was drawn."""
        self._canvas.draw()  # type: ignore[no-untyped-call]
        drawn: NDArray[np.uint8] = np.asarray(
            self._canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        )
        _blend(self.pixels, drawn)
        for ink, x, y in self._words:
            ink.put(self.pixels, x, y)
        return self.pixels


@dataclass(frozen=True, slots=True, eq=False)
class _Ink:
    """Words as drawn, to be laid on pages."""

    rgba: NDArray[np.uint8]
    x: int
    """Left edge, px from the pixel that the words are anchored at."""
    y: int

    def put(self, pixels: RgbArray, x: int, y: int) -> None:
        """Lay the words on a page, cut at its edges."""
        left, top = x + self.x, y + self.y
        height, width = self.rgba.shape[:2]
        part = np.s_[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
        below = pixels[part]
        rows, cols = max(0, -top), max(0, -left)
        _blend(below, self.rgba[rows : rows + below.shape[0], cols : cols + below.shape[1]])


@lru_cache(maxsize=512)
def _ink_of(
    words: str,
    x: float,
    y: float,
    style: tuple[tuple[str, Any], ...],
    families: tuple[str, ...],
) -> _Ink:
    """Draw words at a fraction of a pixel. Most words of a page stand on every page."""
    room = Size(2 * (len(words) + 2) * _WIDEST_CHAR_PX, 2 * _TALLEST_PX)
    figure = Figure(figsize=(room.width / _DPI, room.height / _DPI), dpi=_DPI, facecolor="none")
    canvas = FigureCanvasAgg(figure)
    middle = (room.width // 2, room.height // 2)
    drawing = Drawing(figure, Box(0, 0, room.width, room.height), room, 1)
    fonts = {"fontfamily": list(families)} if families else {}
    drawing.text(middle[0] + x, middle[1] + y, words, **dict(style), **fonts)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    rows, cols = (np.flatnonzero(drawn[..., 3].any(axis)) for axis in (1, 0))
    if not len(rows):
        return _Ink(np.zeros((0, 0, 4), np.uint8), 0, 0)
    box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return _Ink(drawn[box].copy(), int(cols[0]) - middle[0], int(rows[0]) - middle[1])


def _blend(below: RgbArray, drawn: NDArray[np.uint8]) -> None:
    """Lay what was drawn over pixels, in place; only what is touched costs anything."""
    # Indices rather than a mask, which numpy would go through three times.
    touched = np.nonzero(drawn[..., 3])
    ink = drawn[touched].astype(np.uint16)
    alpha = ink[:, 3:]
    below[touched] = (below[touched] * (255 - alpha) + ink[:, :3] * alpha + 127) // 255


def _shortened(words: str, n_chars: int) -> str:
    """Cut the middle out of words that are too long: slides differ at both ends of their names.

    A Chinese, Japanese or Korean character is as wide as two others.
    """
    widths = [2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in words]
    if sum(widths) <= n_chars:
        return words
    half = (n_chars - 1) // 2
    n_head = sum(total <= half for total in itertools.accumulate(widths))
    n_tail = sum(total <= half for total in itertools.accumulate(reversed(widths)))
    return f"{words[:n_head]}…{words[len(words) - n_tail :]}"
