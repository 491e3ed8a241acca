"""A hash of a file's content that is cheap on files of gigabytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

PIECES: Final = 64
PIECE_BYTES: Final = 1 << 16
"""64 pieces of 64 KiB: 4 MiB of a file are read at most, from its first byte to its last."""
WHOLE_BYTES: Final = 4 << 20
"""Files up to this size are read whole."""


def sampled_sha256(path: Path, pieces: int = PIECES, piece_bytes: int = PIECE_BYTES) -> str:
    """Return the sha256 of a file's size and of pieces spread evenly over it.

    OpenSlide gives no quickhash to a flat TIFF whose only level is large; this stands in for it.

    Parameters
    ----------
    path : Path
        A file; up to 4 MiB it is hashed whole.
    pieces, piece_bytes : int
        How many pieces are read of a larger one, and how long each is.
    """
    n_bytes = path.stat().st_size
    digest = hashlib.sha256(str(n_bytes).encode())
    with path.open("rb") as file:
        if n_bytes <= WHOLE_BYTES:
            digest.update(file.read())
        else:
            for piece in range(pieces):
                file.seek(piece * (n_bytes - piece_bytes) // (pieces - 1))
                digest.update(file.read(piece_bytes))
    return digest.hexdigest()
