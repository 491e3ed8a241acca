"""Bad input, and what the message says."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from wsi_pipeline.errors import ConfigError, MissingResolutionError, SlideOpenError
from wsi_pipeline.geometry import Mpp, RgbArray
from wsi_pipeline.slides import SLIDE_SUFFIXES, open_slide, require_mpp

WriteSlide = Callable[..., Path]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlideOpenError, match=r"gone\.svs does not exist") as caught:
        open_slide(tmp_path / "gone.svs")
    assert caught.value.advice
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_folder_is_not_a_slide(tmp_path: Path) -> None:
    with pytest.raises(SlideOpenError, match=r"is a folder.*\.mrxs"):
        open_slide(tmp_path)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file"
)
def test_a_forbidden_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.svs"
    path.write_bytes(b"II*\0")
    path.chmod(0)
    with pytest.raises(SlideOpenError, match="may not be read"):
        open_slide(path)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.svs"
    path.touch()
    with pytest.raises(SlideOpenError, match="0 bytes"):
        open_slide(path)


@pytest.mark.parametrize("name", ["notes.txt", "notes.svs", "notes.tif", "notes.png"])
def test_a_text_is_not_a_slide(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("a list of cases\n" * 50)
    with pytest.raises(SlideOpenError, match=name) as caught:
        open_slide(path)
    assert caught.value.advice


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.8, 0.95, 0.99])
def test_a_truncated_slide_is_refused(
    write_slide: WriteSlide, pyramid_levels: list[RgbArray], kept: float
) -> None:
    path = write_slide(pyramid_levels)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SlideOpenError, match="truncated") as caught:
        open_slide(path)
    assert "slide.tif" in caught.value.problem


def test_a_slide_cut_right_after_its_first_level_is_no_picture(
    write_slide: WriteSlide, pyramid_levels: list[RgbArray]
) -> None:
    path = write_slide(pyramid_levels)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        end = page.dataoffsets[-1] + page.databytecounts[-1]
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(SlideOpenError, match="truncated"):
        open_slide(path)


@pytest.mark.parametrize("mpp", [0, -0.5, float("nan"), float("inf")])
def test_an_impossible_option_is_refused(tmp_path: Path, mpp: float) -> None:
    with pytest.raises(ConfigError, match="positive number of µm/px"):
        open_slide(tmp_path, mpp=mpp)


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((1250, 1250), "CENTIMETER", Mpp(8.0, 8.0)),
        ((20_000, 40_000), "CENTIMETER", Mpp(0.5, 0.25)),
        ((50_800, 50_800), "INCH", Mpp(0.5, 0.5)),
    ],
)
def test_tiff_tags_state_the_resolution(
    write_slide: WriteSlide,
    pyramid_levels: list[RgbArray],
    resolution: tuple[float, float],
    unit: str,
    mpp: Mpp,
) -> None:
    with open_slide(write_slide(pyramid_levels, resolution=resolution, unit=unit)) as slide:
        assert require_mpp(slide.info) == mpp
        assert slide.info.mpp_source == "tiff.XResolution"
        assert slide.info.vendor == "generic-tiff"
        assert slide.info.quickhash


def test_a_slide_without_resolution_opens_but_is_refused_for_a_run(
    write_slide: WriteSlide, pyramid_levels: list[RgbArray]
) -> None:
    path = write_slide(pyramid_levels, resolution=None)
    with open_slide(path) as slide:
        assert slide.info.mpp is None
        with pytest.raises(MissingResolutionError, match="does not state"):
            require_mpp(slide.info)
    with open_slide(path, mpp=0.5) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (Mpp(0.5, 0.5), "override (--mpp)")


@pytest.mark.parametrize(("dpi", "met"), [(72, "352.778"), (96, "264.583")])
def test_screen_resolution_is_refused(
    write_slide: WriteSlide, pyramid_levels: list[RgbArray], dpi: float, met: str
) -> None:
    path = write_slide(pyramid_levels, resolution=(dpi, dpi), unit="INCH")
    with (
        open_slide(path) as slide,
        pytest.raises(MissingResolutionError, match=f"tiff.XResolution states {met}"),
    ):
        require_mpp(slide.info)
    with open_slide(path, mpp_override=Mpp(0.25, 0.25)) as slide:
        assert require_mpp(slide.info) == Mpp(0.25, 0.25)
        assert met in slide.info.warnings[0]


def test_an_aperio_slide_states_its_magnification_for_display_only(
    write_slide: WriteSlide, pyramid_levels: list[RgbArray]
) -> None:
    text = "Aperio Image Library v1\r\n640x480 JPEG/RGB|AppMag = 40"
    path = write_slide(pyramid_levels, description=text, resolution=None)
    with open_slide(path) as slide:
        assert (slide.info.vendor, slide.info.objective_power) == ("aperio", 40.0)
        assert slide.info.mpp is None
    path = write_slide(pyramid_levels, description=f"{text}|MPP = 8.0", resolution=None)
    with open_slide(path) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (Mpp(8.0, 8.0), "aperio.MPP")
        assert "40x" in slide.info.warnings[0]


def test_folders_are_not_searched_for_pictures() -> None:
    assert ".svs" in SLIDE_SUFFIXES
    assert ".mrxs" in SLIDE_SUFFIXES
    assert ".png" not in SLIDE_SUFFIXES


def test_importing_the_room_loads_no_openslide() -> None:
    code = "import sys, wsi_pipeline.slides; sys.exit('openslide' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- plain pictures ---


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.tif"])
def test_a_plain_picture_opens_with_an_override(
    tmp_path: Path, name: str, picture: Callable[[int, int], RgbArray]
) -> None:
    pixels = picture(90, 70)
    Image.fromarray(pixels).save(tmp_path / name, quality=98)
    with open_slide(tmp_path / name, mpp=8.0) as slide:
        assert slide.info.vendor == "image"
        assert require_mpp(slide.info) == Mpp(8.0, 8.0)
        assert slide.pyramid.size_l0.width == 90
        assert len(slide.info.quickhash) == 64
        difference = slide.thumbnail(90).astype(int) - pixels
        assert np.abs(difference).mean() < 4


def test_a_png_at_72_dpi_states_no_resolution(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.new("RGB", (9, 9)).save(path, dpi=(72, 72))
    with open_slide(path) as slide, pytest.raises(MissingResolutionError, match="does not state"):
        require_mpp(slide.info)


def test_a_tiff_picture_states_its_resolution(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    Image.new("RGB", (9, 9)).save(path, resolution_unit="cm", x_resolution=1250, y_resolution=1250)
    with open_slide(path) as slide:
        assert slide.info.mpp_source == "tiff.XResolution"
        assert require_mpp(slide.info) == Mpp(8.0, 8.0)


def test_transparency_becomes_white(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[0, 0] = (200, 10, 10, 255)
    Image.fromarray(pixels).save(path)
    with open_slide(path, mpp=8.0) as slide:
        thumbnail = slide.thumbnail(4)
    assert thumbnail[0, 0].tolist() == [200, 10, 10]
    assert (thumbnail[1:] == 255).all()


def test_a_palette_is_expanded(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.new("RGB", (4, 4), (200, 10, 10)).quantize(4).save(path)
    with open_slide(path, mpp=8.0) as slide:
        assert slide.thumbnail(4)[0, 0].tolist() == [200, 10, 10]


@pytest.mark.parametrize("mode", ["L", "I;16", "1", "LA"])
def test_a_picture_without_color_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "p.png"
    Image.new(mode, (9, 9)).save(path)
    with pytest.raises(SlideOpenError, match="not 8-bit RGB") as caught:
        open_slide(path)
    assert "color" in caught.value.advice


def test_a_gray_tiff_is_refused(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "p.tif")
    with pytest.raises(SlideOpenError, match="not 8-bit RGB"):
        open_slide(tmp_path / "p.tif")


def test_sixteen_bits_are_reduced_to_eight_with_a_warning(tmp_path: Path) -> None:
    pixels = np.full((9, 9, 3), 65535, np.uint16)
    pixels[0, 0] = (0, 257, 128)
    tifffile.imwrite(tmp_path / "p.tif", pixels, photometric="rgb")
    with open_slide(tmp_path / "p.tif", mpp=8.0) as slide:
        thumbnail = slide.thumbnail(9)
        assert "16 bits" in slide.info.warnings[0]
    assert thumbnail[0, 0].tolist() == [0, 1, 0]
    assert thumbnail[1, 1].tolist() == [255, 255, 255]


def test_a_truncated_picture_is_refused(
    tmp_path: Path, picture: Callable[[int, int], RgbArray]
) -> None:
    path = tmp_path / "p.png"
    Image.fromarray(picture(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(SlideOpenError, match=r"p\.png.*truncated"):
        open_slide(path)


def test_a_picture_beyond_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi_pipeline.slides import picture as module

    path = tmp_path / "p.png"
    Image.new("RGB", (20, 20)).save(path)
    monkeypatch.setattr(module, "LARGEST_PICTURE_PX", 399)
    with pytest.raises(SlideOpenError, match="20 x 20 px, too many") as caught:
        open_slide(path)
    assert "pyramidal TIFF" in caught.value.advice


def test_a_picture_beyond_the_limit_of_pillow_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.png"
    Image.new("RGB", (20, 20)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with open_slide(path, mpp=8.0) as slide:
        assert slide.pyramid.size_l0.width == 20
    assert Image.MAX_IMAGE_PIXELS == 100
