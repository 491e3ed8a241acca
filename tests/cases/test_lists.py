"""Slide lists as people's programs write them."""

from __future__ import annotations

import pytest

from tests.cases.conftest import Case
from wsi_pipeline.geometry import Box

COLD = Box(0, 0, 0, 0)
"""A slide without a dark box: nothing is called IDC."""


def two_slides(case: Case) -> None:
    case.slide("s1.tif", mpp=None)
    case.slide("s2.tif", hot_box_l0=COLD)


@pytest.mark.row("52")
def test_german_excel(case: Case) -> None:
    """A list saved by a German Excel: semicolons and decimal commas."""
    two_slides(case)
    case.write("excel_de.csv", "slide;mpp_x;mpp_y\r\ns1.tif;4,0;4,0\r\ns2.tif;;\r\n;;\r\n")
    assert case.run("excel_de.csv").status == 0
    assert case.summary()["s1"]["mpp_x"] == "4"
    assert set(case.states()) == {"s1", "s2"}


@pytest.mark.row("53")
@pytest.mark.parametrize("word", ["no", "0", "FALSE", "Falsch", "NaN", ""])
def test_skip_is_no(case: Case, word: str) -> None:
    """The column `skip` says no."""
    case.slide("s.tif")
    case.write("list.csv", f"slide,skip,x\ns.tif,{word},y\n")
    assert case.run("list.csv").status == 0
    assert case.states() == {"s": "done"}


@pytest.mark.row("53")
def test_skip_is_yes(case: Case) -> None:
    """The column `skip` says yes, or why."""
    case.slide("s.tif")
    case.write("list.csv", "slide,skip\nt.tif,TRUE\nu.tif,out of focus\ns.tif,\n")
    assert case.run("list.csv").status == 0
    assert case.states() == {"s": "done"}


@pytest.mark.row("54")
def test_the_same_slide_twice_with_different_resolutions(case: Case) -> None:
    """The same slide twice in a list, with another id and µm/px: neither is right for sure."""
    case.slide("s1.tif")
    case.slide("s2.tif")
    case.write("twice.csv", "slide,id,mpp_x\ns1.tif,a,4\ns1.tif,b,2\ns2.tif,,\n")
    said = case.run("twice.csv")
    assert said.status == 1
    assert "2 in twice.csv, line 3, 4 in twice.csv, line 2" in said
    assert case.states() == {"a": "failed", "s2": "done"}


@pytest.mark.row("54")
def test_the_same_slide_twice(case: Case) -> None:
    """The same slide twice in a list, nothing contradicts."""
    case.slide("s1.tif")
    case.write("twice.csv", "slide,id\ns1.tif,\n./s1.tif,a\n")
    said = case.run("twice.csv")
    assert said.status == 0
    assert "twice.csv, line 3 names the slide of twice.csv, line 2 again" in said
    assert case.states() == {"a": "done"}


@pytest.mark.row("55")
def test_windows_paths(case: Case) -> None:
    """Paths of Windows on Linux, one with a drive, one that is relative, one that is not there."""
    case.slide("s1.tif")
    case.write("list.csv", "slide\r\nC:\\slides\\s1.tif\r\n.\\s1.tif\r\nsub\\s3.tif\r\n")
    said = case.run("list.csv")
    assert said.status == 1
    assert "list.csv, line 2: C:\\slides\\s1.tif is a path of Windows" in said
    assert "sub/s3.tif does not exist" in said
    assert case.states()["s1"] == "done"


@pytest.mark.row("55")
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("slide,mpp_x\r\nPräparat.tif,4\r\n", "utf-16"),
        ("slide,mpp_x\r\nPräparat.tif,4\r\n", "utf-8-sig"),
        ("slide,mpp_x\r\nPräparat.tif,4\r\n", "cp1252"),
        ("sep=;\r\nslide;mpp_x\r\nPräparat.tif;4\r\n", "utf-8"),
        ("Slide,MPP_X\r\nPräparat.tif,4\r\n", "utf-8"),
        ("slide\tmpp_x\r\nPräparat.tif\t4,0\r\n", "utf-16"),
    ],
    ids=["utf-16", "bom", "cp1252", "sep", "capitals", "unicode text of Excel"],
)
def test_odd_lists(case: Case, text: str, encoding: str) -> None:
    """A list in a dialect of Excel's."""
    case.slide("Präparat.tif", mpp=None)
    case.write("list.csv", text, encoding)
    assert case.run("list.csv").status == 0
    assert case.summary()["Präparat"]["mpp_x"] == "4"


