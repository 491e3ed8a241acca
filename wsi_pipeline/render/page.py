"""A white page laid out in pixels: a picture of the slide, a panel of words, header and footer.

Pictures are pasted without resampling; matplotlib draws lines and words over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from wsi_pipeline import NOTICE
from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.probability.map import ProbabilityMap
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
        self._words = self.axes(Box(0, 0, size.width, size.height), zorder=2)

    def paste(self, picture: RgbArray, box: Box) -> None:
        """Put a picture on the page, in a grey frame of one pixel that lies outside of it."""
        self.pixels[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1] = _FRAME_GREY
        self.pixels[box.y : box.bottom, box.x : box.right] = picture

    def axes(self, box: Box, zorder: float = 1) -> Axes:
        """Return axes over a box, in its pixels: x right, y down."""
        width, height = self.layout.figure.width, self.layout.figure.height
        axes = self._figure.add_axes(
            (box.x / width, 1 - box.bottom / height, box.width / width, box.height / height),
            zorder=zorder,
        )
        axes.set_axis_off()
        axes.patch.set_visible(False)
        axes.set_xlim(0, box.width)
        axes.set_ylim(box.height, 0)
        return axes

    def text(self, x: float, y: float, words: str, size: float = 9.5, **style: Any) -> None:
        """Write words with their baseline at y. A dollar sign is a dollar sign."""
        self._words.text(x, y, words, fontsize=size, parse_math=False, **{"color": INK, **style})

    def line(self, x: tuple[float, float], y: tuple[float, float], width: float = 0.8) -> None:
        """Draw a straight line."""
        self._words.plot(x, y, color=INK, linewidth=width)

    def rectangle(self, box: Box, **style: Any) -> None:
        """Draw a rectangle."""
        self._words.add_patch(Rectangle((box.x, box.y), box.width, box.height, **style))

    def header(self, title: str, subtitle: str) -> None:
        """Write what the picture shows."""
        room = (self.layout.figure.width - 2 * MARGIN) // _TITLE_CHAR_PX
        self.text(MARGIN, 30, _shortened(title, room), 15, fontweight="bold")
        self.text(MARGIN, 52, subtitle, color=FAINT)

    def footer(self, right: str) -> None:
        """Write the notice that no picture may lack, and who made it when."""
        y = self.layout.figure.height - 18
        self.text(MARGIN, y, NOTICE, fontweight="bold", color=WARNING)
        self.text(self.layout.right, y, right, color=FAINT, ha="right")

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
        # Lines and words are a few percent of the pixels: only these are blended.
        touched = drawn[..., 3] > 0
        ink = drawn[touched].astype(np.uint16)
        alpha = ink[:, 3:]
        below = self.pixels[touched]
        self.pixels[touched] = (below * (255 - alpha) + ink[:, :3] * alpha + 127) // 255
        return self.pixels


def _shortened(words: str, n_chars: int) -> str:
    """Cut the middle out of words that are too long: slides differ at both ends of their names."""
    if len(words) <= n_chars:
        return words
    half = (n_chars - 1) // 2
    return f"{words[:half]}…{words[-half:]}"
