"""Decoding tiles without OpenSlide: equal to OpenSlide's whole-level read, pixel for pixel."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from tests.phantoms import Phantom
from wsi_pipeline.demo import make_demo_slide
from wsi_pipeline.errors import ReadError
from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.slides import open_slide
from wsi_pipeline.slides.openslide_reader import OpenSlideReader
from wsi_pipeline.slides.tiff_tiles import find_tiles

APERIO = "Aperio Image Library v12\r\n{} [0,0 {}] ({}) |AppMag = 20|MPP = 0.5"
TILE = 64
SIZE = Size(410, 330)

FORMATS = [
    pytest.param({"compression": None}, id="none"),
    pytest.param({"compression": "lzw"}, id="lzw"),
    pytest.param({"compression": "lzw", "predictor": 2}, id="lzw predicted"),
    pytest.param({"compression": "zlib"}, id="deflate"),
    pytest.param({"compression": "zlib", "predictor": 2}, id="deflate predicted"),
    *(
        pytest.param({"compression": "jpeg", "subsampling": (x, y)}, id=f"jpeg {x}x{y}")
        for x, y in ((1, 1), (2, 1), (2, 2))
    ),
    pytest.param(
        {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}},
        id="jpeg rgb",
    ),
]
JPEG_2000 = pytest.param(
    {"compression": 33005, "compressionargs": {"level": 45, "codecformat": "j2k"}}, id="jpeg 2000"
)


@pytest.fixture
def picture_of_tissue() -> RgbArray:
    """Waves with noise in every channel: every shift, swap and smoothing shows."""
    y, x = np.mgrid[0 : SIZE.height, 0 : SIZE.width].astype(np.float64)
    waves = np.stack(
        [127 + 90 * np.sin(x / 23) * np.cos(y / 31), x * 255 / SIZE.width, y * 255 / SIZE.height],
        axis=-1,
    )
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    return (waves + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def write_levels(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes levels as OpenSlide's generic TIFF or as Aperio's."""

    def write(levels: list[RgbArray], *, vendor: str = "generic-tiff", **options: Any) -> Path:
        path = tmp_path / "slide.tif"
        height, width = levels[0].shape[:2]
        description = APERIO.format(*[f"{width}x{height}"] * 2, f"{TILE}x{TILE}")
        with tifffile.TiffWriter(path) as tiff:
            for k, level in enumerate(levels):
                tiff.write(
                    level,
                    tile=(TILE, TILE),
                    photometric="rgb",
                    subfiletype=1 if k and vendor == "generic-tiff" else 0,
                    description=description if vendor == "aperio" else None,
                    metadata=None,
                    software=False,
                    **options,
                )
        return path

    return write


def whole_level(path: Path, level: int) -> RgbArray:
    """Return a level as OpenSlide shows it from its origin, on white.

    Levels of at most 4096 px a side: larger reads OpenSlide does in parts, which it shifts.
    """
    with openslide.OpenSlide(str(path)) as slide:
        rgba = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))
    return np.where(rgba[..., 3:] == 0, 255, rgba[..., :3]).astype(np.uint8)


