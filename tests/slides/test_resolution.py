from __future__ import annotations

from pathlib import Path

import pytest

from wsi_pipeline.errors import MissingResolutionError
from wsi_pipeline.geometry import Mpp, Size
from wsi_pipeline.slides.pyramid import SlideInfo
from wsi_pipeline.slides.resolution import (
    Resolution,
    require_mpp,
    resolve,
    stated_resolution,
    tiff_resolution,
)

SIZE = Size(3000, 2500)


def info_of(resolution: Resolution) -> SlideInfo:
    return SlideInfo(
        Path("a/case 7.svs"), "aperio", 1, "", resolution.mpp, resolution.source, None,
        (255, 255, 255), "none", resolution.warnings,
    )  # fmt: skip


# --- what the file states ---


@pytest.mark.parametrize(
    ("vendor", "key"),
    [
        ("aperio", "aperio.MPP"),
        ("mirax", "mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X"),
        ("philips", "philips.DICOM_PIXEL_SPACING"),
        ("ventana", "ventana.ScanRes"),
        ("hamamatsu", "tiff.XResolution"),
        ("generic-tiff", "tiff.XResolution"),
    ],
)
def test_the_source_is_the_vendor_property_that_openslide_read(vendor: str, key: str) -> None:
    properties = {"openslide.vendor": vendor, key: "x"}
    properties |= {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}
    assert stated_resolution(properties) == Resolution(Mpp(0.25, 0.26), key)


def test_an_unknown_vendor_is_recorded_as_openslide_states_it() -> None:
    properties = {"openslide.vendor": "new", "openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}
    assert stated_resolution(properties).source == "openslide.mpp-x"


@pytest.mark.parametrize(
    ("unit", "per_unit", "mpp"), [("inch", "50800", 0.5), ("centimeter", "20000", 0.5)]
)
def test_tiff_tags_are_read_where_openslide_gives_nothing(
    unit: str, per_unit: str, mpp: float
) -> None:
    properties = {"tiff.ResolutionUnit": unit}
    properties |= {"tiff.XResolution": per_unit, "tiff.YResolution": per_unit}
    stated = stated_resolution(properties)
    assert stated.mpp == Mpp(mpp, mpp)
    assert stated.source == "tiff.XResolution"


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"openslide.objective-power": "40"},
        {"tiff.XResolution": "1", "tiff.YResolution": "1", "tiff.ResolutionUnit": "none"},
        {"tiff.XResolution": "50800", "tiff.ResolutionUnit": "inch"},
        {"openslide.mpp-x": "0.25"},
        {"openslide.mpp-x": "0", "openslide.mpp-y": "0"},
        {"openslide.mpp-x": "nan", "openslide.mpp-y": "nan"},
        {"openslide.mpp-x": "0,25", "openslide.mpp-y": "0,25"},
    ],
)
def test_nothing_is_guessed(properties: dict[str, str]) -> None:
    assert stated_resolution(properties) == Resolution(None, "none")


def test_a_negative_tag_is_no_resolution() -> None:
    assert tiff_resolution(-1, -1, "inch").mpp is None


# --- plausible or not ---


@pytest.mark.parametrize("mpp", [0.05, 0.1, 0.25, 0.5, 1.0112, 8.0, 16.0, 20.0])
def test_resolutions_of_real_slides_pass(mpp: float) -> None:
    resolution = resolve(Resolution(Mpp(mpp, mpp), "aperio.MPP"), SIZE)
    assert require_mpp(info_of(resolution)) == Mpp(mpp, mpp)


@pytest.mark.parametrize(
    ("mpp", "words"),
    [
        (Mpp(25.0, 25.0), "tiff.XResolution states 25 µm/px, outside the plausible 0.05 to 20"),
        (Mpp(0.0025, 0.0025), "states 0.0025 µm/px, outside"),
        (Mpp(25400 / 72, 25400 / 72), "states 352.778 µm/px, outside"),
        (Mpp(25400 / 96, 25400 / 96), "states 264.583 µm/px, outside"),
        (Mpp(0.5, 0.005), "states 0.5 x 0.005 µm/px, outside"),
        (Mpp(0.5, 5.0), "axes differ by more than a factor 2"),
    ],
)
def test_absurd_resolutions_are_refused_with_the_value_met(mpp: Mpp, words: str) -> None:
    resolution = resolve(Resolution(mpp, "tiff.XResolution"), SIZE)
    assert resolution.mpp is None
    with pytest.raises(MissingResolutionError, match=words) as caught:
        require_mpp(info_of(resolution))
    assert "case 7.svs" in caught.value.problem
    assert "--mpp" in caught.value.advice


