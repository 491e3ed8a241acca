"""Truth, map and mistakes of each evaluated slide, side by side."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from wsi_pipeline.learning.reports.figures import DPI, INK, WIDE
from wsi_pipeline.learning.reports.slide_evaluation import SlideComparison
from wsi_pipeline.render.fonts import drawable

GLASS: Final = (1.0, 1.0, 1.0)
NOT_IDC: Final = (0.86, 0.87, 0.89)
HIT: Final = (0.66, 0.09, 0.29)
MISS: Final = (0.98, 0.68, 0.13)
FALSE_ALARM: Final = (0.24, 0.44, 0.62)
COLORMAP: Final = "inferno"


def slide_figure(comparison: SlideComparison, title: str) -> Figure:
    """Draw the truth, the probability on its fixed 0 to 1 scale, and the calls by the truth."""
    rows, cols = comparison.truth.shape
    height = float(np.clip(3.1 * rows / cols, 1.6, 5.0))
    figure = Figure((WIDE, height + 0.75), dpi=DPI, layout="constrained", facecolor="white")
    title, fonts = drawable(title)
    style = {"fontsize": 10.5, "fontweight": "bold", "color": INK, **fonts}
    figure.suptitle(title, x=0.01, ha="left", **style)
    panels = figure.subplots(1, 3)
    probability = panels[1].imshow(
        comparison.probability, cmap=COLORMAP, vmin=0, vmax=1, interpolation="nearest"
    )
    panels[0].imshow(_truth_picture(comparison), interpolation="nearest")
    panels[2].imshow(_calls_picture(comparison), interpolation="nearest")
    for axes, name in zip(panels, ("Truth", "Probability", "Calls"), strict=True):
        axes.set_title(name, fontsize=9, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(probability, ax=panels[1], shrink=0.85, pad=0.02)
    keys = (("hit", HIT), ("missed", MISS), ("false alarm", FALSE_ALARM), ("not IDC", NOT_IDC))
    figure.legend(
        handles=[Patch(color=color, label=name) for name, color in keys],
        loc="outside lower right",
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    return figure


def _truth_picture(comparison: SlideComparison) -> NDArray[np.float64]:
    picture = np.full((*comparison.truth.shape, 3), GLASS)
    picture[comparison.labelled] = NOT_IDC
    picture[comparison.idc] = HIT
    return picture


def _calls_picture(comparison: SlideComparison) -> NDArray[np.float64]:
    called = comparison.scores >= comparison.threshold
    picture = _truth_picture(comparison)
    picture[comparison.idc & ~called] = MISS
    picture[comparison.labelled & ~comparison.idc & called] = FALSE_ALARM
    return picture
