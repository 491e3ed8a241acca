"""What the allocator of a worker does with the memory of a slide that is done."""

from __future__ import annotations

import ctypes
import platform
from functools import lru_cache
from typing import Final

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES: Final = 256 * 2**20
LARGEST_KEPT_BYTES: Final = 32 * 2**20
"""Of one piece; glibc takes no more."""


@lru_cache(maxsize=1)
def keep_memory() -> bool:
    """Have glibc keep what is freed for the next slide; return whether there is glibc.

    It else gives every array of a thumbnail back to the system, which has to clear each page of the
    next one again: a quarter of the time that a tissue mask takes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    )
