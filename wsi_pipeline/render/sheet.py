"""The review sheet: one A4 page a slide, to print or to file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from wsi_pipeline import NOTICE
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.files import write_atomic
from wsi_pipeline.geometry import Box, RgbArray
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.regions import Regions, SlideTotals
from wsi_pipeline.render import blend as blending
from wsi_pipeline.render.blend import Blend
from wsi_pipeline.render.fonts import drawable
from wsi_pipeline.render.outlines import draw_regions
from wsi_pipeline.render.overlay import Caption, subtitle, total_rows
from wsi_pipeline.render.page import FAINT, INK, WARNING
from wsi_pipeline.render.scale import length_label, nice_length_mm

MAX_ROWS: Final = 14
"""Regions in the table, the largest first, where the notes leave room for them."""
FEW_ROWS: Final = 5
"""Regions in the table however many notes there are."""

_A4_INCH: Final = (11.69, 8.27)
_DPI: Final = 150
_COLUMN: Final = 0.655
"""Left edge of the column of words, share of the page."""
_RIGHT: Final = 0.975
_LINE: Final = 0.0185
_WORDS_TOP: Final = 0.632
_WORDS_END: Final = 0.05
"""Nothing but the footer stands below."""


def write_sheet(
    thumbnail: RgbArray,
    map_: ProbabilityMap,
    regions: Regions,
    caption: Caption,
    *,
    notes: Sequence[tuple[str, str]],
    path: Path,
    blend: Blend | None = None,
) -> None:
    """Write the review sheet of one slide.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        The scanned bounds of the slide.
    map_ : ProbabilityMap
    regions : Regions
    caption : Caption
    notes : sequence of (name, value)
        Quality flags, versions and whatever else a reviewer has to know.
    path : Path
        ``.png`` or ``.pdf``.
    blend : Blend, optional
        Colors and opacity.

    Raises
    ------
    ConfigError
        Where the path has another suffix.
    StorageError
        Where the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in {".png", ".pdf"}:
        raise ConfigError(f"{path.name}: a sheet is .png or .pdf", "Change the file's suffix")
    blend = blend or Blend()
    figure = Figure(figsize=_A4_INCH, dpi=_DPI, facecolor="white")
    _draw_heading(figure, map_, regions, caption)
    _draw_slide(figure, thumbnail, map_, regions, blend)
    _draw_plain(figure, thumbnail)
    _draw_histogram(figure, map_, regions.threshold, blend)
    bottom = _draw_rows(figure, _WORDS_TOP, "This slide", total_rows(SlideTotals.of(map_, regions)))
    n_regions = _regions_that_fit(bottom, len(notes))
    bottom = _draw_regions_table(figure, bottom - _LINE, regions, n_regions)
    _draw_rows(figure, bottom - _LINE, "Notes", _fitting(notes, bottom - _LINE))
    write_atomic(path, _encode(figure, suffix))


