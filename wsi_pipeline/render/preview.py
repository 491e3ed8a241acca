"""The preview page: one picture from which a user sees why a slide fails or will do."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import find_contours

from wsi_pipeline import NOTICE
from wsi_pipeline.geometry import BoolMask, Box, RgbArray, Size
from wsi_pipeline.render.page import FAINT, INK, WARNING, Drawing, Layout, Page
from wsi_pipeline.render.scale import length_label, nice_length_mm
from wsi_pipeline.render.stain_plot import StainPlot, draw_stain_plot, plot_height
from wsi_pipeline.tissue import Artifacts, TissueMask

TISSUE: Final = "#00735c"
PEN: Final = "#d01c8b"
BLACK: Final = "#2b5cc4"
DEBRIS: Final = "#e08214"
FLAG: Final = "#c00000"
GOOD: Final = "#1b6e3c"
CAUTION: Final = "#8a5a00"

_WIDTH: Final = 1800
_MARGIN: Final = 24
_PICTURE: Final = Size(1116, 720)
_PANEL_X: Final = 1180
_PATCH_PX: Final = 128
_GAP: Final = 10
_ROW_PX: Final = 19
_VERDICT_CHARS: Final = 205
_NOTE_CHARS: Final = 31
_FILL_ALPHA: Final = 0.62


@dataclass(frozen=True, slots=True)
class Place:
    """A patch, µm from the corner of the scanned bounds."""

    x_um: float
    y_um: float
    side_um: float
    letter: str = ""
    """Of a sample shown below; empty for a patch that carries a quality flag."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodRow:
    """The sample patches by one method of normalization."""

    name: str
    patches: tuple[RgbArray, ...]
    notes: tuple[str, ...] = ()
    """What the fit says of itself; as many lines as it needs."""
    is_in_force: bool = False
    """True for the method that a run would use."""
    has_fallen_back: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PreviewPage:
    """Everything on the page, ready to be read."""

    title: str
    subtitle: str
    problems: tuple[str, ...]
    """Why a run of this slide fails or is empty."""
    cautions: tuple[str, ...]
    """What a user should know before trusting it."""
    thumbnail: RgbArray
    um_px: float | None
    """Of the thumbnail; None where the slide's resolution is unknown."""
    findings: TissueMask | None
    """What was found on the scanned bounds, at any resolution; None where nothing could be."""
    places: tuple[Place, ...]
    tables: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """Headings, each with names and values."""
    methods: tuple[MethodRow, ...]
    stain: StainPlot | None
    footer: str


def draw_preview(page: PreviewPage) -> RgbArray:
    """Draw the page.

    Returns
    -------
    ndarray of uint8, shape (H, 1800, 3)
    """
    verdict = _verdict_lines(page)
    top = 92 + 20 * len(verdict)
    image = _fitted(page.thumbnail, top)
    samples_top = image.bottom + 84
    plot = Box(_PANEL_X + 34, _panel_bottom(page, top) + 50, _WIDTH - _MARGIN - _PANEL_X - 34, 330)
    height = _MARGIN * 2 + max(
        samples_top + _samples_height(page),
        _panel_bottom(page, top) if page.stain is None else plot.bottom + plot_height(page.stain),
    )
    sheet = Page(Layout(Size(_WIDTH, height), image))
    sheet.header(page.title, page.subtitle)
    for row, (words, color) in enumerate(verdict):
        sheet.text(_MARGIN, 82 + 20 * row, words, 10.5, color=color, fontweight="bold")
    _draw_slide(sheet, page, image)
    _draw_tables(sheet, page, top)
    if page.methods:
        _draw_methods(sheet, page, samples_top)
    if page.stain is not None:
        draw_stain_plot(sheet, page.stain, plot)
    y = height - 20
    sheet.text(_MARGIN, y, NOTICE, fontweight="bold", color=WARNING)
    sheet.text(_WIDTH - _MARGIN, y, page.footer, color=FAINT, ha="right")
    return sheet.finish()


