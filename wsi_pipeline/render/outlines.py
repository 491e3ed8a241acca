"""Outlines in level-0 px drawn on a picture of the slide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path as DrawnPath
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from wsi_pipeline.geometry import Box
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.regions import Regions
from wsi_pipeline.render.page import INK, Drawing

MAX_NUMBERS: Final = 99
"""Regions that get their number drawn, the largest first."""

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon


def to_picture(area_l0: Area, map_: ProbabilityMap, image: Box) -> Area:
    """Move an area from level 0 to the px of a picture of the scanned bounds."""
    x, y, width, height = map_.bounds_l0
    px_per_l0 = np.array([image.width / width, image.height / height])
    return shapely.transform(area_l0, lambda points: (points - (x, y)) * px_per_l0)


def draw_regions(
    axes: Drawing | Axes,
    map_: ProbabilityMap,
    regions: Regions,
    image: Box,
    *,
    scale: float = 1.0,
) -> None:
    """Draw outlines, dark on a light halo, and numbers in px of the image.

    `scale` makes lines and numbers thinner or thicker than on the overlay.
    """
    if not len(regions):
        return
    outlines = [to_picture(region.outline_l0, map_, image) for region in regions]
    path = path_of(outlines)
    for color, line_width in (("white", 3.2), (INK, 1.45)):
        axes.add_patch(
            PathPatch(
                path, fill=False, edgecolor=color, linewidth=line_width * scale, joinstyle="round"
            )
        )
    for region, outline in zip(regions.items[:MAX_NUMBERS], outlines, strict=False):
        x, y = _number_place(shapely.get_coordinates(outline), image)
        axes.text(
            x,
            y,
            str(region.number),
            fontsize=10.5 * scale,
            fontweight="bold",
            color=INK,
            path_effects=[withStroke(linewidth=2.8 * scale, foreground="white")],
        )


def path_of(areas: Sequence[Area]) -> DrawnPath:
    """Return areas as one path; holes stay open, as their rings run the other way round."""
    rings = [
        DrawnPath(shapely.get_coordinates(ring), closed=True)
        for area in areas
        for polygon in shapely.get_parts(shapely.orient_polygons(area))
        for ring in (polygon.exterior, *polygon.interiors)
    ]
    return DrawnPath.make_compound_path(*rings)


def _number_place(corners: NDArray[np.float64], image: Box) -> tuple[float, float]:
    """Return the upper right corner of a region, or the nearest place inside the picture."""
    top = corners[corners[:, 1] == corners[:, 1].min()]
    x, y = top[top[:, 0].argmax()]
    return min(max(x + 4, 4), image.width - 20), min(max(y - 4, 14), image.height - 4)
