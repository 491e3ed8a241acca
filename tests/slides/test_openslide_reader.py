"""What only a real file can do: be damaged, have bounds, transparency and a color profile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageCms

from wsi_pipeline.errors import ReadError
from wsi_pipeline.geometry import Box, Mpp, RgbArray
from wsi_pipeline.slides import open_slide, plan_read, read_canvas, read_overview

WriteSlide = Callable[..., Path]
TILES_ACROSS = 10


@pytest.fixture
def damaged(
    write_slide: WriteSlide,
    pyramid_levels: list[RgbArray],
    corrupt_tile: Callable[[Path, int], None],
) -> Path:
    """A slide whose tile in the second row and third column is garbage."""
    path = write_slide(pyramid_levels)
    corrupt_tile(path, TILES_ACROSS + 2)
    return path


def test_a_damaged_tile_costs_its_read_and_no_other(
    damaged: Path, pyramid_levels: list[RgbArray]
) -> None:
    with open_slide(damaged) as slide:
        for _ in range(2):
            with pytest.raises(ReadError, match=r"slide\.tif: level 0 .* x 130, y 70") as caught:
                slide.read_level(0, Box(130, 70, 20, 20))
            assert caught.value.advice
            pixels = slide.read_level(0, Box(300, 70, 20, 20))
            np.testing.assert_array_equal(pixels, pyramid_levels[0][70:90, 300:320])


def test_a_damaged_place_shows_as_background_in_the_thumbnail(
    damaged: Path, pyramid_levels: list[RgbArray]
) -> None:
    with open_slide(damaged) as slide:
        thumbnail = slide.thumbnail(640)
    assert (thumbnail[64:128, 128:192] == 255).all()
    same = (thumbnail == pyramid_levels[0]).all(axis=2)
    assert same.mean() > 0.7
    assert same[300:, :].all()


def test_an_overview_of_a_part_reads_around_the_damage(
    damaged: Path, pyramid_levels: list[RgbArray]
) -> None:
    with open_slide(damaged) as slide:
        plan = plan_read(slide.pyramid, Mpp(1.0, 1.0), 1.0, (0, 0))
        overview, lost = read_overview(slide, plan, Box(100, 50, 540, 430))
    assert (overview[14:78, 28:92] == 255).all()
    assert lost[14:78, 28:92].all()
    assert lost.mean() < 0.1
    np.testing.assert_array_equal(overview[300:], pyramid_levels[0][350:, 100:])


def test_a_thumbnail_of_a_slide_that_is_mostly_damaged_is_refused(
    damaged: Path, corrupt_tile: Callable[[Path, int], None]
) -> None:
    for index in range(60):
        corrupt_tile(damaged, index)
    with open_slide(damaged) as slide:
        with pytest.raises(ReadError, match=r"slide\.tif: half of level 0"):
            slide.thumbnail(640)
        assert slide.thumbnail(320).shape == (240, 320, 3)


def test_one_thread_s_damage_does_not_fail_another(
    damaged: Path, pyramid_levels: list[RgbArray]
) -> None:
    def read(k: int) -> bool:
        box = Box(130, 70, 20, 20) if k % 3 == 0 else Box(7 * k, 300, 40, 40)
        try:
            pixels = slide.read_level(0, box)
        except ReadError:
            return k % 3 == 0
        return np.array_equal(pixels, pyramid_levels[0][300:340, 7 * k : 7 * k + 40])

    with open_slide(damaged) as slide, ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(60)))


def test_a_failed_read_leaves_a_live_handle(damaged: Path) -> None:
    with open_slide(damaged) as slide:
        with pytest.raises(ReadError):
            slide.read_level(0, Box(130, 70, 20, 20))
        good = slide.read_level(0, Box(300, 70, 20, 20))
        # out of reach by name: only a handle that is open already still reads
        damaged.rename(damaged.with_name("moved.tif"))
        np.testing.assert_array_equal(slide.read_level(0, Box(300, 70, 20, 20)), good)


def test_a_slide_that_vanishes_fails_its_read(damaged: Path) -> None:
    with open_slide(damaged) as slide:
        damaged.rename(damaged.with_name("moved.tif"))
        with pytest.raises(ReadError, match="cannot be read"):
            slide.read_level(0, Box(130, 70, 20, 20))


# --- bounds and transparency (a Leica file states both) ---


def test_scanned_bounds_come_from_the_file(
    write_leica: Callable[[RgbArray], Path], picture: Callable[[int, int], RgbArray]
) -> None:
    scan = picture(640, 480)
    with open_slide(write_leica(scan)) as slide:
        assert slide.pyramid.bounds_l0 == Box(200, 100, 640, 480)
        assert slide.pyramid.has_bounds
        assert slide.pyramid.size_l0.width == 2000
        np.testing.assert_array_equal(slide.thumbnail(640), scan)
        plan = plan_read(slide.pyramid, Mpp(0.5, 0.5), 0.5, (200, 100))
        np.testing.assert_array_equal(read_canvas(slide, plan, Box(50, 60, 40, 30)),
                                      scan[60:90, 50:90])  # fmt: skip


def test_what_was_not_scanned_is_background_and_not_black(
    write_leica: Callable[[RgbArray], Path],
) -> None:
    with open_slide(write_leica(np.full((480, 640, 3), 90, np.uint8))) as slide:
        pixels = slide.read_level(0, Box(190, 90, 20, 20))
    assert (pixels[10:, 10:] == 90).all()
    assert (pixels[:10] == 255).all()
    assert (pixels[:, :10] == 255).all()


# --- color profiles ---


@pytest.fixture
def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries are exchanged, so that applying it shows."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.fixture
def profiled(write_slide: WriteSlide, swapped_profile: bytes) -> Path:
    level = np.empty((128, 128, 3), np.uint8)
    level[:] = (200, 40, 10)
    return write_slide([level], iccprofile=swapped_profile)


def test_a_color_profile_is_recorded_and_not_applied(profiled: Path) -> None:
    with open_slide(profiled) as slide:
        assert slide.info.icc == "present, not applied"
        assert slide.read_level(0, Box(0, 0, 1, 1))[0, 0].tolist() == [200, 40, 10]


def test_a_color_profile_is_applied_on_demand(profiled: Path) -> None:
    with open_slide(profiled, apply_icc=True) as slide:
        assert slide.info.icc == "applied to sRGB"
        pixels = slide.read_level(0, Box(100, 100, 40, 40)).astype(int)
    np.testing.assert_allclose(pixels[0, 0], [10, 40, 200], atol=2)
    # the background is a color of the screen already
    assert (pixels[-1, -1] == 255).all()


def test_an_unusable_color_profile_is_a_warning(write_slide: WriteSlide) -> None:
    path = write_slide([np.zeros((64, 64, 3), np.uint8)], iccprofile=b"no profile" * 20)
    with open_slide(path, apply_icc=True) as slide:
        assert slide.info.icc == "present, not applied"
        assert "ICC" in slide.info.warnings[0]


# --- real slides ---


@pytest.mark.slide_data
@pytest.mark.parametrize(
    ("name", "mpp", "downsamples"),
    [("breast-lobular-10x.svs", 1.0112, (1, 4, 8)), ("CMU-1-Small-Region.svs", 0.499, (1,))],
)
def test_real_slides_state_scale_and_levels(
    slide_data: Path, name: str, mpp: float, downsamples: tuple[int, ...]
) -> None:
    with open_slide(slide_data / name) as slide:
        assert slide.info.mpp is not None
        assert slide.info.mpp.mean == pytest.approx(mpp)
        assert slide.info.mpp_source == "aperio.MPP"
        assert slide.info.warnings == ()
        assert slide.pyramid.level_downsamples == tuple((d, d) for d in downsamples)


@pytest.mark.slide_data
@pytest.mark.parametrize("level", [1, 2])
def test_the_far_corner_of_a_real_slide_is_the_same_place_at_every_level(
    slide_data: Path, level: int
) -> None:
    with open_slide(slide_data / "breast-lobular-10x.svs") as slide:
        n = int(slide.pyramid.level_downsamples[level][0])
        x, y, side = 26_400 // n, 11_200 // n, 2048 // n
        fine = slide.read_level(0, Box(x * n, y * n, side * n, side * n)).mean(axis=2)
        fine = fine.reshape(side, n, side, n).mean(axis=(1, 3))
        match = {
            (dx, dy): float(np.corrcoef(fine.ravel(), view.mean(axis=2).ravel())[0, 1])
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for view in [slide.read_level(level, Box(x + dx, y + dy, side, side))]
        }
    assert max(match, key=match.__getitem__) == (0, 0)


@pytest.mark.slide_data
def test_blocks_of_a_real_slide_join_without_a_seam(slide_data: Path) -> None:
    with open_slide(slide_data / "breast-lobular-10x.svs") as slide:
        assert slide.info.mpp is not None
        plan = plan_read(slide.pyramid, slide.info.mpp, 8.0, (0, 0))
        whole = read_canvas(slide, plan, Box(2000, 600, 1400, 900))
        part = read_canvas(slide, plan, Box(2711, 903, 333, 421))
    np.testing.assert_array_equal(part, whole[303:724, 711:1044])
