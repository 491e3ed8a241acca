"""A picture file as pixels, the same for `classify` and its page: upright, on white, in color."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from wsi_pipeline.errors import DatasetError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue.assessable import DARKEST_FIELD, why_not_assessable

COLOR_MODES: Final = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr"})
"""Of Pillow. The others are gray, or have no agreed white."""
UPRIGHT: Final = 1
ORIENTATION: Final = 0x0112
"""The EXIF tag of how a camera was held."""
IN_COLOR: Final = (
    "The classifier needs the colors of the stain: take the picture in 8 bits and color"
)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPicture:
    """What a picture file shows."""

    rgb: RgbArray
    """uint8, shape (H, W, 3): turned as its EXIF says, transparent pixels on white."""
    notes: tuple[str, ...]
    """What a user should know: pages that were left out, a picture that was turned."""


def decoded(picture: Image.Image) -> DecodedPicture:
    """Return the pixels of an open picture.

    Parameters
    ----------
    picture : Image
        As Pillow has opened it; its size is checked by the caller.

    Raises
    ------
    DatasetError
        Where it is gray, nearly black, or of another kind that could not show a tumor.
    """
    if picture.mode not in COLOR_MODES:
        raise DatasetError(
            f"the picture's pixels are of the kind {picture.mode}, not 8 bits a color", IN_COLOR
        )
    notes = _notes(picture)
    is_turned = picture.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT
    rgb = _on_white(ImageOps.exif_transpose(picture) if is_turned else picture)
    why = why_not_assessable(rgb, darkest=DARKEST_FIELD)
    if why:
        raise DatasetError(f"the picture is {why}", IN_COLOR)
    return DecodedPicture(rgb, notes)


def _notes(picture: Image.Image) -> tuple[str, ...]:
    notes = []
    n_pages = int(getattr(picture, "n_frames", 1))
    if n_pages > 1:
        notes.append(f"only the first of {n_pages} pages was classified")
    if picture.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT:
        notes.append("turned upright as its EXIF says")
    if any("16" in str(tile.args) for tile in getattr(picture, "tile", ())):
        notes.append("16 bits a channel reduced to 8: 65535 is read as white")
    return tuple(notes)


def _on_white(picture: Image.Image) -> RgbArray:
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("RGB"))
    rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
