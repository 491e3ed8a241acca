"""Folders as they lie on people's drives: which files are slides, and what the others are."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile

from tests.cases.conftest import Case
from tests.dicom_phantom import write_dicom_phantom
from wsi_pipeline.geometry import Box, Size


def dicom_slide(folder: Path) -> list[Path]:
    """Write a DICOM slide of two files; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_dicom_phantom(
        folder, size_l0=Size(1000, 1000), hot_box_l0=Box(300, 300, 400, 400), um_px=(4.0, 4.0)
    )
    return sorted(folder.glob("*.dcm"))


def other_object(slide: Path, path: Path, sop_class: str, **changes: object) -> None:
    """Write a DICOM object of another kind from a slide's header."""
    dataset = pydicom.dcmread(slide)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def gray_pyramid(path: Path, values: tuple[int, ...] = (0, 1)) -> None:
    """Write a tiled gray TIFF, as label masks are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((512, 512), values[0], np.uint8)
    pixels[100:300, 100:300] = values[-1]
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="minisblack")


def listed(case: Case, folder: str) -> dict[str, tuple[str, str]]:
    """Return role and reason of every file, as `scan --list-ignored` writes them."""
    case.wsi(f"scan {folder} -o list.csv --list-ignored files.csv")
    with (case.folder / "files.csv").open(newline="", encoding="utf-8-sig") as handle:
        return {Path(r["file"]).name: (r["role"], r["reason"]) for r in csv.DictReader(handle)}


@pytest.mark.row("19")
def test_results_and_exports_within_the_archive(case: Case) -> None:
    """The output folder lies in the archive, maps are exported into it, then it is run again."""
    case.slide("archive/a.tif")
    case.slide("archive/b.tif")
    command = "run archive -o archive/results"
    assert case.wsi(command).status == 0
    exports = "--to ome-tiff --to ome-tiff-rgb"
    assert case.wsi(f"export archive/results {exports}").status == 0
    assert case.wsi(f"export archive/results {exports} -o archive/exports").status == 0
    again = case.wsi(command)
    assert again.status == 0
    assert "2 slides" in again
    assert "own result" in again
    files = listed(case, "archive")
    assert files["slides.json"] == files["summary.csv"] == ("own result", "own result")
    assert set(case.states("archive/results")) == {"a", "b"}


@pytest.mark.row("19+")
def test_an_archive_that_is_its_own_output_folder(case: Case) -> None:
    """``run . -o .``: slides and results in one folder, twice."""
    case.slide("slides/a.tif")
    for _ in range(2):
        assert case.wsi("run . -o . --outputs map").status == 0
        assert set(case.states(".")) == {"a"}


@pytest.mark.row("20")
def test_trash_and_snapshots_are_not_entered(case: Case) -> None:
    """Trash, snapshots and thumbnails of file servers hold copies of the slides."""
    slide = case.slide("archive/cases/case1.tif")
    for name in (".snapshot/n.0", ".Trash-1000/files", "$RECYCLE.BIN", "#recycle", "~snapshot"):
        (case.folder / "archive" / name).mkdir(parents=True)
        shutil.copy(slide, case.folder / "archive" / name / "case1.tif")
    case.write("archive/@eaDir/case1.tif/SYNOPHOTO_THUMB_M.jpg", b"x")
    case.write("archive/cases/._case1.tif", b"Mac OS X")
    said = case.run("archive")
    assert said.status == 0
    assert set(case.states()) == {"case1"}
    assert "hidden, trash or snapshot folder: 6" in said
    assert "hidden file: 1" in said


@pytest.mark.row("22")
def test_other_formats_are_named_and_what_opens_is_done(case: Case) -> None:
    """Formats of other scanners, half copies, and TIFF under other names beside a slide."""
    slide = case.slide("archive/A.tif")
    left = ("B.vsi", "C.isyntax", "D.sdpc", "E.kfb", "G.zvi", "O.svs.gz", "Q.svs.part")
    for name in left:
        case.write(f"archive/{name}", b"II*\0" + b"x" * 100)
    for name in ("I.btf", "J.ome.btf", "L.tf8", "M.qptiff", "NOEXT", "P.TIF "):
        shutil.copy(slide, case.folder / "archive" / name)
    said = case.run("archive")
    assert said.status == 0
    assert len(case.states()) == 7
    assert ".isyntax .kfb .sdpc .vsi .zvi; to be converted" in said
    assert "copy under way: 1" in said
    files = listed(case, "archive")
    assert files["O.svs.gz"] == ("left out", "packed")
    assert len(files) == 14
    with (case.folder / "files.csv").open(newline="", encoding="utf-8-sig") as handle:
        advice = {Path(row["file"]).name: row["advice"] for row in csv.DictReader(handle)}
    assert "isyntax2raw" in advice["C.isyntax"]


@pytest.mark.row("23")
def test_label_masks_beside_slides(case: Case) -> None:
    """Masks of 0/1 and 0/255 beside the slides, as in CAMELYON, and in a folder of their own."""
    case.slide("archive/tumor_001.tif")
    gray_pyramid(case.folder / "archive/tumor_001_mask.tif")
    gray_pyramid(case.folder / "archive/tumor_001_label255.tif", (0, 255))
    gray_pyramid(case.folder / "archive/masks/tumor_001.tif")
    said = case.run("archive")
    assert said.status == 0
    assert set(case.states()) == {"tumor_001"}
    assert "label mask: 3" in said


@pytest.mark.row("23+")
def test_the_label_and_macro_pictures_of_a_slide(case: Case) -> None:
    """Label and macro picture exported as TIFF beside their slide."""
    slide = case.slide("archive/S1.tif")
    for name in ("S1_label.tif", "S1-macro.tif", "S1 thumbnail.tif"):
        tifffile.imwrite(slide.parent / name, np.full((90, 90, 3), 200, np.uint8))
    assert case.run("archive").status == 0
    assert set(case.states()) == {"S1"}


@pytest.mark.row("58")
def test_every_file_of_a_dicom_slide_is_named(case: Case) -> None:
    """``case/*.dcm`` and a list of all instances: one slide."""
    files = dicom_slide(case.folder / "case")
    said = case.run(" ".join(f"case/{path.name}" for path in files))
    assert said.status == 0
    assert len(case.states()) == 1
    assert "1 slide, 1 part of a slide" in said
    case.write("list.csv", "slide\n" + "".join(f"case/{path.name}\n" for path in files))
    assert case.wsi("run list.csv -o out2 --outputs map").status == 0
    assert len(case.states("out2")) == 1


@pytest.mark.row("59")
def test_other_objects_beside_a_dicom_slide(case: Case) -> None:
    """A segmentation, an X-ray and a report beside a DICOM slide."""
    slide = dicom_slide(case.folder / "case")[0]
    for name, sop_class in (
        ("seg.dcm", "1.2.840.10008.5.1.4.1.1.66.4"),
        ("xray.dcm", "1.2.840.10008.5.1.4.1.1.1.1"),
        ("report", "1.2.840.10008.5.1.4.1.1.88.33"),
    ):
        other_object(slide, case.folder / "case" / name, sop_class)
    said = case.run("case")
    assert said.status == 0
    assert len(case.states()) == 1
    assert "DICOM object of another kind: 3" in said


@pytest.mark.row("59+")
def test_a_dicom_slide_without_suffixes(case: Case) -> None:
    """DICOM as an archive system stores it: names of digits and dots, in a folder a series."""
    for number, path in enumerate(dicom_slide(case.folder / "1.2.840"), start=1):
        path.rename(path.with_name(f"1.2.840.113.{number}"))
    assert case.run("1.2.840").status == 0
    assert list(case.states().values()) == ["done"]


@pytest.mark.row("59+")
def test_our_own_dicom_export_beside_the_slide(case: Case) -> None:
    """A DICOM object that this program has exported lies beside the slide."""
    slide = dicom_slide(case.folder / "case")[0]
    seg = "1.2.840.10008.5.1.4.1.1.66.4"
    own = "wsi_pipeline developers"
    other_object(slide, case.folder / "case/own.dcm", seg, Manufacturer=own)
    assert listed(case, "case")["own.dcm"] == ("own result", "own result")


@pytest.mark.row("22+")
def test_links_to_folders_are_followed_once(case: Case) -> None:
    """Folders linked into the archive, one of them to the archive itself; a broken link."""
    case.slide("store/a.tif")
    case.slide("archive/b.tif")
    archive = case.folder / "archive"
    (archive / "more").symlink_to(case.folder / "store")
    (archive / "again").symlink_to(case.folder / "store")
    (archive / "loop").symlink_to(archive)
    (archive / "gone.tif").symlink_to(case.folder / "nowhere.tif")
    (archive / "b2.tif").symlink_to(archive / "b.tif")
    said = case.run("archive")
    assert said.status == 0
    assert set(case.states()) == {"a", "b"}
    assert "broken link: 1" in said
    assert "searched already: 2" in said
    assert "another name of a file counted already: 1" in said


@pytest.mark.row("22+")
def test_a_dicom_slide_by_a_link_to_one_of_its_files(case: Case) -> None:
    """A folder of links to the slides of a study: one file of each is linked."""
    files = dicom_slide(case.folder / "store")
    (case.folder / "chosen").mkdir()
    (case.folder / "chosen/case1.dcm").symlink_to(files[0])
    assert case.run("chosen").status == 0
    assert case.states() == {"case1": "done"}


@pytest.mark.row("22+")
def test_mirax_parts_belong_to_their_slide(case: Case) -> None:
    """A MIRAX slide with its folder, and a folder whose .mrxs file is missing."""
    case.slide("archive/ok.tif")
    case.write("archive/S1.mrxs", b"\xff\xd8x")
    for folder in ("S1", "S2"):
        case.write(f"archive/{folder}/Slidedat.ini", "[GENERAL]\n")
        case.write(f"archive/{folder}/Data0000.dat", b"x")
    files = listed(case, "archive")
    assert files["S1"] == ("part of a slide", "part of a slide")
    assert files["S2"] == ("left out", "MIRAX data without its .mrxs file")
    assert files["S1.mrxs"][0] == "slide"


@pytest.mark.row("22+")
def test_a_slide_that_failed_is_tried_again_when_its_missing_part_arrives(case: Case) -> None:
    """A .mrxs whose folder is still being copied: no third run, until the folder is there."""
    case.write("archive/S1.mrxs", b"\xff\xd8x")
    assert "folder S1 with the slide's data is missing" in case.run("archive")
    assert "failed before" in case.run("archive")
    case.write("archive/S1/Slidedat.ini", "[GENERAL]\n")
    said = case.run("archive")
    assert "failed before" not in said
    assert "S1: FAILED in open" in said


@pytest.mark.row("22+")
def test_pictures_texts_and_odd_files(case: Case) -> None:
    """Pictures, texts, an empty file, a pipe and a file without a known content beside a slide."""
    case.slide("archive/a.tif")
    case.write("archive/photo.png", b"\x89PNG\r\n")
    case.write("archive/notes.txt", "x")
    case.write("archive/README", "x")
    case.write("archive/empty", "")
    os.mkfifo(case.folder / "archive/pipe.tif")
    assert case.run("archive").status == 0
    files = listed(case, "archive")
    assert files["photo.png"] == ("left out", "plain picture")
    assert files["notes.txt"] == files["README"] == files["empty"] == ("left out", "no slide")
    assert files["pipe.tif"] == ("left out", "no regular file")


@pytest.mark.row("22+")
def test_a_folder_without_slides_says_what_it_holds(case: Case) -> None:
    """A folder of slides of a format that is not read."""
    case.write("archive/a.vsi", b"x")
    case.write("archive/b.vsi", b"x")
    said = case.run("archive")
    assert said.status == 2
    assert "holds no slides" in said
    assert "of a format that is not read: 2 (.vsi; to be converted)" in said
    assert not (case.folder / "out").exists()
