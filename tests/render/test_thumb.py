"""The gallery's picture: small, the slide's colors, hot where the map is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.render.blend import Blend
from wsi_pipeline.render.thumb import SIDE_PX, write_thumb

MakeMap = Callable[..., ProbabilityMap]


def test_it_is_small_and_shows_the_slide_and_what_is_hot(make_map: MakeMap, tmp_path: Path) -> None:
    map_ = make_map()
    thumbnail = np.full((780, 960, 3), (220, 150, 190), np.uint8)
    write_thumb(thumbnail, map_, Blend(), tmp_path / "gallery.jpg")
    with Image.open(tmp_path / "gallery.jpg") as picture:
        assert picture.size == (SIDE_PX, 260)
        pixels = np.asarray(picture).astype(int)
    rows, cols = map_.values.shape
    hot = np.unravel_index(np.nanargmax(map_.values), map_.values.shape)
    low = np.unravel_index(np.nanargmin(map_.values), map_.values.shape)

    def change(cell: tuple[np.intp, ...]) -> int:
        y, x = int((cell[0] + 0.5) * 260 / rows), int((cell[1] + 0.5) * SIDE_PX / cols)
        return int(np.abs(pixels[y, x] - (220, 150, 190)).max())

    assert change(hot) > 60
    assert change(low) < 40


def test_the_map_is_drawn_as_on_the_overlay(make_map: MakeMap, tmp_path: Path) -> None:
    thumbnail = np.full((780, 960, 3), (220, 150, 190), np.uint8)
    steps = {}
    for style in ("smooth", "cells"):
        write_thumb(thumbnail, make_map(), Blend(map_style=style), tmp_path / "gallery.jpg")
        with Image.open(tmp_path / "gallery.jpg") as picture:
            pixels = np.asarray(picture.convert("L")).astype(int)
        steps[style] = np.abs(np.diff(pixels, axis=1)).max()
    assert steps["smooth"] < 0.6 * steps["cells"], "no edges of cells"


def test_a_folder_that_is_not_there_is_an_error_that_names_it(
    make_map: MakeMap, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="missing"):
        write_thumb(np.zeros((9, 9, 3), np.uint8), make_map(), Blend(), tmp_path / "missing" / "a")