def _verdict_lines(page: PreviewPage) -> list[tuple[str, str]]:
    lines = []
    for words, color in (
        *((f"✕  {words}", WARNING) for words in page.problems),
        *((f"!  {words}", CAUTION) for words in page.cautions),
    ):
        wrapped = textwrap.wrap(words, _VERDICT_CHARS, subsequent_indent="    ")
        lines += [(line, color) for line in wrapped]
    return lines or [("✓  Nothing speaks against this slide", GOOD)]


def _fitted(thumbnail: RgbArray, top: int) -> Box:
    """Return where the thumbnail is shown, enlarged or reduced to its room."""
    height, width = thumbnail.shape[:2]
    scale = min(_PICTURE.width / width, _PICTURE.height / height)
    return Box(_MARGIN, top, max(1, round(width * scale)), max(1, round(height * scale)))


def _panel_bottom(page: PreviewPage, top: int) -> int:
    return top + sum((len(rows) + 2) * _ROW_PX for _, rows in page.tables)


def _samples_height(page: PreviewPage) -> int:
    return 40 + len(page.methods) * (_PATCH_PX + _GAP) if page.methods else 0


def _draw_slide(sheet: Page, page: PreviewPage, image: Box) -> None:
    shown = Image.fromarray(page.thumbnail).resize(
        (image.width, image.height), _filter(page, image)
    )
    pixels = np.asarray(shown).copy()
    if page.findings is not None:
        for mask, color in _tints(page.findings.artifacts):
            inside = _resized(mask, image)
            rgb = np.array(_rgb(color))
            pixels[inside] = (rgb * _FILL_ALPHA + pixels[inside] * (1 - _FILL_ALPHA)).astype(
                np.uint8
            )
    sheet.paste(pixels, image)
    axes = sheet.axes(image)
    if page.findings is not None:
        _draw_outline(axes, page.findings.mask, image)
    for place in page.places if page.um_px else ():
        _draw_place(axes, image, place, image.width / (page.thumbnail.shape[1] * page.um_px))
    _draw_scale_and_legend(sheet, page, image)


def _filter(page: PreviewPage, image: Box) -> Image.Resampling:
    enlarged = image.width > page.thumbnail.shape[1]
    return Image.Resampling.BICUBIC if enlarged else Image.Resampling.BOX


def _tints(found: Artifacts) -> tuple[tuple[BoolMask, str], ...]:
    return ((found.debris, DEBRIS), (found.black, BLACK), (found.pen, PEN))


def _resized(mask: BoolMask, image: Box) -> NDArray[np.bool_]:
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    # Anything above none: debris a single px wide must survive the reduction.
    reduced = picture.resize((image.width, image.height), Image.Resampling.BOX)
    return np.asarray(reduced) > 0 if image.width < mask.shape[1] else np.asarray(reduced) > 127


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return (red, green, blue)


def _draw_outline(axes: Drawing, tissue: BoolMask, image: Box) -> None:
    zoom = (image.width / tissue.shape[1], image.height / tissue.shape[0])
    for ring in find_contours(np.pad(tissue, 1).astype(np.float32), 0.5):
        # Padding moved the mask by one px; a contour counts from centers of px.
        x, y = (ring[:, 1] - 0.5) * zoom[0], (ring[:, 0] - 0.5) * zoom[1]
        axes.plot(x, y, color="white", linewidth=2.2, alpha=0.8)
        axes.plot(x, y, color=TISSUE, linewidth=1.1)