def assert_direct_and_equal(path: Path) -> None:
    """Every level is decoded directly and equals OpenSlide's whole-level read."""
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)
        for level, size in enumerate(slide.pyramid.level_sizes):
            assert slide.is_decoded_directly(level)
            expected = whole_level(path, level)
            whole = slide.read_level(level, Box(0, 0, size.width, size.height))
            np.testing.assert_array_equal(whole, expected)
            inner = Box(size.width // 3, size.height // 5, size.width // 2, size.height // 2)
            np.testing.assert_array_equal(
                slide.read_level(level, inner),
                expected[inner.y : inner.bottom, inner.x : inner.right],
            )


# --- the same pixels ---


@pytest.mark.parametrize("vendor", ["generic-tiff", "aperio"])
@pytest.mark.parametrize("options", FORMATS)
def test_every_format_equals_openslide(
    write_levels: Callable[..., Path],
    picture_of_tissue: RgbArray,
    vendor: str,
    options: dict[str, Any],
) -> None:
    # 410 x 330 and 205 x 165: no tile at the edge is full
    levels = [picture_of_tissue, picture_of_tissue[::2, ::2]]
    assert_direct_and_equal(write_levels(levels, vendor=vendor, **options))


@pytest.mark.parametrize("options", [JPEG_2000])
def test_jpeg_2000_of_aperio_equals_openslide(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray, options: dict[str, Any]
) -> None:
    assert_direct_and_equal(write_levels([picture_of_tissue], vendor="aperio", **options))


@pytest.mark.parametrize(
    "options", [{"compression": "zlib"}, pytest.param({"compression": "jpeg"})]
)
def test_a_level_that_openslide_shifts_is_shown_as_it_is(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray, options: dict[str, Any]
) -> None:
    # OpenSlide calls this 2.0049x: it interpolates wherever a read does not start at the origin
    odd = picture_of_tissue[:, :409]
    assert_direct_and_equal(write_levels([odd, odd[:330:2, :408:2]], **options))


def test_the_demo_slide_equals_openslide(tmp_path: Path) -> None:
    assert_direct_and_equal(
        make_demo_slide(tmp_path / "demo.tif", size_l0=Size(1024, 768)).slide_path
    )


@pytest.mark.slide_data
@pytest.mark.parametrize(
    ("name", "level"), [("CMU-1-Small-Region.svs", 0), ("breast-lobular-10x.svs", 2)]
)
def test_real_slides_equal_openslide(slide_data: Path, name: str, level: int) -> None:
    with open_slide(slide_data / name) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert slide.is_decoded_directly(level)
        size = slide.pyramid.level_sizes[level]
        pixels = slide.read_level(level, Box(0, 0, size.width, size.height))
    np.testing.assert_array_equal(pixels, whole_level(slide_data / name, level))


def test_threads_share_the_tiles(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    path = write_levels([picture_of_tissue], compression="zlib")
    boxes = [Box(x, y, 90, 70) for x in range(0, 320, 13) for y in range(0, 260, 17)]
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        for box, pixels in zip(
            boxes, pool.map(lambda b: slide.read_level(0, b), boxes), strict=True
        ):
            expected = picture_of_tissue[box.y : box.bottom, box.x : box.right]
            np.testing.assert_array_equal(pixels, expected)


# --- what is missing or damaged is OpenSlide's ---


def test_missing_tiles_are_background(phantom_factory: Callable[..., Phantom]) -> None:
    missing = Box(0, 2048, 1024, 1024)
    phantom = phantom_factory(missing_box_l0=missing)
    with open_slide(phantom.path) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert slide.is_decoded_directly(0)
        assert (slide.read_level(0, missing) == 255).all()
        pixels = slide.read_level(0, Box(900, 2000, 300, 300))
    np.testing.assert_array_equal(pixels, whole_level(phantom.path, 0)[2000:2300, 900:1200])


def test_a_tile_that_aperio_left_out_of_a_reduced_level_comes_from_the_finer_one(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    levels = [picture_of_tissue, picture_of_tissue[::2, ::2]]
    path = write_levels(levels, vendor="aperio", compression="zlib")
    set_tile(path, page=1, index=5, place=0, n_bytes=0)
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert slide.is_decoded_directly(1)
        pixels = slide.read_level(1, Box(0, 0, 205, 165))
    tile = pixels[TILE : 2 * TILE, TILE : 2 * TILE]
    np.testing.assert_array_equal(pixels, whole_level(path, 1))
    assert 20 < tile.mean() < 235


@pytest.mark.parametrize("options", [*FORMATS, JPEG_2000])
def test_damage_ends_as_with_openslide(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray, options: dict[str, Any]
) -> None:
    path = write_levels([picture_of_tissue], vendor="aperio", **options)
    index, chance = 9, random.Random(0)
    good = tile_bytes(path, index)
    box = Box(index % 7 * TILE, index // 7 * TILE, TILE, TILE)
    for trial in range(24):
        put_tile(path, index, damaged(good, chance, whole_tail=trial % 6 == 0))
        with openslide.OpenSlide(str(path)) as reference, open_slide(path) as slide:
            try:
                rgba = reference.read_region((box.x, box.y), 0, (TILE, TILE))
            except openslide.OpenSlideError:
                with pytest.raises(ReadError):
                    slide.read_level(0, box)
            else:
                expected = np.asarray(rgba)[..., :3]
                np.testing.assert_array_equal(slide.read_level(0, box), expected)


def test_a_jpeg_cut_short_does_not_pass_for_gray_tissue(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    path = write_levels([picture_of_tissue], compression="jpeg")
    before = whole_level(path, 0)
    good = tile_bytes(path, 9)
    put_tile(path, 9, good[: len(good) // 2] + b"\xff" * (len(good) - len(good) // 2))
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert slide.is_decoded_directly(0)
        with pytest.raises(ReadError, match=r"level 0 cannot be read at x 130, y 70"):
            slide.read_level(0, Box(130, 70, 20, 20))
        other = slide.read_level(0, Box(0, 128, 410, 202))
    np.testing.assert_array_equal(other, before[128:])


# --- where it is not taken ---


def test_colors_that_the_stream_and_the_tag_name_differently_are_left_to_openslide(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    path = write_levels([picture_of_tissue], compression="jpeg")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(2)
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert not slide.is_decoded_directly(0)
        pixels = slide.read_level(0, Box(0, 0, SIZE.width, SIZE.height))
    np.testing.assert_array_equal(pixels, whole_level(path, 0))


def test_a_level_whose_busiest_tile_is_damaged_is_left_to_openslide(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    path = write_levels([picture_of_tissue], compression="zlib")
    set_tile(path, page=0, index=3, place=8, n_bytes=60_000)
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert not slide.is_decoded_directly(0)
        np.testing.assert_array_equal(
            slide.read_level(0, Box(0, 70, 400, 200)), picture_of_tissue[70:270, :400]
        )


def test_a_slide_with_a_color_profile_in_force_is_left_to_openslide(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray, srgb_profile: bytes
) -> None:
    path = write_levels([picture_of_tissue], compression="zlib", iccprofile=srgb_profile)
    for apply_icc in (False, True):
        with open_slide(path, apply_icc=apply_icc) as slide:
            assert isinstance(slide, OpenSlideReader)
            assert slide.is_decoded_directly(0) != apply_icc


@pytest.fixture
def srgb_profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_a_vendor_that_moves_its_levels_is_left_to_openslide(
    write_leica: Callable[[RgbArray], Path], picture: Callable[[int, int], RgbArray]
) -> None:
    with open_slide(write_leica(picture(640, 480))) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert not slide.is_decoded_directly(0)


def test_two_pages_of_one_size_are_left_to_openslide(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    path = write_levels([picture_of_tissue, 255 - picture_of_tissue], compression="zlib")
    assert find_tiles(path, "generic-tiff", SIZE) is None


def test_a_size_that_no_page_has_gives_no_tiles(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    path = write_levels([picture_of_tissue], compression="zlib")
    assert find_tiles(path, "generic-tiff", Size(409, 330)) is None


@pytest.mark.parametrize("content", [b"", b"II*\x00", b"no TIFF at all"])
def test_a_file_that_is_no_tiff_gives_no_tiles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(content)
    assert find_tiles(path, "generic-tiff", SIZE) is None


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_closing_a_slide_closes_its_files(
    write_levels: Callable[..., Path], picture_of_tissue: RgbArray
) -> None:
    path = write_levels([picture_of_tissue], compression="zlib")
    n_open = n_open_files()
    with open_slide(path) as slide:
        slide.read_level(0, Box(0, 0, 10, 10))
        assert n_open_files() > n_open
    assert n_open_files() == n_open
    with pytest.raises(ValueError, match="is closed"):
        slide.read_level(0, Box(0, 0, 10, 10))


# --- tiles as bytes ---


def tile_bytes(path: Path, index: int) -> bytes:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        tiff.filehandle.seek(page.dataoffsets[index])
        data: bytes = tiff.filehandle.read(page.databytecounts[index])
    return data


def put_tile(path: Path, index: int, data: bytes) -> None:
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.dataoffsets[index]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def set_tile(path: Path, *, page: int, index: int, place: int, n_bytes: int) -> None:
    """Let a tile point elsewhere."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages[page].tags
        for name, value in (("TileOffsets", place), ("TileByteCounts", n_bytes)):
            values = list(tags[name].value)
            values[index] = value
            tags[name].overwrite(values)


def damaged(good: bytes, chance: random.Random, *, whole_tail: bool) -> bytes:
    """Return the bytes with some replaced, or all of them from some place on."""
    bad = bytearray(good)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        bad[chance.randrange(2, len(bad))] = chance.randrange(256)
    if whole_tail:
        start = chance.randrange(len(bad))
        bad[start:] = bytes(len(bad) - start)
    return bytes(bad)


def n_open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
