from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.errors import StorageError
from wsi_pipeline.render.png import png_bytes, write_png


@pytest.mark.parametrize("shape", [(33, 47, 3), (33, 47, 4), (1, 1, 4)])
def test_any_reader_gets_the_pixels_back(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(BytesIO(png_bytes(pixels))) as picture:
        assert picture.mode == ("RGB" if shape[2] == 3 else "RGBA")
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_a_part_of_a_picture_is_encoded_as_it_looks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    with Image.open(BytesIO(png_bytes(pixels[3:9, ::2]))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels[3:9, ::2])


def test_equal_pixels_give_equal_bytes() -> None:
    pixels = np.full((50, 60, 4), 7, np.uint8)
    assert png_bytes(pixels) == png_bytes(pixels.copy())


def test_a_folder_that_is_not_there_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write_png(np.zeros((2, 2, 3), np.uint8), tmp_path / "missing" / "a.png")
    assert caught.value.advice
