"""The review sheet as PNG and PDF."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.errors import ConfigError, StorageError
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import find_regions
from wsi_pipeline.render.overlay import Caption
from wsi_pipeline.render.sheet import _fitting, write_sheet

MakeMap = Callable[..., ProbabilityMap]


NOTES = [("Stain fit", "none"), ("Config", "a_$1$")]
Notes = list[tuple[str, str]]


def _write(map_: ProbabilityMap, path: Path, notes: Notes = NOTES) -> None:
    write_sheet(
        np.full((390, 480, 3), 220, np.uint8),
        map_,
        find_regions(map_, threshold=0.5, low_threshold=0.4),
        Caption.of(map_, date="2026-01-02", software="wsi_pipeline 0.1.0"),
        notes=notes,
        path=path,
    )


def test_a_png_sheet_is_a4_across(make_map: MakeMap, tmp_path: Path) -> None:
    _write(make_map(), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size[0] / picture.size[1] == pytest.approx(297 / 210, abs=0.01)


def test_a_pdf_sheet_is_the_same_the_next_day(make_map: MakeMap, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        _write(make_map(), tmp_path / "sheet.pdf")
        contents.append((tmp_path / "sheet.pdf").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(b"%PDF")
    assert b"CreationDate" not in contents[0]


def test_a_sheet_of_a_slide_with_nothing_classified_is_written(
    make_map: MakeMap, tmp_path: Path
) -> None:
    map_ = make_map()
    map_.values[...] = np.nan
    _write(map_, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0


@pytest.mark.parametrize("familiar", [False, None], ids=["unfamiliar", "cannot be known"])
def test_a_slide_that_is_not_familiar_is_said_above_the_notice(
    make_map: MakeMap, tmp_path: Path, familiar: bool | None
) -> None:
    pictures = []
    for answer in (True, familiar):
        known = None if answer is None else {"familiar": answer}
        _write(make_map(familiarity=known), tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as picture:
            pictures.append(np.asarray(picture.convert("L"), np.int16))
    height, width = pictures[0].shape
    rows, cols = np.nonzero(pictures[0] != pictures[1])
    assert rows.min() / height > 0.935  # below the scale bar
    assert rows.max() / height < 0.96  # above the notice
    assert cols.max() / width < 0.65
    assert cols.max() - cols.min() > 0.15 * width


@pytest.mark.parametrize("n_notes", [2, 12, 60])
def test_many_regions_and_notes_end_above_the_footer(
    make_map: MakeMap, tmp_path: Path, n_notes: int
) -> None:
    map_ = make_map()
    map_.values[::2, ::2] = 1.0
    _write(map_, tmp_path / "sheet.png", [("Note", "words")] * n_notes)
    with Image.open(tmp_path / "sheet.png") as picture:
        column = np.asarray(picture.convert("L"))[:, round(0.655 * picture.width) :]
    height = len(column)
    assert (column[round(0.955 * height) : round(0.96 * height)] == 255).all()
    assert (column[round(0.98 * height) :] == 255).all()
    filled = (column[round(0.5 * height) : round(0.955 * height)] < 128).any(axis=1)
    assert filled.sum() > 100


def test_what_is_left_out_of_the_notes_is_counted() -> None:
    fitting = _fitting([("Note", str(n)) for n in range(60)], 0.3)
    assert fitting[-1] == ("", f"{61 - len(fitting)} more lines in status.json")
    assert _fitting(NOTES, 0.3) == NOTES


def test_another_suffix_is_refused(make_map: MakeMap, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a sheet is \.png or \.pdf"):
        _write(make_map(), tmp_path / "sheet.docx")


def test_a_missing_folder_is_a_storage_error(make_map: MakeMap, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        _write(make_map(), tmp_path / "no" / "sheet.pdf")
