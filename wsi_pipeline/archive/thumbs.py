"""The gallery's small picture of a slide: the map over the thumbnail, a few kilobytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from wsi_pipeline.outputs import THUMBNAIL_NAME
from wsi_pipeline.probability.files import write_atomic

THUMB_NAME: Final = "gallery.jpg"
SIDE_PX: Final = 320
MAP_OPACITY: Final = 0.7


def write_thumb(folder: Path) -> None:
    """Write the small picture of a finished slide from its thumbnail and heatmap.

    The JPEG is decoded at a fraction of its size and the heatmap is small: this takes a tenth of
    what shrinking the overlay would.
    """
    with Image.open(folder / THUMBNAIL_NAME) as file:
        file.draft("RGB", (SIDE_PX, SIDE_PX))
        picture = file.convert("RGB")
    picture.thumbnail((SIDE_PX, SIDE_PX))
    with Image.open(folder / "heatmap.png") as file:
        heat = file.convert("RGBA").resize(picture.size, Image.Resampling.NEAREST)
    # Brightness rises with probability in every map that is allowed: what is low stays clear.
    values = np.asarray(heat, np.float32)
    alpha = MAP_OPACITY * values[..., 3] * values[..., :3].max(2) / 255
    picture.paste(heat.convert("RGB"), mask=Image.fromarray(alpha.astype(np.uint8)))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=80, optimize=True)
    write_atomic(folder / THUMB_NAME, buffer.getvalue())
