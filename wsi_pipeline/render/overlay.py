"""`overlay.png`: what a pathologist looks at first.

The picture is laid out in pixels. The slide is composed in numpy and placed without resampling;
matplotlib adds outlines, numbers, color bar, scale bar and words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as DrawnPath
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.probability.map import ProbabilityMap
from wsi_pipeline.regions import Region, Regions, SlideTotals
from wsi_pipeline.render import blend as blending
from wsi_pipeline.render.blend import Blend
from wsi_pipeline.render.png import write_png
from wsi_pipeline.render.scale import length_label, nice_length_mm

NOTICE: Final = "Research use only. Not for diagnosis."
MAX_NUMBERS: Final = 99
"""Regions that get their number drawn, the largest first."""

_DPI: Final = 100
_MARGIN: Final = 24
_HEADER: Final = 64
_FOOTER: Final = 76
_PANEL: Final = 268
_BAR: Final = Size(26, 320)
_MIN_IMAGE: Final = Size(520, 560)
"""Room kept for words where the slide is smaller, px."""
_INK: Final = "#1a1a1a"
_FAINT: Final = "#666666"
_FRAME_GREY: Final = 170


@dataclass(frozen=True, slots=True)
class Caption:
    """What the overlay says about where it comes from."""

    slide: str
    mpp_source: str
    model: str
    """Name and version."""
    date: str
    software: str
    """Name and version of this program."""

    @classmethod
    def of(cls, map_: ProbabilityMap, *, date: str, software: str) -> Caption:
        """Return the caption from what the map's attributes say."""
        attributes = map_.attributes
        model = attributes.get("model", {})
        return cls(
            slide=str(attributes.get("slide", {}).get("name", "slide")),
            mpp_source=str(attributes.get("mpp_source", "source unknown")),
            model=f"{model.get('name', 'unknown')} ({str(model.get('sha256', ''))[:8]})",
            date=date,
            software=software,
        )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things stand, px from the upper left corner."""

    figure: Size
    image: Box

    @classmethod
    def around(cls, size: Size) -> _Layout:
        room = Size(max(size.width, _MIN_IMAGE.width), max(size.height, _MIN_IMAGE.height))
        figure = Size(room.width + _PANEL + 2 * _MARGIN, room.height + _HEADER + _FOOTER)
        return cls(figure, Box(_MARGIN, _HEADER, size.width, size.height))

    @property
    def bar(self) -> Box:
        """The color bar."""
        return Box(self.figure.width - _MARGIN - _PANEL + 32, _HEADER + 36, _BAR.width, _BAR.height)

    def swatch(self, row: int) -> Box:
        """Return the sample in a row of the legend."""
        return Box(self.bar.x, self.bar.bottom + 30 + row * 24, 22, 14)

    def axes(self, figure: Figure, box: Box) -> Axes:
        """Return axes over a box, in its pixels: x right, y down."""
        width, height = self.figure.width, self.figure.height
        axes = figure.add_axes(
            (box.x / width, 1 - box.bottom / height, box.width / width, box.height / height)
        )
        axes.set_axis_off()
        axes.patch.set_visible(False)
        axes.set_xlim(0, box.width)
        axes.set_ylim(box.height, 0)
        return axes


def write_overlay(
    thumbnail: RgbArray,
    map_: ProbabilityMap,
    regions: Regions,
    caption: Caption,
    *,
    overlay_path: Path,
    heatmap_path: Path,
    blend: Blend | None = None,
) -> Box:
    """Write `overlay.png` and `heatmap.png`.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        The scanned bounds of the slide; its pixels are drawn one to one.
    map_ : ProbabilityMap
    regions : Regions
    caption : Caption
    overlay_path, heatmap_path : Path
        The heatmap has the thumbnail's size.
    blend : Blend, optional
        Colors and opacity.

    Returns
    -------
    Box
        Where the thumbnail's pixels lie in the overlay.

    Raises
    ------
    StorageError
        Where a file cannot be written.
    """
    blend = blend or Blend()
    picture, image_box = draw_overlay(thumbnail, map_, regions, caption, blend)
    size = Size(thumbnail.shape[1], thumbnail.shape[0])
    write_png(blending.heatmap(map_, size, blend), heatmap_path)
    write_png(picture, overlay_path)
    return image_box


def draw_overlay(
    thumbnail: RgbArray, map_: ProbabilityMap, regions: Regions, caption: Caption, blend: Blend
) -> tuple[RgbArray, Box]:
    """Draw the overlay.

    Returns
    -------
    picture : ndarray of uint8, shape (H', W', 3)
    image_box : Box
        Where the thumbnail's pixels lie in it, one to one.
    """
    layout = _Layout.around(Size(thumbnail.shape[1], thumbnail.shape[0]))
    tissue_rgb = _mean_tissue_rgb(thumbnail, map_)
    page = _page(blending.overlay(thumbnail, map_, blend), layout, blend, tissue_rgb)
    figure = Figure(
        figsize=(layout.figure.width / _DPI, layout.figure.height / _DPI),
        dpi=_DPI,
        facecolor="none",
    )
    canvas = FigureCanvasAgg(figure)
    draw_regions(layout.axes(figure, layout.image), map_, regions, layout.image)
    whole = layout.axes(figure, Box(0, 0, layout.figure.width, layout.figure.height))
    _draw_words(whole, layout, map_, regions, caption)
    return _flatten(page, canvas), layout.image


def _flatten(page: RgbArray, canvas: FigureCanvasAgg) -> RgbArray:
    """Lay what matplotlib drew, a few percent of the pixels, over the page; in place."""
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    touched = drawn[..., 3] > 0
    ink = drawn[touched].astype(np.uint16)
    alpha = ink[:, 3:]
    page[touched] = (page[touched] * (255 - alpha) + ink[:, :3] * alpha + 127) // 255
    return page


def draw_regions(axes: Axes, map_: ProbabilityMap, regions: Regions, image: Box) -> None:
    """Draw outlines, dark on a light halo, and numbers into axes in px of the image."""
    if not len(regions):
        return
    x, y, width, height = map_.bounds_l0
    px_per_l0 = np.array([image.width / width, image.height / height])

    def to_px(points_l0: NDArray[np.float64]) -> NDArray[np.float64]:
        placed: NDArray[np.float64] = (points_l0 - (x, y)) * px_per_l0
        return placed

    outlines = [shapely.transform(region.outline_l0, to_px) for region in regions]
    path = DrawnPath.make_compound_path(*(_path(outline) for outline in outlines))
    for color, line_width in (("white", 3.2), (_INK, 1.45)):
        axes.add_patch(
            PathPatch(path, fill=False, edgecolor=color, linewidth=line_width, joinstyle="round")
        )
    for region, outline in zip(regions.items[:MAX_NUMBERS], outlines, strict=False):
        _draw_number(axes, region, outline, image)


def _path(outline: shapely.Polygon | shapely.MultiPolygon) -> DrawnPath:
    rings = [
        ring
        for polygon in shapely.get_parts(outline)
        for ring in (polygon.exterior, *polygon.interiors)
    ]
    return DrawnPath.make_compound_path(
        *(DrawnPath(shapely.get_coordinates(ring), closed=True) for ring in rings)
    )


def _draw_number(
    axes: Axes, region: Region, outline: shapely.Polygon | shapely.MultiPolygon, image: Box
) -> None:
    """Put the number at the upper right corner of the region, inside the picture."""
    corners = shapely.get_coordinates(outline)
    top = corners[corners[:, 1] == corners[:, 1].min()]
    x, y = top[top[:, 0].argmax()]
    axes.text(
        min(max(x + 4, 4), image.width - 20),
        min(max(y - 4, 14), image.height - 4),
        str(region.number),
        fontsize=10.5,
        fontweight="bold",
        color=_INK,
        path_effects=[withStroke(linewidth=2.8, foreground="white")],
    )


def _page(
    picture: RgbArray, layout: _Layout, blend: Blend, tissue_rgb: NDArray[np.uint8]
) -> RgbArray:
    """Return the white page with the slide's picture, the color ramp and the legend's samples."""
    page = np.full((layout.figure.height, layout.figure.width, 3), 255, np.uint8)
    _paste(page, picture, layout.image)
    bar = layout.bar
    falling = np.linspace(1, 0, bar.height, dtype=np.float32)[:, np.newaxis]
    ramp = blend.translucent(np.broadcast_to(falling, (bar.height, bar.width)))
    swatch = layout.swatch(2)
    hatch = blending.hatch_sample(Size(swatch.width, swatch.height))
    for box, layer in ((bar, ramp), (layout.swatch(1), hatch * 0), (swatch, hatch)):
        ground = np.broadcast_to(tissue_rgb, (box.height, box.width, 3))
        _paste(page, blending.over(np.ascontiguousarray(ground), layer), box)
    return page


def _paste(page: RgbArray, picture: RgbArray, box: Box) -> None:
    """Put a picture on the page, in a grey frame of one pixel that lies outside of it."""
    page[box.y - 1 : box.bottom + 1, box.x - 1 : box.right + 1] = _FRAME_GREY
    page[box.y : box.bottom, box.x : box.right] = picture


def _mean_tissue_rgb(thumbnail: RgbArray, map_: ProbabilityMap) -> NDArray[np.uint8]:
    """Return the mean color of the tissue, the ground on which the colors are seen."""
    lookup = blending.CellLookup.of(map_, Size(thumbnail.shape[1], thumbnail.shape[0]))
    is_tissue = lookup.spread(map_.tissue > 0.5)[::4, ::4]
    if not is_tissue.any():
        return np.full(3, 255, np.uint8)
    return np.asarray(thumbnail[::4, ::4][is_tissue].mean(axis=0).round(), np.uint8)


def _draw_words(
    page: Axes, layout: _Layout, map_: ProbabilityMap, regions: Regions, caption: Caption
) -> None:
    left = layout.image.x
    page.text(left, 30, caption.slide, fontsize=15, fontweight="bold", color=_INK)
    page.text(left, 52, _subtitle(map_, regions, caption), fontsize=9.5, color=_FAINT)
    _draw_scale_bar(page, layout, map_)
    bottom = layout.figure.height
    page.text(left, bottom - 18, NOTICE, fontsize=9.5, fontweight="bold", color="#a01010")
    page.text(
        layout.figure.width - _MARGIN,
        bottom - 18,
        f"{caption.software}  ·  {caption.date}",
        fontsize=9.5,
        color=_FAINT,
        ha="right",
    )
    _draw_color_bar(page, layout, regions.threshold)
    _draw_legend(page, layout)
    _draw_totals(page, layout, SlideTotals.of(map_, regions))


def _subtitle(map_: ProbabilityMap, regions: Regions, caption: Caption) -> str:
    mpp = f"{map_.mpp.x:.4g}"
    if map_.mpp.anisotropy > 1.0005:
        mpp += f" x {map_.mpp.y:.4g}"
    return (
        f"{mpp} µm/px ({caption.mpp_source})  ·  model {caption.model}"
        f"  ·  threshold {regions.threshold:.3g}"
    )


def _draw_scale_bar(page: Axes, layout: _Layout, map_: ProbabilityMap) -> None:
    mm_per_px = map_.bounds_l0[2] * map_.mpp.x / 1000 / layout.image.width
    length_mm = nice_length_mm(mm_per_px * min(240, layout.image.width))
    x, y = layout.image.x, layout.image.bottom + 16
    page.add_patch(Rectangle((x, y), length_mm / mm_per_px, 5, color=_INK, linewidth=0))
    page.text(
        x + length_mm / mm_per_px + 8, y + 8, length_label(length_mm), fontsize=10, color=_INK
    )


def _draw_color_bar(page: Axes, layout: _Layout, threshold: float) -> None:
    bar = layout.bar
    page.text(bar.x, bar.y - 28, "Probability of IDC", fontsize=11, fontweight="bold", color=_INK)
    page.text(bar.x, bar.y - 10, "as seen on this slide's tissue", fontsize=8.5, color=_FAINT)
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = bar.bottom - value * bar.height
        page.plot([bar.right, bar.right + 4], [y, y], color=_INK, linewidth=0.8)
        page.text(bar.right + 8, y + 4, f"{value:g}", fontsize=9.5, color=_INK)
    y = bar.bottom - threshold * bar.height
    page.plot([bar.x - 5, bar.right], [y, y], color=_INK, linewidth=1.4)
    page.text(bar.right + 44, y + 4, f"◂ threshold {threshold:.3g}", fontsize=9.5, color=_INK)


def _draw_legend(page: Axes, layout: _Layout) -> None:
    box = layout.swatch(0)
    outline = Rectangle((box.x, box.y), box.width, box.height, fill=False, edgecolor=_INK)
    page.add_patch(outline)
    words = ("IDC region, with its number", "Low probability: slide shows", "Tissue not classified")
    for row, text in enumerate(words):
        swatch = layout.swatch(row)
        page.text(swatch.right + 8, swatch.y + 11, text, fontsize=9.5, color=_INK)


def _draw_totals(page: Axes, layout: _Layout, totals: SlideTotals) -> None:
    x, y = layout.bar.x, layout.swatch(3).y + 16
    for row, (name, value) in enumerate(_total_rows(totals)):
        page.text(x, y + row * 20, name, fontsize=10, color=_FAINT)
        page.text(layout.figure.width - _MARGIN, y + row * 20, value, fontsize=10, ha="right")


def _total_rows(totals: SlideTotals) -> list[tuple[str, str]]:
    if totals.n_classified == 0:
        return [("Nothing was classified", "")]
    share = "" if np.isnan(totals.idc_share) else f"{totals.idc_share:.1%}"
    return [
        ("IDC regions", str(totals.n_regions)),
        ("IDC area", f"{totals.idc_mm2:.2f} mm²"),
        ("Tissue area", f"{totals.tissue_mm2:.2f} mm²"),
        ("IDC share of tissue", share),
        ("Highest probability", f"{totals.max_probability:.2f}"),
    ]
