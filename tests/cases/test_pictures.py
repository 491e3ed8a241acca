"""Single pictures: the command and the page give the same answer, and say what they left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.cases.conftest import MODEL, Case
from wsi_pipeline.classifier import find_model, load_classifier
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.web.classify import Classification, UploadClassifier
from wsi_pipeline.web.errors import UnusableError

GLASS, TISSUE = 0.0, 0.987
"""What the model of these tests, which knows darkness alone, says of the two halves."""


def patches(width: int = 100) -> RgbArray:
    """Return glass at the left and dark violet tissue at the right, 50 px high."""
    picture = np.full((50, width, 3), (244, 240, 245), np.uint8)
    picture[:, width // 2 :] = (90, 45, 120)
    return picture


def save(case: Case, name: str, pixels: Any, **options: Any) -> Path:
    """Write a picture."""
    path = case.folder / name
    Image.fromarray(pixels).save(path, **options)
    return path


def on_the_page(path: Path) -> Classification:
    """Return the answer of the page to the file."""
    card = find_model(str(MODEL))
    page = UploadClassifier(card, lambda: load_classifier(card))
    return page.classify(path.read_bytes(), None)


def on_the_command_line(case: Case, path: Path) -> tuple[list[float], str]:
    """Return the command's probabilities, row by row, and all that it said."""
    said = case.wsi(f"classify {path.name} --tta")
    assert said.status == 0
    rows = [line.split(",") for line in said.text.splitlines() if line.startswith(path.name)]
    return [float(row[3]) for row in rows], said.text


def turned(case: Case) -> Path:
    """Write a photo that stands on its side, and says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.ascontiguousarray(np.rot90(patches()))
    return save(case, "photo.jpg", pixels, exif=exif, quality=98, subsampling=0)


def transparent(case: Case) -> Path:
    """Write tissue beside black that is transparent: glass, not ink."""
    alpha = np.full((50, 100, 1), 255, np.uint8)
    alpha[:, :50] = 0
    pixels = np.concatenate([patches(), alpha], axis=2)
    pixels[:, :50, :3] = 0
    return save(case, "cut.png", pixels)


def paged(case: Case) -> Path:
    """Write a TIFF of two pages, the first of them blank."""
    path = case.folder / "pages.tif"
    blank = np.full((50, 100, 3), 255, np.uint8)
    tifffile.imwrite(path, np.stack([blank, patches()]), photometric="rgb")
    return path


KINDS = {
    "turned by EXIF": (turned, (GLASS, TISSUE), "turned upright"),
    "transparent": (transparent, (GLASS, TISSUE), ""),
    "two pages": (paged, (GLASS, GLASS), "only the first of 2 pages"),
}


@pytest.mark.row("66, 70")
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_and_the_page_agree(case: Case, kind: str) -> None:
    """A photo turned by EXIF, a transparent PNG, a TIFF of two pages: one answer, and the note."""
    write, expected, words = KINDS[kind]
    path = write(case)
    answer = on_the_page(path)
    probabilities, said = on_the_command_line(case, path)
    assert (answer.rows, answer.cols) == (1, 2)
    assert answer.probabilities == pytest.approx(expected, abs=0.01)
    assert probabilities == pytest.approx(answer.probabilities, abs=1e-4)
    assert words in said
    assert any(words in note for note in (*answer.notes, ""))


def gray(rgb: RgbArray) -> Any:
    """Return the luminance."""
    return (rgb @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)


REFUSED: dict[str, Any] = {
    "gray.png": (lambda: gray(patches()), "8 bits a color"),
    "gray16.png": (lambda: gray(patches()).astype(np.uint16) * 257, "8 bits a color"),
    "gray_with_alpha.png": (
        lambda: np.dstack([gray(patches()), np.full((50, 100), 255, np.uint8)]),
        "8 bits a color",
    ),
    "gray_as_rgb.png": (lambda: np.dstack([gray(patches())] * 3), "without colors"),
    "black.png": (lambda: patches() // 16, "nearly black"),
}


@pytest.mark.row("68")
@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_that_could_not_show_a_tumor(case: Case, name: str) -> None:
    """A gray patch in several dialects, and a nearly black one; its colored twin is answered."""
    pixels, words = REFUSED[name]
    path = save(case, name, pixels())
    save(case, "twin.png", patches())
    said = case.wsi(f"classify {name} twin.png")
    assert said.status == 1
    assert name in said
    assert words in said
    assert "\ntwin.png" in said.text
    with pytest.raises(UnusableError, match=words):
        on_the_page(path)


@pytest.mark.row("68+")
def test_twelve_bits_kept_in_sixteen(case: Case) -> None:
    """A TIFF of 16 bits that uses 12: refused by both, not called "not IDC"."""
    path = case.folder / "deep.tif"
    tifffile.imwrite(path, patches().astype(np.uint16) * 16, photometric="rgb")
    said = case.wsi("classify deep.tif")
    assert said.status == 1
    with pytest.raises(UnusableError):
        on_the_page(path)


@pytest.mark.row("68+")
def test_all_of_sixteen_bits_is_answered_with_a_note(case: Case) -> None:
    """A TIFF of 16 bits that uses them all: answered, with what was read as white."""
    path = case.folder / "deep.tif"
    tifffile.imwrite(path, patches().astype(np.uint16) * 257, photometric="rgb")
    probabilities, said = on_the_command_line(case, path)
    assert probabilities == pytest.approx([GLASS, TISSUE], abs=0.01)
    assert "65535 is read as white" in said
