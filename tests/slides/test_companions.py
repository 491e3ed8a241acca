"""Indexes of slides of several files: what they name is beside them."""

from pathlib import Path

import pytest

from wsi_pipeline.errors import SlideOpenError
from wsi_pipeline.slides import open_slide
from wsi_pipeline.slides.companions import check_companions

ELSEWHERE = ["../secret.jpg", "/etc/passwd", "sub/x.jpg", "..", "C:\\x.jpg", "\\\\host\\x.jpg"]


def mirax(folder: Path, name: str) -> Path:
    (folder / "a").mkdir()
    (folder / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0")
    text = f"[DATAFILE]\r\nFILE_COUNT = 2\r\nFILE_0 = Data0000.dat\r\nFILE_1 = {name}\r\n"
    (folder / "a" / "Slidedat.ini").write_text(text)
    return folder / "a.mrxs"


def hamamatsu(folder: Path, name: str) -> Path:
    text = (
        f"[Virtual Microscope Specimen]\nNoJpegColumns=1\nImageFile=a.jpg\nImageFile(1,0)={name}\n"
    )
    (folder / "a.vms").write_text(text)
    return folder / "a.vms"


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("make", [mirax, hamamatsu])
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, make: object, name: str) -> None:
    path = make(tmp_path, name)  # type: ignore[operator]
    with pytest.raises(SlideOpenError, match="outside its folder"):
        open_slide(path)


@pytest.mark.parametrize("make", [mirax, hamamatsu])
def test_a_name_that_is_a_link_to_elsewhere_is_refused(tmp_path: Path, make: object) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"")
    path = make(folder, "linked.jpg")  # type: ignore[operator]
    place = folder / "a" if path.suffix == ".mrxs" else folder
    (place / "linked.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(SlideOpenError, match="outside its folder"):
        check_companions(path)


@pytest.mark.parametrize("make", [mirax, hamamatsu])
def test_an_index_of_files_beside_it_passes(tmp_path: Path, make: object) -> None:
    check_companions(make(tmp_path, "Data0001.dat"))  # type: ignore[operator]


def test_an_index_that_is_missing_is_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").touch()
    check_companions(tmp_path / "a.mrxs")


def test_an_index_without_end_is_refused(tmp_path: Path) -> None:
    path = mirax(tmp_path, "Data0001.dat")
    (tmp_path / "a" / "Slidedat.ini").write_bytes(b"\n" * (17 * 2**20))
    with pytest.raises(SlideOpenError, match="too large"):
        check_companions(path)
