"""TIFFs made to do harm: refused by their directories, with nothing decoded."""

import os
import struct
from io import BytesIO
from pathlib import Path

import pytest

from tests.hostile import (
    ASCII,
    LONG,
    SHORT,
    circle,
    directory,
    measured,
    picture_tags,
    tiff,
    tile_bomb,
)
from tests.phantoms import write_phantom
from wsi_pipeline.errors import SlideOpenError
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.slides import open_slide
from wsi_pipeline.slides.tiff_bounds import MOST_DIRECTORIES, check_tiff, check_tiff_file

OPEN = "open_slide(sys.argv[1])"
IMPORT = "from wsi_pipeline.slides import open_slide"


def check(data: bytes) -> None:
    check_tiff_file(BytesIO(data), "a.tif")


def test_directories_that_form_a_circle_are_told_at_once(tmp_path: Path) -> None:
    data = circle()
    assert len(data) < 418
    (tmp_path / "a.tif").write_bytes(data)
    for name in ("a.tif", "a.svs", "a.ndpi", "a"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SlideOpenError, match="form a circle"):
            open_slide(tmp_path / name)


def test_a_directory_that_names_itself_is_a_circle() -> None:
    with pytest.raises(SlideOpenError, match="form a circle"):
        check(tiff(directory(picture_tags(), 8)))


def test_a_chain_without_end_has_an_end() -> None:
    size = len(directory({256: (SHORT, 1, 1)}, 0))
    chain = [
        directory({256: (SHORT, 1, 1)}, 8 + (n + 1) * size) for n in range(MOST_DIRECTORIES + 1)
    ]
    with pytest.raises(SlideOpenError, match="more than 4096 TIFF pages"):
        check(tiff(*chain))
    check(tiff(*chain[: MOST_DIRECTORIES - 1]))


def test_a_tile_of_a_gigabyte_in_a_small_picture_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    path.write_bytes(tile_bomb())
    words, megabytes = measured(IMPORT, OPEN, path)
    assert "SlideOpenError" in words
    assert "16384 x 21840 px has 1073 MB" in words
    assert megabytes < 50


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"t322": (LONG, 1, 4096), "t323": (LONG, 1, 4096), "t277": (SHORT, 1, 60)}, "tile"),
        ({"t322": (LONG, 1, 2**31), "t323": (LONG, 1, 1)}, "tile"),
        ({"t322": (LONG, 1, 256), "t323": (LONG, 1, 256), "t32998": (LONG, 1, 9999)}, "tile"),
        ({"t270": (ASCII, 102_000_000, 8)}, "tag 270 has 102 MB"),
        ({"t34675": (7, 2**31, 8)}, "tag 34675"),
        ({"t273": (LONG, 2**30, 8)}, "tag 273"),
        ({"t330": (LONG, 5000, 8)}, "5000 TIFF pages below one page"),
    ],
)
def test_whatever_is_stated_too_large_is_refused(
    changes: dict[str, tuple[int, int, int]], match: str
) -> None:
    with pytest.raises(SlideOpenError, match=match):
        check(tiff(directory(picture_tags(**changes), 0)))


def test_a_sub_directory_is_looked_at_too() -> None:
    tags = picture_tags(t322=(LONG, 1, 65_535), t323=(LONG, 1, 65_535))
    at = 8 + len(directory(picture_tags(t330=(LONG, 1, 0)), 0))
    data = tiff(directory(picture_tags(t330=(LONG, 1, at)), 0), directory(tags, 0))
    with pytest.raises(SlideOpenError, match="a tile of 65535 x 65535 px"):
        check(data)


def test_a_big_tiff_is_walked_too() -> None:
    entry = struct.pack("<HHQQ", 270, ASCII, 2**40, 16)
    data = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1) + entry + struct.pack("<Q", 0)
    with pytest.raises(SlideOpenError, match="tag 270"):
        check(data)


def test_offsets_of_an_ndpi_file_have_eight_bytes() -> None:
    tags = picture_tags(t65420=(LONG, 1, 1))
    body = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    first = struct.pack("<H", len(tags)) + body + struct.pack("<Q", 12)
    with pytest.raises(SlideOpenError, match="form a circle"):
        check(b"II*\0" + struct.pack("<Q", 12) + first)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"\x89PNG", tiff(), tiff(b"\xff\xff")])
def test_what_is_cut_short_is_left_to_the_readers(data: bytes) -> None:
    check(data)


def test_honest_slides_pass(tmp_path: Path) -> None:
    for name in ("a.tif", "b.svs"):
        size, hot = Size(1024, 1024), Box(256, 256, 256, 256)
        check_tiff(write_phantom(tmp_path / name, size_l0=size, hot_box_l0=hot, mpp=1.0).path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch(mode=0)
    with pytest.raises(SlideOpenError, match="cannot be read"):
        check_tiff(tmp_path / "a.tif")