def _encode(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".pdf":
        # Without a date: the same slide gives the same bytes.
        canvas = FigureCanvasPdf(figure)
        canvas.print_pdf(buffer, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
    else:
        FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _draw_heading(figure: Figure, map_: ProbabilityMap, regions: Regions, caption: Caption) -> None:
    title, fonts = drawable(caption.slide)
    title_style: dict[str, Any] = {
        "size": 14,
        "fontweight": "bold",
        "color": INK,
        "parse_math": False,
        **fonts,
    }
    figure.text(0.025, 0.952, title, **title_style)
    figure.text(0.025, 0.928, subtitle(map_, caption, regions.threshold), size=8, color=FAINT)
    figure.text(0.025, 0.048, map_.familiarity_caution, size=8.5, color=WARNING)
    figure.text(0.025, 0.025, NOTICE, size=8.5, weight="bold", color=WARNING)
    made = f"{caption.software}  ·  {caption.date}"
    figure.text(_RIGHT, 0.025, made, size=8, color=FAINT, ha="right")


def _draw_slide(
    figure: Figure, thumbnail: RgbArray, map_: ProbabilityMap, regions: Regions, blend: Blend
) -> None:
    height, width = thumbnail.shape[:2]
    axes = figure.add_axes((0.025, 0.09, _COLUMN - 0.05, 0.82), anchor="NW")
    _show(axes, blending.overlay(thumbnail, map_, blend))
    axes.autoscale(False)
    draw_regions(axes, map_, regions, Box(0, 0, width, height), scale=0.65)
    mm_per_px = map_.bounds_l0[2] * map_.mpp.x / 1000 / width
    length_mm = nice_length_mm(mm_per_px * width / 5)
    end = length_mm / mm_per_px
    below = height * 1.02
    axes.plot(
        [0, end], [below, below], color=INK, linewidth=3, clip_on=False, solid_capstyle="butt"
    )
    axes.text(end + width * 0.01, below, length_label(length_mm), size=8, va="center")
    hatched = "hatched: tissue that was not classified"
    hatched += "; red: doubtful" if blend.hatches_flagged else ""
    axes.text(width, below, hatched, size=7, color=FAINT, ha="right", va="center")


def _draw_plain(figure: Figure, thumbnail: RgbArray) -> None:
    _show(figure.add_axes((_COLUMN, 0.68, 0.14, 0.225), anchor="NW"), thumbnail[::2, ::2])


def _show(axes: Axes, picture: RgbArray) -> None:
    height, width = picture.shape[:2]
    axes.imshow(picture, extent=(0, width, height, 0), interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#aaaaaa")


def _draw_histogram(figure: Figure, map_: ProbabilityMap, threshold: float, blend: Blend) -> None:
    axes = figure.add_axes((_COLUMN + 0.175, 0.715, 0.145, 0.175))
    ramp = blend.opaque(np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis])
    # The colors of the whole scale, also where no cell has them.
    bar = axes.inset_axes((0, -0.23, 1, 0.06))
    bar.imshow(ramp, extent=(0, 1, 0, 1), aspect="auto")
    bar.set_axis_off()
    known = map_.values[~np.isnan(map_.values)]
    counts, edges = np.histogram(known, bins=20, range=(0, 1))
    centers = ((edges[:-1] + edges[1:]) / 2).astype(np.float32)
    colors = blend.opaque(centers) / 255
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=colors)
    axes.axvline(threshold, color=INK, linewidth=1)
    # Most tissue is benign: on a linear axis the few cells above the threshold would vanish.
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, 1)
    axes.set_title("Cells by probability of IDC", size=8, color=INK, loc="left")
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_rows(figure: Figure, top: float, heading: str, rows: Sequence[tuple[str, str]]) -> float:
    """Write names and values under a heading; return the y below them."""
    figure.text(_COLUMN, top, heading, size=9, weight="bold", color=INK)
    for row, (name, value) in enumerate(rows, start=1):
        y = top - row * _LINE
        figure.text(_COLUMN, y, name, size=8, color=FAINT, parse_math=False)
        words, fonts = drawable(value)
        figure.text(_RIGHT, y, words, size=8, color=INK, ha="right", parse_math=False, **fonts)
    return top - (len(rows) + 1) * _LINE


def _regions_that_fit(bottom: float, n_notes: int) -> int:
    """Return how many regions leave room for the notes; a few are shown in any case."""
    # Two gaps, two headings, the names of the columns and the line of what is left out.
    n_lines = int((bottom - _WORDS_END) / _LINE) - n_notes - 6
    return max(FEW_ROWS, min(MAX_ROWS, n_lines))


def _fitting(notes: Sequence[tuple[str, str]], top: float) -> Sequence[tuple[str, str]]:
    """Return the notes, or as many as there is room for and how many are left out."""
    n_lines = int((top - _WORDS_END) / _LINE)
    if len(notes) <= n_lines:
        return notes
    return [*notes[: n_lines - 1], ("", f"{len(notes) - n_lines + 1} more lines in status.json")]


def _draw_regions_table(figure: Figure, top: float, regions: Regions, n_rows: int) -> float:
    figure.text(_COLUMN, top, "Regions", size=9, weight="bold", color=INK)
    if not len(regions):
        figure.text(_COLUMN, top - _LINE, "none at this threshold", size=8, color=FAINT)
        return top - 2 * _LINE
    columns = (0.02, 0.11, 0.2, 0.27, 0.32)
    table = [("no.", "area mm²", "perimeter mm", "mean", "max")]
    table += [
        (
            str(region.number),
            f"{region.area_mm2:.2f}",
            f"{region.perimeter_mm:.1f}",
            f"{region.mean_probability:.2f}",
            f"{region.max_probability:.2f}",
        )
        for region in regions.items[:n_rows]
    ]
    for row, cells in enumerate(table, start=1):
        color = FAINT if row == 1 else INK
        for right, cell in zip(columns, cells, strict=True):
            figure.text(_COLUMN + right, top - row * _LINE, cell, size=8, color=color, ha="right")
    left_out = len(regions) - n_rows
    if left_out > 0:
        y = top - (len(table) + 1) * _LINE
        figure.text(_COLUMN, y, f"and {left_out} smaller ones", size=8, color=FAINT)
    return top - (len(table) + 1 + (left_out > 0)) * _LINE
