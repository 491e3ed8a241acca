"""Pictures a strip and a channel at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsi_pipeline.tissue.planes import in_planes, strips


def test_a_picture_in_planes_is_the_same_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (7, 5, 3), dtype=np.uint8)
    found = in_planes(picture)
    np.testing.assert_array_equal(found, picture)
    assert all(found[..., channel].flags.c_contiguous for channel in range(3))


@given(height=st.integers(1, 3000), width=st.integers(1, 200_000))
def test_strips_are_every_row_once_in_order(height: int, width: int) -> None:
    rows = [row for part in strips((height, width, 3)) for row in range(part.start, part.stop)]
    assert rows == list(range(height))
