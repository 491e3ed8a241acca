"""A hash that stands for a file's content, also where OpenSlide gives none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from wsi_pipeline.slides import open_slide
from wsi_pipeline.slides.content_hash import PIECE_BYTES, PIECES, sampled_sha256

LARGE = 3 * PIECES * PIECE_BYTES


def test_copies_are_equal_and_other_sizes_are_not(tmp_path: Path) -> None:
    for name, n_bytes in (("a", 1000), ("b", 1000), ("c", 1001), ("d", 0)):
        (tmp_path / name).write_bytes(b"x" * n_bytes)
    a, b, c, d = (sampled_sha256(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


@pytest.mark.parametrize("at", [0, LARGE - 1])
def test_a_large_file_is_sampled_from_its_first_byte_to_its_last(tmp_path: Path, at: int) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(LARGE))
    before = sampled_sha256(path)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"x")
    assert sampled_sha256(path) != before


def test_a_flat_slide_that_openslide_does_not_hash_has_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "flat.tif"
    rgb = np.random.default_rng(0).integers(0, 255, (1536, 1536, 3), np.uint8)
    tifffile.imwrite(path, rgb, tile=(256, 256), photometric="rgb")
    with openslide.OpenSlide(path) as slide:
        assert openslide.PROPERTY_NAME_QUICKHASH1 not in slide.properties
    with open_slide(path) as reader:
        assert reader.info.quickhash == sampled_sha256(path)
