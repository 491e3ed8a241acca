from pathlib import Path

import pytest

from wsi_pipeline.slides.content_hash import WHOLE_BYTES
from wsi_pipeline.slides.identity import (
    PIECES,
    fingerprint,
    index_parts,
    slide_files,
    stamp_of,
)


def write(path: Path, content: bytes = b"pixels") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def mirax(folder: Path, name: str = "case", data: bytes = b"data") -> Path:
    write(folder / name / "Slidedat.ini", b"[GENERAL]")
    write(folder / name / "Data0000.dat", data)
    return write(folder / f"{name}.mrxs")


def test_a_name_and_a_place_play_no_part(tmp_path: Path) -> None:
    one = mirax(tmp_path / "a")
    other = mirax(tmp_path / "b", "renamed")
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(write(tmp_path / "x.tif")) == fingerprint(write(tmp_path / "y" / "z.svs"))


def test_a_companion_of_other_content_makes_another_slide(tmp_path: Path) -> None:
    path = mirax(tmp_path)
    before, stamp = fingerprint(path), stamp_of(path)
    write(tmp_path / "case" / "Data0000.dat", b"atad")
    assert fingerprint(path) != before
    assert stamp_of(path) != stamp


def test_a_companion_that_is_missing_or_more_makes_another_slide(tmp_path: Path) -> None:
    path = mirax(tmp_path)
    before = fingerprint(path)
    write(tmp_path / "case" / "Data0001.dat", b"more")
    with_more = fingerprint(path)
    (tmp_path / "case" / "Data0000.dat").unlink()
    assert len({before, with_more, fingerprint(path)}) == 3


def test_the_pictures_that_an_index_names_belong_to_the_slide(tmp_path: Path) -> None:
    path = write(tmp_path / "s.vms", b"[Virtual]\nImageFile=a.jpg\nMap=../out.jpg\nNone=gone.jpg\n")
    picture = write(tmp_path / "a.jpg")
    write(tmp_path.parent / "out.jpg")
    assert index_parts(path) == [picture]
    assert slide_files(path) == (path, picture)


@pytest.mark.parametrize("at", [0, WHOLE_BYTES // 2 + 7, -1], ids=["first", "middle", "last"])
def test_a_file_that_is_read_whole_shows_every_byte(tmp_path: Path, at: int) -> None:
    content = bytearray(WHOLE_BYTES)
    before = fingerprint(write(tmp_path / "a.svs", bytes(content)))
    content[at] ^= 1
    assert fingerprint(write(tmp_path / "b.svs", bytes(content))) != before


def test_a_large_file_is_sampled_from_end_to_end(tmp_path: Path) -> None:
    content = bytearray(3 * WHOLE_BYTES)
    before = fingerprint(write(tmp_path / "a.svs", bytes(content)))
    longer = fingerprint(write(tmp_path / "b.svs", bytes(content) + b"\0"))
    content[-1] = content[0] = 1
    assert len({before, longer, fingerprint(write(tmp_path / "c.svs", bytes(content)))}) == 3
    assert PIECES > 1


def test_what_is_no_file_has_no_stamp(tmp_path: Path) -> None:
    assert stamp_of(tmp_path / "gone.svs") is None
    assert stamp_of(tmp_path) is None
    assert stamp_of(Path("nul\0byte.svs")) is None