@pytest.mark.row("55")
def test_nan(case: Case) -> None:
    """A list saved by pandas, which writes nan for what is not known."""
    case.slide("s.tif")
    case.write("list.csv", "slide,id,mpp_x,mpp_y,skip\ns.tif,nan,nan,nan,nan\n")
    assert case.run("list.csv").status == 0
    assert case.summary()["s"]["mpp_source"] == "tiff.XResolution"


@pytest.mark.row("4+")
def test_an_unquoted_decimal_comma(case: Case) -> None:
    """A decimal comma in a list with commas, which shifts the cells: that row alone fails."""
    two_slides(case)
    case.write("list.csv", "slide,mpp_x,mpp_y\ns1.tif,0,25,0,25\ns2.tif,4,4\n")
    said = case.run("list.csv")
    assert said.status == 1
    assert "list.csv, line 2: 2 cells more than columns" in said
    assert case.states() == {"s1": "failed", "s2": "done"}


@pytest.mark.row("4+")
def test_a_row_with_a_resolution_that_is_none(case: Case) -> None:
    """One row with "ca. 0.25" for the µm/px."""
    two_slides(case)
    case.write("list.csv", "slide,mpp_x\ns1.tif,ca. 0.25\ns2.tif,\n")
    said = case.run("list.csv")
    assert said.status == 1
    assert "line 2: mpp_x is 'ca. 0.25'; give µm/px" in said
    assert case.states() == {"s1": "failed", "s2": "done"}


@pytest.mark.row("4+")
def test_nul_bytes_and_the_end_mark_of_dos(case: Case) -> None:
    """A list whose end a crash has filled with NUL, with a control character in a name before."""
    case.slide("s.tif")
    case.write("list.csv", b"slide\ns.tif\na\x07b.tif\n\x00\x00\x00\x00\n\x1a")
    said = case.run("list.csv")
    assert said.status == 1
    assert "a␇b.tif does not exist" in said
    assert case.states()["s"] == "done"


@pytest.mark.row("4+")
@pytest.mark.parametrize(
    ("page", "name"),
    [("gb18030", "切片一"), ("cp932", "スライド"), ("cp949", "표본"), ("cp1251", "Срез")],
)
def test_a_list_in_a_far_code_page(case: Case, page: str, name: str) -> None:
    """A list saved by a Chinese, Japanese, Korean or Russian Excel, in its own code page."""
    case.slide(f"{name}.tif")
    case.write("list.csv", f"slide\n{name}.tif\n", page)
    assert case.run("list.csv").status == 0
    assert case.states() == {name: "done"}


@pytest.mark.row("4+")
@pytest.mark.parametrize("name", ["list.csv", "list.xlsx"])
def test_a_workbook_for_a_list(case: Case, name: str) -> None:
    """An Excel workbook given for a list."""
    case.write(name, b"PK\x03\x04 and so on")
    said = case.run(name)
    assert said.status == 2
    assert "Save it as CSV" in said


@pytest.mark.row("4+")
def test_a_tab_separated_list(case: Case) -> None:
    """A list with the suffix .tsv."""
    case.slide("s.tif")
    case.write("list.tsv", "slide\tid\ns.tif\tcase 1\n")
    assert case.run("list.tsv").status == 0
    assert case.states() == {"case 1": "done"}


@pytest.mark.row("4+")
def test_an_edited_list_is_kept(case: Case) -> None:
    """A list that `scan` wrote, edited; then the scan again."""
    case.slide("in/s.tif")
    assert case.wsi("scan in -o list.csv").status == 0
    assert case.wsi("scan in -o list.csv").status == 0, "what nobody has edited is replaced"
    path = case.folder / "list.csv"
    edited = path.read_bytes().replace(b"s.tif,s,,", b"s.tif,s,blurred,")
    path.write_bytes(edited)
    said = case.wsi("scan in -o list.csv")
    assert said.status == 2
    assert "skip is 'blurred'" in said
    assert path.read_bytes() == edited
    assert case.wsi("scan in -o list.csv --overwrite").status == 0
    assert path.read_bytes() != edited


@pytest.mark.row("4+")
def test_a_list_opens_in_excel_and_comes_back(case: Case) -> None:
    """A list that `scan` wrote: names with umlauts open right in Excel, formulas are text."""
    case.slide("in/Präparat.tif")
    case.slide("in/=1+2.tif")
    assert case.wsi("scan in -o list.csv").status == 0
    text = (case.folder / "list.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbf")
    assert b",'=1+2," in text
    assert case.run("list.csv").status == 0
    assert case.states() == {"Präparat": "done", "'=1+2": "done"}
    summary = (case.folder / "out/summary.csv").read_text("utf-8")
    assert "\n'=1+2,done" in summary
