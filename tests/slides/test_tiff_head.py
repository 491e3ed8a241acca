"""The first directory of a TIFF in two small reads."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile

from wsi_pipeline.slides.tiff_head import DESCRIPTION_BYTES, TiffHead, read_tiff_head


class Counted(BytesIO):
    """Counts the bytes that are read."""

    n_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.n_read += len(data)
        return data


def written(pixels: Any, **tags: Any) -> Counted:
    buffer = BytesIO()
    bigtiff, order = tags.pop("bigtiff", False), tags.pop("byteorder", "<")
    with tifffile.TiffWriter(buffer, bigtiff=bigtiff, byteorder=order) as tiff:
        tiff.write(pixels, metadata=None, **tags)
    return Counted(buffer.getvalue())


RGB = np.zeros((300, 200, 3), np.uint8)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_tiled_slide_in_every_dialect(bigtiff: bool, byteorder: str) -> None:
    file = written(RGB, tile=(64, 64), photometric="rgb", bigtiff=bigtiff, byteorder=byteorder,
                   description="words")  # fmt: skip
    assert read_tiff_head(file) == TiffHead(200, 300, True, False, "words")


def test_a_gray_picture_in_strips() -> None:
    head = read_tiff_head(written(RGB[..., 0], photometric="minisblack"))
    assert head is not None
    assert (head.is_tiled, head.is_colorless, head.description) == (False, True, "")


def test_little_is_read_of_a_large_file() -> None:
    file = written(np.zeros((4000, 4000, 3), np.uint8), photometric="rgb", description="x" * 10**6)
    head = read_tiff_head(file)
    assert head is not None
    assert len(head.description) == DESCRIPTION_BYTES
    assert file.n_read < DESCRIPTION_BYTES + 1000


@pytest.mark.parametrize("length", [0, 3, 7, 9, 40])
def test_a_file_cut_off_has_no_head(length: int) -> None:
    assert read_tiff_head(BytesIO(written(RGB, photometric="rgb").getvalue()[:length])) is None


def test_a_directory_beyond_the_file_is_none() -> None:
    assert read_tiff_head(BytesIO(b"II*\0\xff\xff\xff\x7f" + bytes(100))) is None
