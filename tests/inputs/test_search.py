"""From what the user names to the slides to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError, SlideOpenError
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.inputs.search import find_slides
from wsi_pipeline.inputs.slide_list import read_slide_list


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def ids(*inputs: Path) -> list[str]:
    return [entry.slide_id for entry in find_slides(inputs)]


def test_folders_are_searched_for_slides_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "deep/er/b.TIF", "c.png", "d.txt", ".hidden.svs", "e.ndpi")
    assert sorted(ids(tmp_path)) == ["a", "b", "e"]


def test_a_file_that_is_named_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "picture.png")
    assert ids(path) == ["picture"]


def test_a_slide_named_twice_is_done_once(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "a.svs")
    assert ids(path, tmp_path, path) == ["a"]


def test_equal_stems_get_ids_that_differ_without_regard_to_case(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.svs", "y/a.svs", "y/A.tif", "b.svs")
    found = ids(tmp_path)
    assert len({name.casefold() for name in found}) == 4
    assert "b" in found
    assert "x_a" in found


def test_an_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*missing\.svs"):
        find_slides([tmp_path / "missing.svs"])


def test_a_folder_without_slides_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(ConfigError, match=r"holds no slides.*\.svs"):
        find_slides([tmp_path])


def test_a_dicom_series_is_one_slide_and_a_damaged_file_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = {"1.dcm": "one", "2.dcm": "one", "3.dcm": "two", "bad.dcm": ""}
    for path in touch(tmp_path, *series):
        path.write_bytes(b"\0" * 128 + b"DICM")

    def header(path: Path) -> SimpleNamespace | None:
        uid = series[path.name]
        return SimpleNamespace(is_slide=True, series=uid) if uid else None

    monkeypatch.setattr("wsi_pipeline.inputs.file_kinds.read_dicom_header", header)
    monkeypatch.setattr("wsi_pipeline.inputs.search.read_dicom_header", header)
    assert ids(tmp_path) == ["1", "3", "bad"]


ListWriter = Callable[..., Path]


@pytest.fixture
def write_list(tmp_path: Path) -> ListWriter:
    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "list.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_a_list_brings_resolution_and_id(write_list: ListWriter, tmp_path: Path) -> None:
    path = write_list("slide,mpp_x,mpp_y,id\nsub/a.svs,0.25,0.26,case 1\n/data/b.svs,,,\n")
    first, second = read_slide_list(path)
    assert (first.path, first.mpp_override, first.slide_id) == (
        tmp_path / "sub/a.svs",
        Mpp(0.25, 0.26),
        "case 1",
    )
    assert (second.path, second.mpp_override, second.slide_id) == (Path("/data/b.svs"), None, "b")


def test_one_resolution_column_stands_for_both_axes(write_list: ListWriter) -> None:
    (entry,) = read_slide_list(write_list("slide,mpp_x\na.svs,0.5\n"))
    assert entry.mpp_override == Mpp(0.5, 0.5)


def test_a_list_from_a_spreadsheet_is_read(write_list: ListWriter) -> None:
    (entry,) = read_slide_list(write_list("slide,note\nfüll.svs,ä\n", "utf-8-sig"))
    assert entry.slide_id == "füll"


def test_rows_to_skip_and_empty_rows_are_left_out(write_list: ListWriter) -> None:
    path = write_list("slide,skip\na.svs,\nb.svs,blurred\n,\nc.svs, \n")
    assert [entry.slide_id for entry in read_slide_list(path)] == ["a", "c"]


@pytest.mark.parametrize("text", ["path,mpp_x\na.svs,1\n", ""])
def test_a_list_without_its_column_is_refused(write_list: ListWriter, text: str) -> None:
    with pytest.raises(ConfigError, match="no column 'slide'"):
        read_slide_list(write_list(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide,mpp_x\na.svs,about 1\nb.svs,\n", r"line 2: mpp_x is 'about 1'"),
        ("slide,mpp_x\nb.svs,0.25\na.svs,-1\n", r"line 3: mpp_x is '-1'"),
        ("slide,mpp_y\na.svs,250\nb.svs,1\n", r"line 2: mpp_y is '250'"),
        ("slide,mpp_x\na.svs,0,25\nb.svs,1\n", r"line 2: 1 cells more than columns"),
        ("slide\nC:\\x\\a.svs\nb.svs\n", r"line 2: C:.x.a\.svs is a path of Windows"),
    ],
)
def test_a_bad_row_is_a_slide_that_fails_with_the_line(
    write_list: ListWriter, text: str, message: str
) -> None:
    entries = {entry.slide_id: entry for entry in read_slide_list(write_list(text))}
    assert re.search(message, entries["a"].problem)
    assert entries["b"].problem == ""
    with pytest.raises(SlideOpenError, match="Correct the list"):
        entries["a"].source(Config()).open()


@pytest.mark.parametrize(
    ("stated", "made"), [("../up", ".._up"), ("..", "slide"), ("a:b", "a_b"), ("b.", "b")]
)
def test_an_id_that_cannot_be_a_folders_name_is_changed_and_told(
    write_list: ListWriter, caplog: pytest.LogCaptureFixture, stated: str, made: str
) -> None:
    (entry,) = read_slide_list(write_list(f"slide,id\na.svs,{stated}\n"))
    assert entry.slide_id == made
    assert "line 2: the id" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\x03\x04x", "is a workbook"), (bytes(range(1, 9)) * 9, "is no text")],
)
def test_a_list_that_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        find_slides([tmp_path / "list.csv"])


def test_a_workbook_is_no_list(tmp_path: Path) -> None:
    touch(tmp_path, "list.xlsx")
    with pytest.raises(ConfigError, match="Save it as CSV"):
        find_slides([tmp_path / "list.xlsx"])


def test_a_slide_listed_twice_is_told_and_done_once(
    write_list: ListWriter, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_list("slide,id,mpp_x\na.svs,,\n./a.svs,case 1,0.5\n")
    (entry,) = find_slides([path])
    assert (entry.slide_id, entry.mpp_override) == ("case 1", Mpp(0.5, 0.5))
    assert "line 3 names the slide of list.csv, line 2 again" in caplog.text


def test_a_slide_listed_with_different_resolutions_fails_with_both(write_list: ListWriter) -> None:
    (entry,) = find_slides([write_list("slide,mpp_x\na.svs,4\na.svs,2\n")])
    assert "4 in list.csv, line 2" in entry.problem
    assert "2 in list.csv, line 3" in entry.problem


def test_what_a_list_says_stands_above_the_folder_that_holds_the_slide(
    write_list: ListWriter, tmp_path: Path
) -> None:
    touch(tmp_path, "x/a.svs")
    (entry,) = find_slides([tmp_path / "x", write_list("slide,mpp_x\nx/a.svs,0.5\n")])
    assert entry.mpp_override == Mpp(0.5, 0.5)


def test_a_list_without_slides_is_refused(write_list: ListWriter) -> None:
    with pytest.raises(ConfigError, match="name no slides"):
        find_slides([write_list("slide\n")])