def _draw_place(axes: Drawing, image: Box, place: Place, px_per_um: float) -> None:
    side = max(4.0, place.side_um * px_per_um)
    x, y = place.x_um * px_per_um, place.y_um * px_per_um
    strokes = ((INK, 1.5), ("white", 3.2)) if place.letter else ((FLAG, 1.1),)
    for color, line_width in reversed(strokes):
        square = Rectangle((x, y), side, side, fill=False, edgecolor=color, linewidth=line_width)
        axes.add_patch(square)
    if place.letter:
        axes.text(
            min(x + side + 3 if side < 60 else x + 6, image.width - 14),
            max(y + 2 if side < 60 else y + 18, 14),
            place.letter,
            size=12,
            weight="bold",
            color=INK,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _draw_scale_and_legend(sheet: Page, page: PreviewPage, image: Box) -> None:
    y = image.bottom + 16
    if page.um_px is None:
        sheet.text(image.x, y + 8, "no scale bar: µm/px is unknown", 10, color=WARNING)
    else:
        mm_per_px = page.um_px * page.thumbnail.shape[1] / image.width / 1000
        length_mm = nice_length_mm(mm_per_px * min(200, image.width))
        bar = Box(image.x, y, max(1, round(length_mm / mm_per_px)), 5)
        sheet.rectangle(bar, color=INK, linewidth=0)
        sheet.text(bar.right + 8, bar.y + 8, length_label(length_mm), 10)
    if page.findings is None:
        return
    x = image.x
    flagged = any(not place.letter for place in page.places)
    kinds = (
        ("outline", TISSUE, "tissue", page.findings.mask.any()),
        ("fill", PEN, "pen", page.findings.artifacts.pen.any()),
        ("fill", BLACK, "black fill", page.findings.artifacts.black.any()),
        ("fill", DEBRIS, "debris", page.findings.artifacts.debris.any()),
        ("outline", FLAG, "flagged patch", flagged),
    )
    for kind, color, words, is_there in kinds:
        box = Box(x, y + 22, 20, 12)
        style = {"fill": False, "edgecolor": color} if kind == "outline" else {"color": color}
        sheet.rectangle(box, linewidth=1.6 if kind == "outline" else 0, **style)
        label = words if is_there else f"no {words}"
        sheet.text(box.right + 6, box.y + 10, label, 9.5, color=INK if is_there else FAINT)
        x += 44 + 8 * len(label)


def _draw_tables(sheet: Page, page: PreviewPage, top: int) -> None:
    y = top + 10
    for heading, rows in page.tables:
        sheet.text(_PANEL_X, y, heading, 11, fontweight="bold")
        for row, (name, value) in enumerate(rows, start=1):
            sheet.text(_PANEL_X, y + row * _ROW_PX, name, 9.5, color=FAINT)
            sheet.text(_WIDTH - _MARGIN, y + row * _ROW_PX, value, 9.5, ha="right")
        y += (len(rows) + 2) * _ROW_PX


def _draw_methods(sheet: Page, page: PreviewPage, top: int) -> None:
    left = _MARGIN + 96
    n_patches = max(len(method.patches) for method in page.methods)
    sheet.text(_MARGIN, top + 10, "Patches as the model would see them", 11, fontweight="bold")
    for column in range(n_patches):
        x = left + column * (_PATCH_PX + _GAP) + _PATCH_PX / 2
        sheet.text(x, top + 30, "ABCDEFGHIJ"[column], 11, fontweight="bold", ha="center")
    for row, method in enumerate(page.methods):
        y = top + 38 + row * (_PATCH_PX + _GAP)
        _draw_method(sheet, method, Box(left, y, _PATCH_PX, _PATCH_PX), n_patches)


def _draw_method(sheet: Page, method: MethodRow, first: Box, n_patches: int) -> None:
    weight = "bold" if method.is_in_force else "normal"
    sheet.text(_MARGIN, first.y + 18, method.name, 10.5, fontweight=weight)
    if method.is_in_force:
        sheet.text(_MARGIN, first.y + 36, "as in a run", 8.5, color=FAINT)
    for column, patch in enumerate(method.patches):
        box = Box(first.x + column * (_PATCH_PX + _GAP), first.y, _PATCH_PX, _PATCH_PX)
        sheet.paste(_enlarged(patch), box)
    x = first.x + n_patches * (_PATCH_PX + _GAP) + 6
    for row, (line, color) in enumerate(_note_lines(method)):
        sheet.text(x, first.y + 14 + row * 16, line, 9, color=color)


def _note_lines(method: MethodRow) -> Sequence[tuple[str, str]]:
    lines = []
    for number, note in enumerate(method.notes):
        color = CAUTION if method.has_fallen_back and number == 0 else INK
        lines += [(line, color) for line in textwrap.wrap(note, _NOTE_CHARS)]
    shown = lines[:8]
    return [*shown[:-1], (f"{shown[-1][0]} …", shown[-1][1])] if len(lines) > 8 else shown


def _enlarged(patch: RgbArray) -> RgbArray:
    side = (_PATCH_PX, _PATCH_PX)
    return np.asarray(Image.fromarray(patch).resize(side, Image.Resampling.BICUBIC))
