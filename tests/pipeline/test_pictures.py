import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.errors import ConfigError, DatasetError
from wsi_pipeline.pipeline.pictures import (
    calls_table,
    classify_image,
    cut_picture,
    find_images,
    read_picture,
)

PaintPatch = Callable[..., NDArray[np.uint8]]


def _save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_a_patch_is_called_at_both_operating_points(
    tmp_path: Path, paint_patch: PaintPatch, color_classifier: Any
) -> None:
    pixels = paint_patch(1)
    calls = list(classify_image(_save(tmp_path / "p.png", pixels), color_classifier))
    assert len(calls) == 1
    assert calls[0].probability == pytest.approx(1 - pixels.mean() / 255, abs=1e-5)
    assert calls[0].calls == {"balanced": True, "high_sensitivity": True}
    assert (calls[0].uncertainty, calls[0].note) == (None, "")


def test_a_larger_picture_is_cut_with_a_row_for_each_patch(
    tmp_path: Path, paint_patch: PaintPatch, color_classifier: Any
) -> None:
    picture = np.hstack([paint_patch(1), paint_patch(0)])
    calls = list(classify_image(_save(tmp_path / "p.png", picture), color_classifier, tta=True))
    assert [(call.x, call.y) for call in calls] == [(0, 0), (32, 0)]
    assert [call.calls["balanced"] for call in calls] == [True, False]
    assert all(call.uncertainty is not None for call in calls)


def test_a_smaller_picture_is_padded_and_noted(
    tmp_path: Path, paint_patch: PaintPatch, color_classifier: Any
) -> None:
    path = _save(tmp_path / "p.png", paint_patch(1, side=20))
    (call,) = classify_image(path, color_classifier)
    assert call.note == "padded with white"


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20))
def test_patches_hold_the_pixels_at_their_corners(height: int, width: int, side: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    cut = cut_picture(picture, side)
    assert len(cut.patches) == len(cut.corners) == len(cut.notes)
    for patch, (x, y), note in zip(cut.patches, cut.corners, cut.notes, strict=True):
        inside = picture[y : y + side, x : x + side]
        np.testing.assert_array_equal(patch[: inside.shape[0], : inside.shape[1]], inside)
        assert bool(note) == (inside.shape[:2] != (side, side))


def test_a_finer_picture_is_reduced_by_area_averaging(
    tmp_path: Path, color_classifier: Any
) -> None:
    fine = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    picture = read_picture(_save(tmp_path / "p.png", fine), 4.0, color_classifier.card).rgb
    means = fine.reshape(32, 2, 48, 2, 3).mean((1, 3))
    np.testing.assert_allclose(picture, means, atol=1)


def test_a_coarser_picture_is_refused(tmp_path: Path, color_classifier: Any) -> None:
    path = _save(tmp_path / "p.png", np.full((40, 40, 3), 200, np.uint8))
    with pytest.raises(DatasetError, match=r"16 µm/px is coarser than the model's 8 µm/px"):
        read_picture(path, 16.0, color_classifier.card)


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, color_classifier: Any) -> None:
    (tmp_path / "p.png").write_text("text")
    with pytest.raises(DatasetError, match="cannot be read as a picture"):
        read_picture(tmp_path / "p.png", None, color_classifier.card)


def test_a_picture_of_slide_size_is_sent_to_run(
    tmp_path: Path, color_classifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_pipeline.pipeline.pictures.MAX_PIXELS", 1000)
    path = _save(tmp_path / "p.png", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"40 x 40 px: that is a slide.*wsi-pipeline run"):
        read_picture(path, None, color_classifier.card)


def test_folders_are_searched_and_each_picture_comes_once(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one = _save(tmp_path / "deep" / "a.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "deep" / "notes.txt").write_text("")
    assert find_images([tmp_path, one]) == [one]


def test_inputs_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no picture"):
        find_images([tmp_path])
    with pytest.raises(ConfigError, match="there is no"):
        find_images([tmp_path / "nothing.png"])


def test_the_table_has_a_column_an_operating_point(
    tmp_path: Path, paint_patch: PaintPatch, color_classifier: Any
) -> None:
    path = _save(tmp_path / "p.png", paint_patch(0))
    table = calls_table(list(classify_image(path, color_classifier, tta=True)))
    (row,) = csv.DictReader(table.splitlines())
    assert list(row) == [
        "file", "x", "y", "probability", "call_balanced", "call_high_sensitivity", "uncertainty",
        "note",
    ]  # fmt: skip
    assert row["call_balanced"] == "not IDC"
