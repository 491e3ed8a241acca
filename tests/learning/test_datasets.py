import csv
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.errors import DatasetError
from wsi_pipeline.learning.data.datasets import read_archive_folder
from wsi_pipeline.learning.data.layouts import read_dataset

WritePatch = Callable[..., Path]


def _picture(path: Path, side: int | tuple[int, int] = 24, value: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (side, side) if isinstance(side, int) else side
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def test_the_archive_layout_gives_label_patient_and_position(
    tmp_path: Path, write_patch: WritePatch
) -> None:
    write_patch(tmp_path / "some" / "depth", "8867", 1, x=101, y=2151)
    write_patch(tmp_path / "some" / "depth", "9022", 0, x=1, y=51)
    data = read_archive_folder(tmp_path, 32)
    assert data.patients.tolist() == ["8867", "9022"]
    assert data.labels.tolist() == [1, 0]
    assert data.positions.tolist() == [[101, 2151], [1, 51]]
    assert data.files[0] == "some/depth/8867/1/8867_idx5_x101_y2151_class1.png"
    assert data.problems == {}


def test_smaller_patches_are_padded_with_white_and_counted(
    tmp_path: Path, write_patch: WritePatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_patch(tmp_path, "1", 1)
    small = write_patch(tmp_path, "2", 1, side=17)
    with caplog.at_level(logging.WARNING, "wsi_pipeline"):
        data = read_archive_folder(tmp_path, 32)
    assert len(data) == 2
    assert (data.images[1, 17:] == 255).all()
    assert (data.images[1, :, 17:] == 255).all()
    assert (data.images[1, :17, :17] < 255).any()
    assert data.problems["smaller, padded with white"] == [small.relative_to(tmp_path).as_posix()]
    assert "smaller, padded with white: 1 patches" in caplog.text


def test_unreadable_and_larger_files_are_left_out_and_counted(
    tmp_path: Path, write_patch: WritePatch
) -> None:
    write_patch(tmp_path, "1", 0)
    write_patch(tmp_path, "1", 1, x=77).write_bytes(b"not a png")
    write_patch(tmp_path, "2", 1, side=40)
    data = read_archive_folder(tmp_path, 32)
    assert len(data) == 1
    assert len(data.problems["unreadable, left out"]) == 1
    assert len(data.problems["larger than 32 px, left out"]) == 1


def test_a_name_that_contradicts_its_folder_is_reported(
    tmp_path: Path, write_patch: WritePatch
) -> None:
    path = write_patch(tmp_path, "1", 1)
    write_patch(tmp_path, "1", 0).rename(path.with_name(path.name.replace("class1", "class0")))
    data = read_archive_folder(tmp_path, 32)
    assert data.labels.tolist() == [1, 1]
    assert len(data.problems["folder and name contradict each other (folder taken)"]) == 1


def test_a_picture_under_both_labels_is_reported_and_kept(
    tmp_path: Path, write_patch: WritePatch
) -> None:
    first = write_patch(tmp_path, "10", 1, x=1)
    write_patch(tmp_path, "10", 0, x=51)
    second = write_patch(tmp_path, "10", 0, x=101)
    second.write_bytes(first.read_bytes())
    data = read_archive_folder(tmp_path, 32)
    assert len(data) == 3
    ((kind, names),) = data.problems.items()
    assert kind == "the same picture under both labels (all kept)"
    assert {Path(name).name for name in names} == {first.name, second.name}


def test_the_same_name_twice_is_reported(tmp_path: Path, write_patch: WritePatch) -> None:
    write_patch(tmp_path / "a", "1", 1)
    write_patch(tmp_path / "b", "1", 1)
    data = read_archive_folder(tmp_path, 32)
    assert len(data) == 2
    assert len(data.problems["the same name more than once (all kept)"]) == 1


def test_a_folder_without_patches_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no patches in the layout PATIENT/0\|1"):
        read_archive_folder(tmp_path, 32)


def test_a_folder_of_broken_patches_is_refused(tmp_path: Path, write_patch: WritePatch) -> None:
    write_patch(tmp_path, "1", 0).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"none of the 1 patches.*unreadable, left out: 1"):
        read_archive_folder(tmp_path, 32)


def test_class_folders_give_labels_and_sides(tmp_path: Path) -> None:
    for side in ("train", "validation", "test"):
        _picture(tmp_path / side / "benign" / f"{side}-0.png")
        _picture(tmp_path / side / "malignant" / f"{side}-1.png")
    data = read_dataset(tmp_path, 24)
    assert data.sides is not None
    assert sorted(zip(data.sides.tolist(), data.labels.tolist(), strict=True)) == [
        (side, label) for side in ("test", "train", "validation") for label in (0, 1)
    ]
    assert set(data.patients) == {""}


def test_breakhis_names_give_the_patient(tmp_path: Path) -> None:
    _picture(tmp_path / "malignant" / "40X" / "SOB_M_DC-14-10926-40-001.png")
    _picture(tmp_path / "benign" / "40X" / "SOB_B_A-14-22549AB-40-001.png")
    assert read_dataset(tmp_path, 24).patients.tolist() == ["14-22549AB", "14-10926"]


def test_larger_images_of_class_folders_are_cut_square_and_reduced(tmp_path: Path) -> None:
    path = tmp_path / "benign" / "wide.png"
    path.parent.mkdir(parents=True)
    pixels = np.zeros((48, 96, 3), np.uint8)
    pixels[:, 24:72] = 200
    Image.fromarray(pixels).save(path)
    _picture(tmp_path / "malignant" / "fits.png")
    data = read_dataset(tmp_path, 24)
    assert (data.images[0] == 200).all()
    assert data.problems["larger, reduced to 24 px"] == ["benign/wide.png"]


def test_an_image_in_no_class_folder_is_reported(tmp_path: Path) -> None:
    _picture(tmp_path / "benign" / "a.png")
    _picture(tmp_path / "malignant" / "b.png")
    _picture(tmp_path / "readme" / "logo.png")
    assert read_dataset(tmp_path, 24).problems["in no class folder, left out"] == [
        "readme/logo.png"
    ]


def test_folders_that_are_no_classes_are_named(tmp_path: Path) -> None:
    _picture(tmp_path / "cats" / "a.png")
    _picture(tmp_path / "dogs" / "b.png")
    with pytest.raises(DatasetError, match=r"no two classes of images \(folders: cats, dogs\)"):
        read_dataset(tmp_path, 24)


def _table(
    path: Path, rows: list[tuple[str, str]], header: tuple[str, str] = ("id", "label")
) -> Path:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


def test_a_table_of_labels_beside_tiff_images(tmp_path: Path) -> None:
    _picture(tmp_path / "train" / "aa.tif", 96)
    _picture(tmp_path / "train" / "bb.tif", 96, 90)
    _picture(tmp_path / "train" / "spare.tif", 96)
    _table(tmp_path / "labels.csv", [("aa", "1"), ("bb.tif", "0"), ("gone", "1"), ("aa", "0")])
    data = read_dataset(tmp_path, 96)
    assert data.labels.tolist() == [1, 0]
    assert data.images.shape == (2, 96, 96, 3)
    assert data.problems == {
        "in the table without an image, left out": ["gone"],
        "labelled twice and differently (first label taken)": ["aa"],
        "image without a row in the table, left out": ["spare.tif"],
    }


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.csv", [("a", "1")], ("name", "label"))
    with pytest.raises(DatasetError, match="lacks the columns id"):
        read_dataset(table, 24)


def test_a_label_that_is_neither_0_nor_1_is_refused_with_its_line(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.csv", [("a", "1"), ("b", "maybe")])
    with pytest.raises(DatasetError, match="line 3: label is 'maybe'"):
        read_dataset(table, 24)


def test_a_table_of_other_images_is_refused(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.csv", [("a", "1")])
    with pytest.raises(DatasetError, match="none of the 1 rows"):
        read_dataset(table, 24)


def test_a_data_set_that_is_not_there_says_which_layouts_are_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no data set .*PATIENT/0\|1"):
        read_dataset(tmp_path / "nothing", 24)


def test_a_subset_keeps_everything_in_step(make_dataset: Callable[..., object]) -> None:
    data = make_dataset("abc", 2)
    part = data.of_patients(["b"])  # type: ignore[attr-defined]
    assert set(part.patients) == {"b"}
    assert all(name.startswith("b/") for name in part.files)
    assert len(part) == len(part.images) == len(part.positions) == 4
