"""Which file is which slide: archives that grow, move and are scanned again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cases.conftest import Case
from tests.dicom_phantom import write_dicom_phantom
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.results.layout import REVIEW_NAME
from wsi_pipeline.results.locate import SlideLocator
from wsi_pipeline.results.status import Done, read_status
from wsi_pipeline.web.answers import Review
from wsi_pipeline.web.review import Change, ReviewStore, ReviewUpdate, detected_item

OTHER = {"hot_box_l0": Box(1200, 1200, 400, 400)}


def status_of(case: Case, slide_id: str) -> Done:
    status = read_status(case.folder / "out/slides" / slide_id)
    assert isinstance(status, Done)
    return status


def accept_a_region(case: Case, slide_id: str) -> Review:
    """Accept the first region, as the page does; return the review."""
    folder = case.folder / "out/slides" / slide_id
    regions = json.loads((folder / "regions.geojson").read_text())
    change = Change(id=regions["features"][0]["id"], decision="accepted")
    store = ReviewStore(folder, status_of(case, slide_id).fingerprint)
    update = ReviewUpdate(revision=0, reviewer="A. Reader", changes=[change])
    return store.save(update, lambda one: detected_item(one, regions))


def reviewed(case: Case) -> set[str]:
    return {path.parent.name for path in (case.folder / "out/slides").glob(f"*/{REVIEW_NAME}")}


@pytest.mark.row("1")
def test_a_case_that_sorts_first_comes_to_a_reviewed_archive(case: Case) -> None:
    """CASE/HE/slide1.tif is reviewed; then a case comes that sorts before it."""
    case.slide("archive/S24-0002/HE/slide1.tif")
    assert case.run("archive", "--outputs all").status == 0
    accept_a_region(case, "slide1")
    case.slide("archive/S24-0001/HE/slide1.tif", **OTHER)
    assert case.run("archive", "--outputs all").status == 0
    assert reviewed(case) == {"slide1"}
    assert "S24-0002" in status_of(case, "slide1").slide
    assert "S24-0001" in status_of(case, "S24-0001_slide1").slide


@pytest.mark.row("2")
def test_two_runs_of_two_slides_of_one_name(case: Case) -> None:
    """Two different case1.tif go into one output folder, the first is reviewed in between."""
    case.slide("A/case1.tif")
    case.slide("B/case1.tif", **OTHER)
    case.run("A/case1.tif", "--outputs all")
    accept_a_region(case, "case1")
    first = status_of(case, "case1").fingerprint
    assert case.run("B/case1.tif", "--outputs all").status == 0
    assert status_of(case, "case1").fingerprint == first
    assert status_of(case, "B_case1").fingerprint != first
    assert reviewed(case) == {"case1"}


@pytest.mark.row("4")
def test_a_second_slide_of_the_same_stem_comes_later(case: Case) -> None:
    """A second slide of the same stem appears in another folder of the archive."""
    case.slide("archive/A/s.tif")
    case.run("archive")
    case.slide("archive/B/s.tif", **OTHER)
    said = case.run("archive")
    assert "finished before, skipped" in said
    assert {row["slide_id"] for row in case.summary().values()} == {"s", "B_s"}


@pytest.mark.row("5")
def test_an_archive_that_was_moved_is_shown_by_content(case: Case) -> None:
    """Files of equal name and size lie in the moved archive: each map gets its own slide."""
    case.slide("archive/A/s.tif")
    case.slide("archive/B/s.tif", **OTHER)
    case.run("archive")
    (case.folder / "archive").rename(case.folder / "moved")
    locator = SlideLocator(case.folder / "moved")
    for slide_id in ("A_s", "B_s"):
        found = locator.find(status_of(case, slide_id))
        assert found is not None
        assert found.parent.name == slide_id[0]


@pytest.mark.row("7")
def test_a_dicom_export_after_a_move_refers_to_its_own_series(case: Case) -> None:
    """Both cases' DICOM files have the same names; after a move they are exported as DICOM SEG."""
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    boxes = {"A": Box(300, 300, 400, 400), "B": Box(100, 500, 400, 400)}
    for name, box in boxes.items():
        folder = case.folder / "archive" / name
        folder.mkdir(parents=True)
        write_dicom_phantom(folder, size_l0=Size(1000, 1000), hot_box_l0=box, um_px=(4.0, 4.0))
    assert case.run("archive", "--outputs all --threshold 0.0001").status == 0
    (case.folder / "archive").rename(case.folder / "moved")
    assert case.wsi("export out --to dicom-seg --slides moved").status == 0
    for folder in (case.folder / "out/slides").iterdir():
        slide = status_of(case, folder.name).slide
        header = pydicom.dcmread(
            case.folder / "moved" / Path(slide).parent.name / Path(slide).name,
            stop_before_pixels=True,
        )
        exported = pydicom.dcmread(folder / "segmentation.dcm", stop_before_pixels=True)
        (series,) = {item.SeriesInstanceUID for item in exported.ReferencedSeriesSequence}
        assert series == header.SeriesInstanceUID


@pytest.mark.row("62")
def test_a_companion_file_is_replaced(case: Case) -> None:
    """A slide of several files is done; then one file is replaced that is not the named one."""
    folder = case.folder / "slide"
    folder.mkdir()
    write_dicom_phantom(
        folder, size_l0=Size(1000, 1000), hot_box_l0=Box(300, 300, 400, 400), um_px=(4.0, 4.0)
    )
    case.run("slide")
    (before,) = (case.folder / "out/slides").iterdir()
    named = Path(status_of(case, before.name).slide)
    other = next(path for path in sorted(folder.iterdir()) if path != named)
    other.write_bytes(other.read_bytes() + b"\0\0")
    assert "finished before" not in case.run("slide")
    after = {path.name for path in (case.folder / "out/slides").iterdir()}
    assert len(after) == 2, "another content is another slide; what was made of the first stays"


@pytest.mark.row("2+")
def test_a_slide_is_scanned_again_at_the_same_place(case: Case) -> None:
    """A reviewed slide is scanned again, the file replaces the first."""
    case.slide("archive/s.tif")
    case.run("archive", "--outputs all")
    accept_a_region(case, "s")
    (case.folder / "archive/s.tif").unlink()
    case.slide("archive/s.tif", **OTHER)
    said = case.run("archive", "--outputs all")
    assert "holds other content now" in said
    assert reviewed(case) == {"s"}
    assert status_of(case, "s_2").fingerprint != status_of(case, "s").fingerprint


@pytest.mark.row("5+")
def test_an_export_never_takes_what_lies_at_the_recorded_place_now(case: Case) -> None:
    """Another slide lies where the slide was; its results are exported as DICOM."""
    pytest.importorskip("highdicom")
    folder = case.folder / "archive"
    folder.mkdir()
    write_dicom_phantom(
        folder, size_l0=Size(1000, 1000), hot_box_l0=Box(300, 300, 400, 400), um_px=(4.0, 4.0)
    )
    case.run("archive", "--outputs all --threshold 0.0001")
    shutil.rmtree(folder)
    folder.mkdir()
    write_dicom_phantom(
        folder, size_l0=Size(1000, 1000), hot_box_l0=Box(100, 500, 400, 400), um_px=(4.0, 4.0)
    )
    said = case.wsi("export out --to dicom-seg")
    assert said.status == 1
    assert "no file with the content that was run" in said
