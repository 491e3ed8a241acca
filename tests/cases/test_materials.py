"""What the pixels are: a verdict "no tumor" needs a picture that could show one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.cases.conftest import Case
from wsi_pipeline.geometry import RgbArray

TAGS: dict[str, Any] = {
    "metadata": None,
    "resolution": (2500, 2500),
    "resolutionunit": "CENTIMETER",
    "tile": (256, 256),
    "compression": "lzw",
}
"""4 µm/px."""


def tissue(height: int = 1000, width: int = 1000) -> RgbArray:
    """Return glass with a field of pink tissue and a dark violet one."""
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    picture = np.full((height, width, 3), (243, 241, 244)) + noise * 0.2
    picture[100:-100, 100:-100] = (200, 130, 180) + noise[100:-100, 100:-100]
    picture[300:600, 300:600] = (90, 45, 120) + noise[300:600, 300:600]
    return np.clip(picture, 0, 255).astype(np.uint8)


def gray(rgb: RgbArray) -> Any:
    """Return the luminance, uint8 (H, W)."""
    return (rgb @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)


def save(case: Case, name: str, *pictures: Any, **tags: Any) -> Path:
    """Write pictures as pages of a tiled TIFF."""
    path = case.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as tiff:
        for picture in pictures:
            tiff.write(picture, **({"photometric": "rgb"} | TAGS | tags))
    return path


def save_ome(case: Case, name: str, *series: tuple[str, Any, float, str], tagged: bool) -> None:
    """Write an OME-TIFF: name, picture, size of a px and its unit of each image."""
    path = case.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for title, picture, size, unit in series:
            tags = {k: v for k, v in TAGS.items() if tagged or not k.startswith("resolution")}
            ome = {"axes": "YXS", "Name": title}
            ome |= {f"PhysicalSize{axis}": size for axis in "XY"}  # type: ignore[misc]
            ome |= {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
            tiff.write(picture, photometric="rgb", **(tags | {"metadata": ome}))


GRAY: dict[str, Any] = {
    "gray pyramid": lambda rgb: ([gray(rgb), gray(rgb)[::2, ::2]], {"photometric": "minisblack"}),
    "white is zero": lambda rgb: ([255 - gray(rgb)], {"photometric": "miniswhite"}),
    "three gray pages": lambda rgb: (
        [np.ascontiguousarray(rgb[..., c]) for c in range(3)],
        {"photometric": "minisblack"},
    ),
    "gray with alpha": lambda rgb: (
        [np.dstack([gray(rgb), np.full(rgb.shape[:2], 255, np.uint8)])],
        {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"},
    ),
    "gray of 16 bits": lambda rgb: (
        [gray(rgb).astype(np.uint16) * 257],
        {"photometric": "minisblack"},
    ),
    "five bands": lambda rgb: (
        [np.dstack([rgb, rgb[..., :2]])],
        {"extrasamples": ["unspecified", "unspecified"]},
    ),
    "fractions": lambda rgb: ([(rgb / 255).astype(np.float32)], {}),
    "palette": lambda rgb: (
        [gray(rgb)],
        {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
    ),
}


@pytest.mark.row("12")
@pytest.mark.parametrize("kind", GRAY)
def test_a_slide_without_colors_is_refused(case: Case, kind: str) -> None:
    """A gray slide in the dialects of TIFF; its colored twin is done."""
    pictures, tags = GRAY[kind](tissue())
    save(case, "gray.tif", *pictures, **tags)
    save(case, "twin.tif", tissue())
    said = case.run("gray.tif twin.tif")
    assert said.status == 1
    assert case.states() == {"gray": "failed", "twin": "done"}
    status = case.status("gray")
    assert status["stage"] == "open"
    assert "not 8-bit RGB" in status["error"]
    assert "color" in status["advice"]


NOT_ASSESSABLE: dict[str, Any] = {
    "gray saved as RGB": lambda rgb: np.dstack([gray(rgb)] * 3),
    "12 bits in 16": lambda rgb: rgb.astype(np.uint16) * 16,
    "fluorescence": lambda rgb: np.where(rgb < 210, rgb // 2 * np.array([0, 0, 1], np.uint8), 3),
    "inverted": lambda rgb: 255 - rgb,
}


@pytest.mark.row("12+")
@pytest.mark.parametrize("kind", NOT_ASSESSABLE)
def test_pixels_that_could_not_show_a_tumor(case: Case, kind: str) -> None:
    """Gray as RGB, 12 bits kept in 16, fluorescence, an inverted slide."""
    save(case, "s.tif", NOT_ASSESSABLE[kind](tissue()))
    said = case.run("s.tif")
    assert said.status == 1
    assert "not assessable" in said
    row = case.summary()["s"]
    assert (row["state"], row["idc_mm2"]) == ("failed", ""), "unknown is not zero"


@pytest.mark.row("12+")
def test_a_file_without_a_tile_is_not_empty_tissue(case: Case) -> None:
    """A pyramid whose tiles were never written: no pixels are no glass."""
    path = save(case, "s.tif", tissue())
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = tiff.pages.first.tags["TileByteCounts"]
        counts.overwrite([0] * counts.count)
    assert case.run("s.tif").status == 1
    assert "holds no pixels" in case.status("s")["error"]


@pytest.mark.row("12+")
def test_a_mirax_file_without_its_folder_is_no_picture(case: Case) -> None:
    """A .mrxs is itself a small JPEG: without its folder it must not pass for the slide."""
    Image.fromarray(tissue(300, 300)).save(case.folder / "s.jpg")
    (case.folder / "s.jpg").rename(case.folder / "s.mrxs")
    assert case.run("s.mrxs", "--mpp 8").status == 1
    assert "the folder s with the slide's data is missing" in case.status("s")["error"]


@pytest.mark.row("12+")
def test_all_of_16_bits_is_done(case: Case) -> None:
    """16 bits a channel that use all of them: as good as 8."""
    save(case, "s.tif", tissue().astype(np.uint16) * 257)
    assert case.run("s.tif").status == 0
    assert float(case.summary()["s"]["tissue_mm2"]) > 5


@pytest.mark.row("12+")
def test_glass_alone_is_empty_and_not_refused(case: Case) -> None:
    """A scan of empty glass: that there is no tissue is a finding."""
    save(case, "s.tif", np.full((1000, 1000, 3), (243, 241, 244), np.uint8))
    assert case.run("s.tif").status == 0
    assert case.states() == {"s": "empty"}


@pytest.mark.row("14")
@pytest.mark.parametrize("form", ["tif", "ome.tif"])
def test_the_second_scene_is_named(case: Case, form: str) -> None:
    """Two scenes in one file: the second is named on the terminal, in status, table, overlay."""
    first, second = tissue(), tissue(700, 800)
    if form == "tif":
        save(case, "s.tif", first, second)
    else:
        scenes = [("Scene #1", first, 4.0, "µm"), ("Scene #2", second, 4.0, "µm")]
        save_ome(case, "s.ome.tif", *scenes, tagged=True)
    said = case.wsi(f"run s.{form} -o out")
    assert said.status == 0
    words = "NOT READ: page 2"
    assert words in said
    (slide_id,) = case.states()
    assert any(words in warning for warning in case.status(slide_id)["warnings"])
    assert words in case.summary()[slide_id]["notes"]
    with Image.open(case.folder / f"out/slides/{slide_id}/overlay.png") as picture:
        foot = np.asarray(picture.convert("RGB"))[-46:-30]
    assert ((foot[..., 0] > 120) & (foot[..., 1] < 80)).any(), "red words above the notice"


@pytest.mark.row("14+")
def test_levels_that_are_not_marked_are_no_scenes(case: Case) -> None:
    """A pyramid whose levels are not marked as reduced: nothing is left out."""
    picture = tissue(1024, 1024)
    half = picture.reshape(512, 2, 512, 2, 3).mean((1, 3)).astype(np.uint8)
    save(case, "s.tif", picture, half)
    said = case.run("s.tif")
    assert said.status == 0
    assert "NOT READ" not in said


@pytest.mark.row("14+")
def test_another_scene_of_half_the_size_is_named(case: Case) -> None:
    """A second scene that has just the size of a level, but shows something else."""
    other = np.ascontiguousarray(np.rot90(tissue(512, 512), 2))
    other[:256] = 240
    save(case, "s.tif", tissue(1024, 1024), other)
    assert "NOT READ: page 2 (512 x 512 px)" in case.run("s.tif")


@pytest.mark.row("14+")
def test_a_focal_stack_is_told(case: Case) -> None:
    """Three focal planes as pages of one size, and as SizeZ of an OME-TIFF."""
    save(case, "z.tif", tissue(), tissue(), tissue())
    assert "only the first of 3 pictures of one size" in case.run("z.tif")
    path = case.folder / "z.ome.tif"
    stack = np.stack([tissue()] * 3)
    metadata = {"axes": "ZYXS", "PhysicalSizeX": 4.0, "PhysicalSizeY": 4.0}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(stack, photometric="rgb", tile=(256, 256), metadata=metadata)
    assert "only the first of 3" in case.wsi("run z.ome.tif -o out2 --outputs map")


@pytest.mark.row("17")
@pytest.mark.parametrize("name", ["macro", "", "Label image"])
def test_the_slide_is_taken_where_the_macro_comes_first(case: Case, name: str) -> None:
    """An OME-TIFF whose first series is the macro or label picture, by name or by its scale."""
    macro = tissue(500, 300)
    images = [(name, macro, 16.0, "µm"), ("slide", tissue(), 4.0, "µm")]
    save_ome(case, "s.ome.tif", *images, tagged=False)
    said = case.run("s.ome.tif")
    assert said.status == 0
    assert "macro picture" in said
    row = case.summary()["s.ome"]
    assert (row["mpp_x"], row["mpp_source"]) == ("4", "OME-XML PhysicalSizeX")
    assert float(row["tissue_mm2"]) == pytest.approx(0.8 * 0.8 * 16, rel=0.1)
    assert float(row["idc_mm2"]) > 0


@pytest.mark.row("18")
@pytest.mark.parametrize(("size", "unit"), [(4.0, "µm"), (0.004, "mm"), (4000.0, "nm")])
def test_the_size_in_ome_xml_counts(case: Case, size: float, unit: str) -> None:
    """An OME-TIFF that states its µm/px in the XML alone."""
    save_ome(case, "s.ome.tif", ("slide", tissue(), size, unit), tagged=False)
    assert case.run("s.ome.tif").status == 0
    assert case.summary()["s.ome"]["mpp_x"] == "4"


@pytest.mark.row("18+")
def test_a_size_in_pixels_is_no_size(case: Case) -> None:
    """PhysicalSizeX in a unit that is no length: asked for, not guessed."""
    save_ome(case, "s.ome.tif", ("slide", tissue(), 1.0, "pixel"), tagged=False)
    said = case.run("s.ome.tif")
    assert said.status == 1
    assert "does not state its µm/px" in said


@pytest.mark.row("18+")
def test_xml_and_tags_that_disagree_are_told(case: Case) -> None:
    """OME-XML says 2 µm/px, the resolution tags 4: the XML counts, with both figures told."""
    save_ome(case, "s.ome.tif", ("slide", tissue(), 2.0, "µm"), tagged=True)
    said = case.run("s.ome.tif")
    assert "OME-XML PhysicalSizeX states 2 µm/px, used in place of the 4 µm/px" in said


UNREADABLE: dict[str, tuple[bytes, str, str]] = {
    "report.svs": (b"%PDF-1.7\n", "a PDF document", "slide"),
    "s.czi": (b"ZISRAWFILE" + bytes(100), "Zeiss CZI", "bfconvert"),
    "s.tif": (b"PK\x03\x04" + bytes(100), "a ZIP archive", "Unpack"),
    "s.ndpi": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", "git lfs pull"),
    "s.isyntax": (b"<DataObject", "Philips iSyntax", "raw2ometiff"),
    "s.scn": (bytes(5000), "filled with zeros", "Copy it again"),
    "page.svs": (b"<!DOCTYPE html><html>", "a web page", "Download"),
}


@pytest.mark.row("63+")
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_a_file_is_that_is_no_slide(case: Case, name: str) -> None:
    """A PDF named .svs, a CZI, an archive, a pointer, a failed download."""
    content, what, advice = UNREADABLE[name]
    case.write(name, content)
    assert case.run(name).status == 1
    status = case.status(Path(name).stem)
    assert status["stage"] == "open"
    assert name in status["error"]
    assert what in status["error"]
    assert advice in status["advice"]
    assert "truncated" not in status["error"] + status["advice"]


@pytest.mark.row("63")
@pytest.mark.parametrize(
    ("codec", "words"),
    [("jpeg2000", "JPEG 2000"), ("webp", "WebP"), ("jpegxl", "JPEG XL"), ("lerc", "LERC")],
)
def test_tiles_of_a_codec_that_is_not_read(case: Case, codec: str, words: str) -> None:
    """TIFF with JPEG 2000, WebP, JPEG XL or LERC: named, with what converts it."""
    save(case, "s.tif", tissue(), compression=codec)
    assert case.run("s.tif").status == 1
    status = case.status("s")
    assert f"tiles are {words}" in status["error"]
    assert "vips tiffsave" in status["advice"]
    assert "damaged" not in status["error"] + status["advice"]
