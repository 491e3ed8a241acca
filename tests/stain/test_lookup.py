from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wsi_pipeline.stain.lookup import apply_table, build_table

IDENTITY = build_table(lambda rgb: rgb)
COLORS = hnp.arrays(np.uint8, st.tuples(st.integers(0, 50), st.just(3)))


@given(COLORS)
@settings(max_examples=50)
def test_what_passes_unchanged_is_exact(rgb: NDArray[np.uint8]) -> None:
    assert (apply_table(IDENTITY, rgb) == rgb).all()


def test_every_level_and_every_chunk_is_exact_for_the_identity() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40_000, 3), dtype=np.uint8)
    rgb[:256] = np.arange(256)[:, None]
    assert (apply_table(IDENTITY, rgb) == rgb).all()


def test_channels_are_not_mixed_up() -> None:
    table = build_table(lambda rgb: rgb * (1.0, 0.5, 0.25))
    found = apply_table(table, np.array([[200, 100, 40]], dtype=np.uint8))
    assert found.tolist() == [pytest.approx([200, 50, 10], abs=1)]
    rotated = build_table(lambda rgb: rgb[:, [1, 2, 0]])
    assert apply_table(rotated, np.array([[200, 100, 40]], dtype=np.uint8)).tolist() == [
        [100, 40, 200]
    ]


def test_values_beyond_the_scale_are_clipped_not_wrapped() -> None:
    bright = build_table(lambda rgb: rgb + 300)
    dark = build_table(lambda rgb: rgb - 300)
    rgb = np.array([[0, 128, 255], [255, 255, 255]], dtype=np.uint8)
    assert (apply_table(bright, rgb) >= 254).all()
    assert (apply_table(dark, rgb) <= 1).all()


def test_the_input_is_not_touched() -> None:
    rgb = np.full((10, 10, 3), 77, dtype=np.uint8)
    apply_table(build_table(lambda color: 255 - color), rgb)
    assert (rgb == 77).all()
