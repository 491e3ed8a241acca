"""Pictures laid out and gone through so that arithmetic on a channel stays in a core's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)

_STRIP_PX = 65_536


def in_planes(picture: NDArray[Value]) -> NDArray[Value]:
    """Return a picture, shape (H, W, C), with each channel in one piece of memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(picture, -1, 0)), 0, -1)


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield the rows of a picture, shape (H, W, ...), some at a time from top to bottom."""
    n_rows = max(1, _STRIP_PX // max(1, shape[1]))
    for start in range(0, shape[0], n_rows):
        yield slice(start, min(start + n_rows, shape[0]))
