"""Pictures of a result (the home of matplotlib)."""

from wsi_pipeline.render.blend import Blend
from wsi_pipeline.render.overlay import Caption, draw_overlay, write_overlay

__all__ = ["Blend", "Caption", "draw_overlay", "write_overlay"]
