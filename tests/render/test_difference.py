"""The picture of two readings: colors where they belong, and nothing else in color."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.render.difference import (
    DifferenceAreas,
    Words,
    write_change,
    write_difference,
)
from wsi_pipeline.render.page import HEADER, MARGIN

MakeMap = Callable[..., ProbabilityMap]
EMPTY = shapely.MultiPolygon()


def _drawn(map_: ProbabilityMap, areas: DifferenceAreas, folder: Path) -> RgbArray:
    """Return the picture's part that shows the slide of 480 x 390 px."""
    write_difference(
        np.full((390, 480, 3), (230, 150, 200), np.uint8),
        map_,
        areas,
        Words("a $slide$ named with dollars", "run against truth", [("Dice", "0.9")], "today"),
        folder / "difference.png",
    )
    with Image.open(folder / "difference.png") as picture:
        return np.asarray(picture)[HEADER : HEADER + 390, MARGIN : MARGIN + 480]


@pytest.mark.parametrize("offset_l0", [(0, 0), (700, 40)], ids=["no bounds", "bounds"])
def test_each_area_has_its_color_at_its_place(
    make_map: MakeMap, tmp_path: Path, offset_l0: tuple[int, int]
) -> None:
    x, y = offset_l0
    both, found, true = (
        shapely.box(x + left, y + 100, x + left + 50, y + 200) for left in (50, 150, 250)
    )
    areas = DifferenceAreas(both, found, true, "run", "truth")
    image = _drawn(make_map(offset_l0), areas, tmp_path)
    green, vermilion, blue = (image[150, left + 25].astype(int) for left in (50, 150, 250))
    assert green[1] > max(green[0], green[2])
    assert vermilion[0] > max(vermilion[1], vermilion[2])
    assert blue[2] > max(blue[0], blue[1])


def test_the_slide_is_grey_where_nobody_called_idc(make_map: MakeMap, tmp_path: Path) -> None:
    image = _drawn(make_map(), DifferenceAreas(EMPTY, EMPTY, EMPTY, "run", "truth"), tmp_path)
    assert (image[..., 0] == image[..., 1]).all()
    assert (image[..., 1] == image[..., 2]).all()


def test_holes_stay_open(make_map: MakeMap, tmp_path: Path) -> None:
    ring = shapely.box(100, 100, 250, 250).difference(shapely.box(150, 150, 200, 200))
    image = _drawn(make_map(), DifferenceAreas(EMPTY, ring, EMPTY, "run", "truth"), tmp_path)
    assert len(set(image[175, 175].tolist())) == 1
    assert len(set(image[125, 125].tolist())) > 1


def test_a_rise_is_red_a_fall_blue_and_no_change_or_no_data_grey(
    make_map: MakeMap, tmp_path: Path
) -> None:
    change = np.zeros((8, 10), np.float32)
    change[1, 1], change[1, 3], change[1, 5] = 0.9, -0.9, np.nan
    write_change(
        np.full((390, 480, 3), (230, 150, 200), np.uint8),
        make_map(),
        change,
        Words("slide", "new against old", [], "today"),
        tmp_path / "change.png",
    )
    with Image.open(tmp_path / "change.png") as picture:
        image = np.asarray(picture)[HEADER : HEADER + 390, MARGIN : MARGIN + 480].astype(int)
    rise, fall, unknown, same = (image[75, col * 50 + 25] for col in (1, 3, 5, 7))
    assert rise[0] > max(rise[1], rise[2]) + 40
    assert fall[2] > max(fall[0], fall[1]) + 20
    assert unknown.tolist() == same.tolist()
    assert len(set(same.tolist())) == 1
