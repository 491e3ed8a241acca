"""Measures of an archive's slides one after the other, the ones that stand apart named."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsi_pipeline.files import write_atomic
from wsi_pipeline.render.fonts import drawable
from wsi_pipeline.render.page import FAINT, INK, WARNING

SCANNER_COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colors; a seventh scanner takes the first again."""
MAX_NAMES: Final = 12
"""Slides named in one panel, those farthest from the median."""
MAX_DATES: Final = 6
"""Dates written along a panel's axis."""
_SIZE_INCH: Final = (13.0, 9.0)
_DPI: Final = 120


@dataclass(frozen=True, slots=True, eq=False)
class Trend:
    """One measure over the slides."""

    title: str
    values: NDArray[np.float64]
    """float64, shape (n,); NaN = not measured."""
    outliers: Mapping[int, str]
    """Index and name of the slides that stand apart."""


def write_trends(
    trends: Sequence[Trend], scanners: Sequence[str], dates: Sequence[str], path: Path
) -> None:
    """Write one panel a measure, slides from left to right, as a PNG.

    Parameters
    ----------
    trends : sequence of Trend
    scanners : sequence of str
        Of each slide; gives its color.
    dates : sequence of str
        Of each slide; some stand along the axis.
    path : Path

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    figure = Figure(figsize=_SIZE_INCH, dpi=_DPI, facecolor="white", layout="constrained")
    n_rows = -(-len(trends) // 2)
    panels = figure.subplots(n_rows, 2, squeeze=False, sharex=True)
    for trend, axes in zip(trends, panels.flat, strict=False):
        _draw(axes, trend, scanners)
    for axes in panels[-1]:
        axes.set_xlabel("slide, by scanner and date", size=9, color=FAINT)
        ticks = date_ticks(scanners)
        axes.set_xticks(ticks, [dates[tick] or "no date" for tick in ticks])
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=6, frameon=False, fontsize=9)
    figure.suptitle(f"Drift over {len(scanners)} slides", x=0.01, ha="left", size=13, weight="bold")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    write_atomic(path, buffer.getvalue())


def date_ticks(scanners: Sequence[str]) -> list[int]:
    """Return the slides whose dates are written: the first of each scanner and some between."""
    every = -(-len(scanners) // MAX_DATES)
    first = [i for i, name in enumerate(scanners) if i == 0 or name != scanners[i - 1]]
    ticks: list[int] = []
    for i in sorted({*first, *range(0, len(scanners), every)}):
        if not ticks or i - ticks[-1] >= every:
            ticks.append(i)
    return ticks


def _draw(axes: Axes, trend: Trend, scanners: Sequence[str]) -> None:
    index = np.arange(len(trend.values))
    for number, scanner in enumerate(dict.fromkeys(scanners)):
        of_it = np.array([name == scanner for name in scanners])
        color = SCANNER_COLORS[number % len(SCANNER_COLORS)]
        axes.plot(index[of_it], trend.values[of_it], "o", ms=4.5, color=color, label=scanner)
    known = trend.values[~np.isnan(trend.values)]
    if known.size:
        median = float(np.median(known))
        axes.axhline(median, color=FAINT, linewidth=0.8)
        _name_outliers(axes, trend, median)
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=FAINT)
    axes.set_title(trend.title, size=10, loc="left", color=INK)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.04, y=0.16)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))  # no measure is below 0
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _name_outliers(axes: Axes, trend: Trend, median: float) -> None:
    farthest = sorted(trend.outliers, key=lambda i: -abs(float(trend.values[i]) - median))
    middle = len(trend.values) / 2
    for i in farthest[:MAX_NAMES]:
        value = float(trend.values[i])
        axes.plot([i], [value], "o", ms=9, fillstyle="none", color=WARNING)
        is_left = i < middle
        words, fonts = drawable(trend.outliers[i])
        axes.annotate(
            words,
            (i, value),
            xytext=(7 if is_left else -7, 0),
            textcoords="offset points",
            ha="left" if is_left else "right",
            va="center",
            size=8,
            color=WARNING,
            parse_math=False,
            **fonts,
        )
