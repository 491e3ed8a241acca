"""Names as file systems and people write them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata

import pytest

from tests.cases.conftest import MODEL, ONE_PROCESS, Case
from wsi_pipeline.geometry import Box
from wsi_pipeline.results.status import read_status
from wsi_pipeline.results.summary import slide_row

LATIN_1 = os.fsdecode(b"Pr\xe4parat 2019-12.tif")
NEEDS_ANY_BYTES = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems take no such name"
)


@pytest.mark.row("24")
@NEEDS_ANY_BYTES
def test_a_name_that_is_no_utf8(case: Case) -> None:
    """A file name that is no UTF-8 beside another slide: both are done, scanned, compared."""
    shutil.copy(case.slide("in/good.tif"), case.folder / "in" / LATIN_1)
    said = case.wsi("run in -o out")
    assert said.status == 0, said
    assert case.states() == {"Präparat 2019-12": "done", "good": "done"}
    assert case.wsi("scan in -o list.csv").status == 0
    assert case.run("list.csv").status == 0, "the list finds the file again"
    assert case.wsi("compare out out").status == 0
    assert case.wsi("export out --to ome-tiff --to geojson --to csv").status == 0
    assert case.wsi(f"preview 'in/{LATIN_1}' -o page").status == 0
    rows = (
        slide_row(name, read_status(case.folder / "out/slides" / name)) for name in case.states()
    )
    assert all(json.dumps(row, ensure_ascii=False).encode() for row in rows), "the page can show it"


@pytest.mark.row("24")
@NEEDS_ANY_BYTES
@pytest.mark.parametrize("more", [[], ["--log-json"]], ids=["words", "json"])
def test_a_name_that_is_no_utf8_in_the_locale_c(case: Case, more: list[str]) -> None:
    """The same in a container: LC_ALL=C, processes of their own."""
    shutil.copy(case.slide("in/good.tif"), case.folder / "in" / LATIN_1)
    case.write("one_process.yaml", ONE_PROCESS)
    words = ["-m", "wsi_pipeline", "run", "in", "-o", "out", "--model", str(MODEL), *more]
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C"}
    ended = subprocess.run(
        [sys.executable, *words, "-c", "one_process.yaml"], env=environment, capture_output=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert set(case.states().values()) == {"done"}
    if more:
        lines = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith(b"{")]
        finished = [line for line in lines if line["message"] == "slide finished"]
        assert {line["slide_id"] for line in finished} == {"good", "Präparat 2019-12"}


@pytest.mark.row("26")
def test_long_names(case: Case) -> None:
    """Stems of 251 and 250 bytes, the files themselves allowed; an entry of 300 characters."""
    slide = case.slide("in/ok.tif")
    for stem in ("TCGA-" + "x" * 246, "Ж" * 125):
        shutil.copy(slide, case.folder / "in" / f"{stem}.tif")
    assert case.run("in").status == 0
    assert len(case.states()) == 3
    assert all(len(slide_id.encode()) <= 120 for slide_id in case.states())
    case.write("list.csv", "slide\n" + "x" * 300 + ".tif\nin/ok.tif\n")
    said = case.wsi("run list.csv -o other --outputs map")
    assert said.status == 1
    assert sorted(case.states("other").values()) == ["done", "failed"]


@pytest.mark.row("28")
def test_names_in_any_script(case: Case) -> None:
    """Chinese, Japanese, Korean, Arabic, Cyrillic names: a caption to read, no warning."""
    for name in ("切片一", "スライド1", "표본", "عينة_2024", "Препарат"):
        case.slide(f"in/{name}.tif")
    said = case.wsi("run in -o out")  # a missing glyph is a warning, and warnings are errors here
    assert said.status == 0
    assert "lyph" not in said
    assert set(case.states().values()) == {"done"}


@pytest.mark.row("32")
def test_mask_and_outlines_named_in_another_normal_form(case: Case) -> None:
    """Annotation and mask from a Mac (decomposed letters), the slide's name composed."""
    case.slide("in/Präparat_1.tif")
    name = unicodedata.normalize("NFD", "Präparat_1")
    case.outlines(f"drawn/{name}.geojson")
    assert case.wsi("run in -o out").status == 0
    assert case.wsi("compare out drawn").status == 0
    assert case.compared()["reference_mm2"] == pytest.approx(case.SQUARE_MM2)
    assert case.wsi("run in -o other --outputs map --mask drawn").status == 0
    assert case.status("Präparat_1", "other")["tissue_mask"]["method"] == "geojson"


@pytest.mark.row("34")
def test_a_mask_named_by_the_file(case: Case) -> None:
    """A mask that QuPath's script has named by the whole file: s.tif.geojson."""
    case.slide("s.tif")
    case.outlines("masks/s.tif.geojson")
    assert case.run("s.tif", "--mask masks").status == 0
    assert case.status("s")["tissue_mask"]["method"] == "geojson"


@pytest.mark.row("72")
def test_shadows_of_macos_beside_pictures(case: Case) -> None:
    """`._a.png` of macOS beside the pictures of `classify`."""
    patch = case.patch("pictures/a.png")
    case.write("pictures/._a.png", b"\0\5\26\7\0\2\0\0Mac OS X        ")
    case.write("pictures/__MACOSX/a.png", b"x")
    said = case.wsi("classify pictures")
    assert said.status == 0
    assert str(patch.relative_to(case.folder)) in said
    assert "._a.png" not in said


ODD_STEMS = (
    *("S24:0001 (A*B?)", "name with a trailing dot.", " blanks ", "new\nline", "CON", "a'b\"c"),
    *("🔬 slide", "[1]", "-rf", "%s %d", "$HOME", "𝑎", "a\u202eb"),
)


@pytest.mark.row("4+")
@NEEDS_ANY_BYTES
def test_names_with_odd_signs(case: Case) -> None:
    """Names that Linux takes, but Windows, a shell, a pattern or a font does not."""
    for n, stem in enumerate(ODD_STEMS):
        path = case.slide(f"in/x{n}.tif", hot_box_l0=Box(400, 400, 80 * (n + 1), 800))
        path.rename(case.folder / "in" / f"{stem}.tif")
    said = case.wsi("run in -o out")
    assert said.status == 0
    assert set(case.states().values()) == {"done"}
    assert len(case.states()) == len(ODD_STEMS)
    assert not {char for slide_id in case.states() for char in slide_id} & set('\\/:*?"<>|\n\u202e')
    assert case.wsi("scan in -o list.csv").status == 0
    said = case.wsi("run list.csv -o out --outputs map --dry-run")
    assert "would fail" not in said, "the list finds every file again"


@pytest.mark.row("4+")
def test_a_list_from_windows_with_other_capitals(case: Case) -> None:
    """A list made on Windows, where case makes no difference; one name fits two files."""
    case.slide("Cases/s1.tif")
    case.slide("two/A.tif")
    case.slide("two/a.tif")
    case.write("list.csv", "slide\ncases\\S1.TIF\ntwo\\a.tif\ntwo\\A.TIF\n")
    said = case.run("list.csv")
    assert said.status == 1
    assert "two/A.TIF does not exist" in said
    assert case.states()["s1"] == "done"


@pytest.mark.row("4+")
def test_ids_that_differ_in_case_or_normal_form(case: Case) -> None:
    """Two slides whose names a Mac or Windows takes for one: each has a folder of its own."""
    for name in ("ä", unicodedata.normalize("NFD", "ä"), "Ä"):
        case.slide(f"in/{name}.tif")
    assert case.run("in").status == 0
    folded = {unicodedata.normalize("NFC", name).casefold() for name in case.states()}
    assert len(folded) == 3
