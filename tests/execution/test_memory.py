"""Memory that a worker keeps."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref

import pytest

from wsi_pipeline.execution.memory import SLIDES_BETWEEN_TRIMS, trim_memory

REPEATED_PICTURE = """
import resource, sys
import numpy as np
from wsi_pipeline.execution.memory import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
for number in range(20):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    small, picture = np.ones(2**18, np.uint8), np.ones(2**24, np.uint8)
    del small, picture
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", REPEATED_PICTURE, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_a_worker_is_not_given_the_same_pages_anew_for_every_picture() -> None:
    assert page_faults("keep") < 100


def test_what_lies_in_cycles_is_handed_back_after_some_slides() -> None:
    class Figure:
        def __init__(self) -> None:
            self.canvas = self

    gc.disable()
    try:
        figure = Figure()
        left = weakref.ref(figure)
        del figure
        assert left() is not None
        for _ in range(SLIDES_BETWEEN_TRIMS):
            trim_memory()
        assert left() is None
    finally:
        gc.enable()
