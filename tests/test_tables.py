"""Tables as people's programs write them, and as spreadsheets open them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.tables import (
    csv_bytes,
    is_unknown,
    is_yes,
    number,
    plain_cell,
    read_table,
    read_tables,
    safe_cell,
)

ROWS = [{"slide": "a.tif", "mpp_x": "0.25"}, {"slide": "b, c.tif", "mpp_x": ""}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_delimiter_is_found(tmp_path: Path, delimiter: str, end: str) -> None:
    text = end.join(['slide D"mpp_x"', "a.tif D0.25", '"b, c.tif"D', "D", ""])
    path = tmp_path / "list.csv"
    path.write_bytes(text.replace("D", delimiter).encode())
    table = read_table(path)
    assert table.columns == ("slide", "mpp_x")
    assert [row.cells for row in table.rows] == ROWS
    assert [row.line for row in table.rows] == [2, 3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_is_known_by_its_bytes(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("slide\nPräparat.tif\n".encode(encoding))
    (table,) = read_tables(path)
    assert [row.cells["slide"] for row in table.rows] == ["Präparat.tif"]


@pytest.mark.parametrize(
    ("page", "name"),
    [("cp1252", "Präparat"), ("gb18030", "切片一"), ("cp932", "スライド"), ("cp949", "표본"),
     ("cp1251", "Срез")],
)  # fmt: skip
def test_a_code_page_is_among_the_readings(tmp_path: Path, page: str, name: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(f"slide\n{name}\n".encode(page))
    assert name in [table.rows[0].cells["slide"] for table in read_tables(path)]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_excels_line_about_the_delimiter_is_no_header(tmp_path: Path, first: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{first}\nslide;note\na.tif;x, y, z\n")
    (row,) = read_table(path).rows
    assert row.cells == {"slide": "a.tif", "note": "x, y, z"}
    assert row.line == 3


def test_headers_are_read_whatever_their_case_and_blanks(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(" Slide ,MPP X,mpp-y\na,1,2\n")
    assert read_table(path).columns == ("slide", "mpp_x", "mpp_y")


def test_nul_and_the_end_mark_of_dos_around_a_cell_are_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"slide\na.tif\0\0\n\0\0\0\n\x1a")
    assert [row.cells["slide"] for row in read_table(path).rows] == ["a.tif"]


def test_a_control_character_within_a_cell_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"slide\na\0b.tif\n")
    assert read_table(path).rows[0].cells["slide"] == "a␀b.tif"


def test_cells_beyond_the_last_column_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("slide,mpp_x\na.tif,0,25\nb.tif,1,,\n")
    assert [row.n_extra for row in read_table(path).rows] == [1, 0]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path / "missing.csv")


def test_numbers_have_a_point_or_a_comma() -> None:
    assert [number(text) for text in ("0.25", "0,25", " 4 ")] == [0.25, 0.25, 4.0]
    for text in ("1.234,5", "1,234,5", "x", ""):
        with pytest.raises(ValueError, match=r"two numbers|convert"):
            number(text)


def test_no_is_no_in_the_words_of_spreadsheets() -> None:
    assert not any(map(is_yes, ["", "no", "0", "FALSE", "Falsch", "n", "NaN", "-"]))
    assert all(map(is_yes, ["x", "yes", "TRUE", "1", "bad focus"]))
    assert all(map(is_unknown, ["", "nan", "NaN", "N/A", "None"]))
    assert not is_unknown("0")


@pytest.mark.parametrize("text", ["=1+2", "+A1", "-A1", "@SUM(A1)", "\tx", "\rx", "＝1"])
def test_a_formula_is_written_as_text_and_read_back(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert plain_cell(safe_cell(text)) == text


def test_a_formula_behind_another_programs_delimiter_is_text_too() -> None:
    assert safe_cell("a;=1+2") == "a;'=1+2"
    assert safe_cell("focus -1; ink -2") == "focus -1; ink -2"


@pytest.mark.parametrize("value", ["-1.5", "+3", "-1e-5", -2, 0.5, "a=b", "", None])
def test_numbers_and_plain_words_stay_as_they_are(value: object) -> None:
    assert safe_cell(value) == value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1))
def test_no_cell_that_is_written_begins_a_formula(cells: list[str]) -> None:
    data = csv_bytes([str(i) for i in range(len(cells))], [cells]).decode()
    (_, row) = csv.reader(io.StringIO(data, newline=""))
    for cell in row:
        if cell and cell[0] in "=+-@\t\r":
            float(cell)


def test_a_list_for_excel_begins_with_a_byte_order_mark() -> None:
    assert csv_bytes(["a"], [["ä"]], for_excel=True) == "\ufeffa\nä\n".encode()
    assert csv_bytes(["a", "b"], [{"b": 1}]) == b"a,b\n,1\n"


def test_a_name_that_is_no_utf8_is_written_in_utf8() -> None:
    assert csv_bytes(["a"], [["Pr\udce4parat"]]) == b"a\nPr\\xe4parat\n"