def test_a_slide_meters_long_is_refused() -> None:
    stated = Resolution(Mpp(10.0, 10.0), "tiff.XResolution")
    assert resolve(stated, Size(25_000, 9)).mpp == Mpp(10.0, 10.0)
    assert "1200 mm long" in resolve(stated, Size(120_000, 90_000)).source


def test_a_slide_without_resolution_says_what_to_do() -> None:
    resolution = resolve(Resolution(None, "none"), SIZE, objective_power=40)
    with pytest.raises(MissingResolutionError, match=r"case 7\.svs does not state its µm/px") as e:
        require_mpp(info_of(resolution))
    assert "mpp_x" in e.value.advice


# --- what the user states ---


def test_the_option_serves_a_slide_without_resolution() -> None:
    resolution = resolve(Resolution(None, "none"), SIZE, mpp=Mpp(0.5, 0.5))
    assert resolution == Resolution(Mpp(0.5, 0.5), "override (--mpp)")


def test_the_option_replaces_an_absurd_resolution_and_says_so() -> None:
    stated = Resolution(Mpp(352.8, 352.8), "tiff.XResolution")
    resolution = resolve(stated, SIZE, mpp=Mpp(0.5, 0.5))
    assert (resolution.mpp, resolution.source) == (Mpp(0.5, 0.5), "override (--mpp)")
    assert "352.8" in resolution.warnings[0]


@pytest.mark.parametrize(("option", "n_warnings"), [(0.5, 0), (0.508, 0), (0.52, 1), (0.25, 1)])
def test_a_plausible_resolution_stands_against_the_option(option: float, n_warnings: int) -> None:
    stated = Resolution(Mpp(0.5, 0.5), "aperio.MPP")
    resolution = resolve(stated, SIZE, mpp=Mpp(option, option))
    assert (resolution.mpp, resolution.source) == (stated.mpp, stated.source)
    assert len(resolution.warnings) == n_warnings


@pytest.mark.parametrize(
    ("row", "source", "n_warnings"),
    [(0.5, "aperio.MPP", 1), (0.25, "override (slide list)", 1)],
    ids=["as the file states", "other than the file states"],
)
def test_the_slide_list_wins_over_file_and_option(row: float, source: str, n_warnings: int) -> None:
    stated = Resolution(Mpp(0.5, 0.5), "aperio.MPP")
    resolution = resolve(stated, SIZE, mpp=Mpp(1, 1), mpp_override=Mpp(row, row))
    assert (resolution.mpp, resolution.source) == (Mpp(row, row), source)
    assert len(resolution.warnings) == n_warnings


def test_an_absurd_override_is_refused_too() -> None:
    resolution = resolve(Resolution(Mpp(0.5, 0.5), "aperio.MPP"), SIZE, mpp_override=Mpp(250, 250))
    with pytest.raises(MissingResolutionError, match=r"slide list\) states 250 µm/px"):
        require_mpp(info_of(resolution))


# --- magnification ---


@pytest.mark.parametrize(
    ("power", "mpp", "warned"),
    [(40, 0.25, False), (10, 1.0112, False), (20, 0.25, False), (40, 8.0, True), (20, 0.1, True)],
)
def test_a_magnification_far_from_the_resolution_is_a_warning(
    power: float, mpp: float, warned: bool
) -> None:
    stated = Resolution(Mpp(mpp, mpp), "aperio.MPP")
    resolution = resolve(stated, SIZE, objective_power=power)
    assert resolution.mpp == stated.mpp
    assert bool(resolution.warnings) == warned
