"""The picture of a slide's scanned bounds, for masks and overlays."""

from __future__ import annotations

from dataclasses import dataclass

from wsi_pipeline.geometry import BoolMask, Box, Mpp, RgbArray
from wsi_pipeline.slides.canvas import plan_read, read_overview
from wsi_pipeline.slides.pyramid import SlideReader


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """A picture of the scanned bounds."""

    rgb: RgbArray
    """uint8, shape (H, W, 3)."""
    um_px: float
    """µm per picture px along both axes."""
    lost: BoolMask
    """bool, shape (H, W): True where the file is damaged; `rgb` shows background there."""


def read_thumbnail(reader: SlideReader, mpp: Mpp, um_px: float) -> Thumbnail:
    """Read the scanned bounds at `um_px`, or as fine as the slide is."""
    um_px = max(um_px, mpp.x, mpp.y)
    bounds = reader.pyramid.bounds_l0
    plan = plan_read(reader.pyramid, mpp, um_px, (bounds.x, bounds.y))
    width = max(1, round(bounds.width * mpp.x / um_px))
    height = max(1, round(bounds.height * mpp.y / um_px))
    rgb, lost = read_overview(reader, plan, Box(0, 0, width, height))
    return Thumbnail(rgb, um_px, lost)
