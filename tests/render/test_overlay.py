"""The overlay's files: size, place of the image, words that must be there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsi_pipeline import NOTICE
from wsi_pipeline.errors import StorageError
from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import Regions, find_regions
from wsi_pipeline.render.blend import Blend, CellLookup, overlay
from wsi_pipeline.render.overlay import Caption, write_overlay
from wsi_pipeline.render.scale import length_label, nice_length_mm

MakeMap = Callable[..., ProbabilityMap]


def _thumbnail(width: int = 480, height: int = 390) -> RgbArray:
    rng = np.random.default_rng(0)
    return rng.integers(150, 250, (height, width, 3)).astype(np.uint8)


def _write(map_: ProbabilityMap, thumbnail: RgbArray, folder: Path) -> Box:
    return write_overlay(
        thumbnail,
        map_,
        _regions(map_),
        Caption.of(map_, date="2026-01-02", software="wsi_pipeline 0.1.0"),
        overlay_path=folder / "overlay.png",
        heatmap_path=folder / "heatmap.png",
    )


def _regions(map_: ProbabilityMap) -> Regions:
    return find_regions(map_, threshold=0.5, low_threshold=0.4)


def _pixels(path: Path) -> RgbArray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_thumbnails_pixels_stand_unchanged_in_the_overlay(
    make_map: MakeMap, tmp_path: Path
) -> None:
    thumbnail = _thumbnail()
    box = _write(make_map(), thumbnail, tmp_path)
    image = _pixels(tmp_path / "overlay.png")[box.y : box.bottom, box.x : box.right]
    # Probability 0 and no outline: the lower half of the picture is the slide itself.
    np.testing.assert_array_equal(image[230:, :440], thumbnail[230:, :440])


def test_the_heatmap_has_the_pixels_of_the_overlays_image(
    make_map: MakeMap, tmp_path: Path
) -> None:
    box = _write(make_map(), _thumbnail(), tmp_path)
    shape = _pixels(tmp_path / "heatmap.png").shape
    assert shape == (box.height, box.width, 4) == (390, 480, 4)


def test_the_outline_runs_around_the_hot_square(make_map: MakeMap, tmp_path: Path) -> None:
    box = _write(make_map(), np.full((390, 480, 3), 200, np.uint8), tmp_path)
    image = _pixels(tmp_path / "overlay.png")[box.y : box.bottom, box.x : box.right]
    dark = image.max(axis=-1) < 100
    # Through the middle of the square, clear of the number at its upper right corner.
    across, down = np.flatnonzero(dark[150]), np.flatnonzero(dark[:, 320])
    found = (across[0], down[0], across[-1] + 1, down[-1] + 1)
    np.testing.assert_allclose(found, (250, 100, 400, 200), atol=2)


@pytest.mark.parametrize("size", [(40, 30), (1600, 300), (200, 900)])
def test_odd_shapes_of_slides_keep_their_pixels(
    make_map: MakeMap, tmp_path: Path, size: tuple[int, int]
) -> None:
    box = _write(make_map(), _thumbnail(*size), tmp_path)
    assert (box.width, box.height) == size
    page = _pixels(tmp_path / "overlay.png")
    assert page.shape[0] >= box.bottom
    assert page.shape[1] >= box.right


def test_flagged_cells_are_struck_through_only_where_asked(make_map: MakeMap) -> None:
    plain = make_map()
    quality = np.zeros(plain.values.shape, np.uint8)
    quality[-1, 0] = 2
    flagged = replace(plain, quality=quality)
    thumbnail = np.full((390, 480, 3), 200, np.uint8)
    kept, hatched = (overlay(thumbnail, flagged, Blend(hatches_flagged=on)) for on in (False, True))
    np.testing.assert_array_equal(kept, overlay(thumbnail, plain, Blend()))
    rows, cols = np.nonzero((hatched != kept).any(axis=-1))
    lookup = CellLookup.of(flagged, Size(480, 390))
    assert {(int(lookup.row[y]), int(lookup.col[x])) for y, x in zip(rows, cols, strict=True)} == {
        (len(quality) - 1, 0)
    }


def test_a_slide_with_nothing_classified_is_drawn(make_map: MakeMap, tmp_path: Path) -> None:
    map_ = make_map()
    map_.values[...] = np.nan
    _write(map_, _thumbnail(), tmp_path)
    assert (_pixels(tmp_path / "heatmap.png")[..., 3] == 0).all()


def test_the_caption_reads_the_maps_attributes(make_map: MakeMap) -> None:
    caption = Caption.of(make_map(), date="d", software="s")
    assert caption.slide == "phantom.svs"
    assert caption.model == "rule (01234567)"
    assert caption.mpp_source == "aperio.MPP"


FEW = "too few patches on tissue (2 of the 4 needed)"


@pytest.mark.parametrize("width", [60, 300, 900])
@pytest.mark.parametrize(
    "marks",
    [
        {"familiarity": {"familiar": False, "score": 0.4, "reasons": [], "logit_shift": 0.0}},
        {"familiarity": None, "familiarity_unknown": FEW},
        {},  # a map of a version that did not measure it
    ],
    ids=["unfamiliar", "too few patches", "not measured"],
)
def test_a_slide_that_is_not_familiar_is_said_in_full_however_narrow_its_picture_is(
    make_map: MakeMap, tmp_path: Path, width: int, marks: dict[str, Any]
) -> None:
    familiar = {"familiarity": {"familiar": True, "score": 1.4, "reasons": [], "logit_shift": 0.0}}
    pictures = []
    for attributes in (familiar, marks):
        _write(make_map(**attributes), _thumbnail(width, 200), tmp_path)
        pictures.append(_pixels(tmp_path / "overlay.png").astype(int))
    changed = np.abs(pictures[1] - pictures[0]).max(-1) > 60
    rows, cols = np.nonzero(changed)
    red = pictures[1][changed]
    assert (red[:, 0] > red[:, 1:].max(1) + 20).mean() > 0.9
    assert cols.max() - cols.min() > 200  # all of it
    assert cols.max() < pictures[0].shape[1] - 4
    assert rows.min() > pictures[0].shape[0] - 50


def test_the_notice_says_what_it_must() -> None:
    assert NOTICE == "Research use only. Not for diagnosis."


def test_drawing_again_gives_the_same_bytes(make_map: MakeMap, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        _write(make_map(), _thumbnail(), tmp_path)
        contents.append((tmp_path / "overlay.png").read_bytes())
    assert contents[0] == contents[1]


def test_a_missing_folder_is_a_storage_error(make_map: MakeMap, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        _write(make_map(), _thumbnail(), tmp_path / "no")


@given(st.floats(1e-4, 1e4))
def test_a_scale_bar_is_1_2_or_5_and_the_longest_that_fits(longest_mm: float) -> None:
    length = nice_length_mm(longest_mm)
    assert length <= longest_mm * (1 + 1e-9)
    assert length > longest_mm / 2.5 * (1 - 1e-9)
    assert f"{length:e}"[0] in "125"


@pytest.mark.parametrize(("longest_mm", "label"), [(2, "2 mm"), (0.99, "500 µm"), (1.0, "1 mm")])
def test_scale_bar_labels(longest_mm: float, label: str) -> None:
    assert length_label(nice_length_mm(longest_mm)) == label


def test_a_scale_bar_without_length_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="above 0"):
        nice_length_mm(0)
