"""PNG files, written fast and whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.probability.files import write_atomic

_RLE = 3
"""zlib's Z_RLE: on photographs half the time of the default and smaller files."""


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 pixels, shape (H, W, 3) or (H, W, 4)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=_RLE)
    return buffer.getvalue()


def write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write pixels as a PNG file, whole or not at all.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    write_atomic(path, png_bytes(pixels))
