"""The gallery's small picture of a slide: the map over the thumbnail, a few kilobytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from wsi_pipeline.files import write_atomic
from wsi_pipeline.geometry import RgbArray, Size
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.render.blend import Blend, heatmap, smooth_px, tissue_px

SIDE_PX: Final = 320
MAP_OPACITY: Final = 0.7


def write_thumb(thumbnail: RgbArray, map_: ProbabilityMap, blend: Blend, path: Path) -> None:
    """Write the small picture of a slide.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        The scanned bounds of the slide.
    map_ : ProbabilityMap
    blend : Blend
        Its colors, and whether the map is interpolated between cells.
    path : Path
        The JPEG file.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    picture = Image.fromarray(thumbnail)
    picture.thumbnail((SIDE_PX, SIDE_PX), reducing_gap=2.0)
    size = Size(*picture.size)
    if blend.map_style == "smooth":
        colors = blend.opaque(smooth_px(map_, size, tissue_px(map_, size)))
    else:
        colors = heatmap(map_, size, blend)
    # Brightness rises with probability in every map that is allowed: what is low stays clear.
    values = colors.astype(np.float32)
    alpha = MAP_OPACITY * values[..., 3] * values[..., :3].max(2) / 255
    layer = Image.fromarray(np.ascontiguousarray(colors[..., :3]))
    picture.paste(layer, mask=Image.fromarray(alpha.astype(np.uint8)))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=80, optimize=True)
    write_atomic(path, buffer.getvalue())
