from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon

from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError, TissueError
from wsi_pipeline.geometry import BoolMask
from wsi_pipeline.pipeline.plan import find_tissue
from wsi_pipeline.slides import open_slide, read_thumbnail, require_mpp
from wsi_pipeline.tissue import (
    Artifacts,
    TissueMask,
    TissueParameters,
    area_fraction,
    segment_tissue,
)

UM_PX = (16.0, 16.0)
BLOCK = (slice(60, 140), slice(40, 160))
INSIDE = (slice(62, 138), slice(42, 158))


def outside(mask: TissueMask, margin: int = 5) -> float:
    """Share of the picture wrongly kept, the block's rim left aside."""
    away = mask.mask.copy()
    away[60 - margin : 140 + margin, 40 - margin : 160 + margin] = False
    return float(away.mean())


def test_a_block_of_tissue_is_found_and_glass_is_not(specimen: Any) -> None:
    mask = segment_tissue(specimen.rgb, um_px=UM_PX)
    assert mask.mask[INSIDE].all()
    assert outside(mask) == 0
    assert mask.area_mm2 == pytest.approx(80 * 120 * 0.016**2, rel=0.03)
    assert mask.method == "otsu"


@pytest.mark.parametrize(
    "color",
    [(255, 255, 255), (243, 243, 242), (200, 200, 200), (240, 238, 222), (0, 0, 0)],
    ids=["white", "glass", "grey glass", "yellow glass", "black"],
)
def test_a_slide_of_one_color_is_empty_and_no_error(color: tuple[int, int, int]) -> None:
    picture = np.full((60, 80, 3), color, dtype=np.uint8)
    assert segment_tissue(picture, um_px=UM_PX).is_empty


def test_noise_of_pure_glass_is_not_split_by_otsu(glass: Any) -> None:
    noisy = glass.rgb.astype(int) + np.random.default_rng(2).integers(-2, 3, glass.rgb.shape)
    assert segment_tissue(np.clip(noisy, 0, 255).astype(np.uint8), um_px=UM_PX).is_empty


def test_a_slide_that_is_all_tissue_is_kept_whole(glass: Any) -> None:
    picture = glass.paint(slice(None), slice(None), (226, 168, 200))
    picture = picture.paint(slice(0, 100), slice(None), (110, 70, 150)).rgb
    assert segment_tissue(picture, um_px=UM_PX).mask.all()


def test_a_slide_that_is_all_pale_tissue_is_not_taken_for_glass(glass: Any) -> None:
    picture = glass.paint(slice(None), slice(None), (232, 212, 226)).rgb
    assert segment_tissue(picture, um_px=UM_PX).tissue_share > 0.99


def test_faint_stain_is_found_where_there_is_nothing_stronger(glass: Any) -> None:
    mask = segment_tissue(glass.paint(*BLOCK, (240, 228, 236)).rgb, um_px=UM_PX)
    assert mask.mask[INSIDE].mean() > 0.99
    assert outside(mask) == 0
    assert mask.threshold < TissueParameters().max_color_od


@pytest.mark.parametrize(
    "membrane", [(228, 218, 226), (225, 225, 225)], ids=["faint pink", "grey, refractile"]
)
def test_fat_beside_tissue_is_tissue(specimen: Any, membrane: tuple[int, int, int]) -> None:
    fat = (slice(60, 140), slice(160, 230))
    mask = segment_tissue(specimen.lace(*fat, membrane).rgb, um_px=UM_PX)
    # The last row and column of cells has no outer wall: it is open ground.
    assert mask.mask[60:136, 160:226].mean() > 0.95


@pytest.mark.parametrize(
    ("rows", "cols"),
    [
        (slice(0, 200), slice(200, 202)),
        (slice(30, 32), slice(0, 300)),
        (slice(20, 24), slice(20, 24)),
        (slice(150, 190), slice(200, 260)),
        (slice(0, 200), slice(100, 102)),
    ],
    ids=["hair", "scratch", "dust", "smudge", "hair across the tissue"],
)
def test_grey_things_on_glass_are_not_tissue(specimen: Any, rows: slice, cols: slice) -> None:
    before = segment_tissue(specimen.rgb, um_px=UM_PX)
    mask = segment_tissue(specimen.paint(rows, cols, (190, 190, 190)).rgb, um_px=UM_PX)
    assert outside(mask) == 0
    assert mask.mask[INSIDE].mean() > 0.99
    assert mask.debris_share > before.debris_share


def test_a_smooth_shadow_does_not_drown_the_slide(specimen: Any) -> None:
    shade = np.linspace(1.0, 0.85, 300)[None, :, None]
    mask = segment_tissue((specimen.rgb * shade).astype(np.uint8), um_px=UM_PX)
    assert outside(mask) == 0
    assert mask.mask[INSIDE].all()


@pytest.mark.parametrize("glass_rgb", [(200, 200, 200), (240, 238, 220), (225, 232, 240)])
def test_the_glass_may_be_grey_or_tinted(glass_rgb: tuple[int, int, int]) -> None:
    light = np.array(glass_rgb) / 255
    picture = np.full((100, 120, 3), 255.0)
    picture[30:70, 30:90] = (226, 168, 200)
    mask = segment_tissue(np.rint(picture * light).astype(np.uint8), um_px=UM_PX)
    assert mask.mask[32:68, 32:88].all()
    assert mask.tissue_share < 0.25
    assert mask.glass_rgb == pytest.approx(glass_rgb, abs=2)


def test_unscanned_fill_whiter_than_the_glass_is_not_tissue(specimen: Any) -> None:
    picture = specimen.rgb
    picture[:, 200:] = 255
    mask = segment_tissue(picture, um_px=UM_PX)
    assert mask.glass_rgb == pytest.approx((243, 243, 242), abs=2)
    assert outside(mask) == 0


@pytest.mark.parametrize("width", [1, 3, 40])
def test_a_black_scan_border_is_not_tissue(specimen: Any, width: int) -> None:
    picture = specimen.rgb
    picture[:, :width] = picture[-width:] = 0
    mask = segment_tissue(picture, um_px=UM_PX)
    assert outside(mask) == 0
    assert mask.black_share > 0
    assert mask.mask[62:138, 45:158].all()


@pytest.mark.parametrize(
    "ink",
    [(30, 90, 60), (60, 160, 110), (30, 50, 170), (80, 120, 220), (215, 35, 40), (15, 15, 20)],
    ids=["dark green", "green", "dark blue", "blue", "red", "black"],
)
def test_a_pen_stroke_is_not_tissue(specimen: Any, ink: tuple[int, int, int]) -> None:
    stroke = (slice(10, 190), slice(200, 250))
    mask = segment_tissue(specimen.paint(*stroke, ink).rgb, um_px=UM_PX)
    assert outside(mask) == 0
    assert mask.pen_share + mask.black_share == pytest.approx(180 * 50 / 60_000, rel=0.1)


def test_a_thin_film_of_surgical_ink_belongs_to_the_tissue(specimen: Any) -> None:
    mask = segment_tissue(
        specimen.paint(slice(60, 140), slice(154, 160), (40, 140, 90)).rgb, um_px=UM_PX
    )
    assert mask.mask[INSIDE].all()
    assert mask.pen_share == 0


@pytest.mark.parametrize(
    "color",
    [(90, 60, 140), (70, 40, 110), (200, 45, 60), (230, 120, 170), (95, 80, 150)],
    ids=["nuclei", "dense nuclei", "blood", "eosin", "bluish hematoxylin"],
)
def test_no_stain_of_tissue_is_taken_for_a_pen(glass: Any, color: tuple[int, int, int]) -> None:
    mask = segment_tissue(glass.paint(*BLOCK, color).rgb, um_px=UM_PX)
    assert mask.mask[INSIDE].all()
    assert mask.pen_share == 0


def test_specks_go_and_holes_are_filled_by_area(specimen: Any) -> None:
    specimen.paint(slice(10, 14), slice(10, 14), (226, 168, 200))  # 4096 µm²
    specimen.paint(slice(90, 100), slice(90, 100), (243, 243, 242))  # 25,600 µm²
    mask = segment_tissue(specimen.rgb, um_px=UM_PX)
    assert not mask.mask[5:20, 5:20].any()
    assert mask.mask[INSIDE].all()


def test_a_large_hole_stays_open(specimen: Any) -> None:
    mask = segment_tissue(
        specimen.paint(slice(80, 110), slice(70, 120), (243, 243, 242)).rgb, um_px=UM_PX
    )
    assert not mask.mask[86:104, 76:114].any()


def test_sizes_are_physical_not_in_pixels() -> None:
    fine = np.full((240, 240, 3), 243, dtype=np.uint8)
    fine[100:108, 100:108] = (200, 120, 170)  # 32 µm at 4 µm/px: a speck
    assert segment_tissue(fine, um_px=(4.0, 4.0)).is_empty
    assert not segment_tissue(fine, um_px=(32.0, 32.0)).is_empty


def test_pixels_may_be_oblong() -> None:
    picture = np.full((100, 200, 3), 243, dtype=np.uint8)
    picture[30:70, 60:140] = (226, 168, 200)
    mask = segment_tissue(picture, um_px=(8.0, 16.0))
    assert mask.area_mm2 == pytest.approx(40 * 80 * 8 * 16 / 1e6, rel=0.05)


def test_a_thumbnail_too_coarse_is_refused() -> None:
    picture = np.full((10, 10, 3), 243, dtype=np.uint8)
    with pytest.raises(TissueError, match="cannot be made at 200 x 200 µm/px"):
        segment_tissue(picture, um_px=(200.0, 200.0))


def test_one_pixel_is_a_result() -> None:
    picture = np.full((1, 1, 3), 243, dtype=np.uint8)
    assert segment_tissue(picture, um_px=UM_PX).is_empty


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"closing_um": -1.0}, "tissue.closing_um is -1.0"),
        ({"reach_um": float("nan")}, "tissue.reach_um is nan"),
        ({"min_color_od": 0.2}, "above max_color_od 0.08"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TissueParameters(**setting)


def test_a_mask_must_be_boolean_and_is_read_only() -> None:
    with pytest.raises(ValueError, match="must be bool"):
        TissueMask(np.zeros((2, 2), dtype=np.uint8), UM_PX, "png", Artifacts.none((2, 2)))
    with pytest.raises(ValueError, match=r"artifacts \(3, 3\) do not fit"):
        TissueMask(np.zeros((2, 2), dtype=bool), UM_PX, "png", Artifacts.none((3, 3)))
    mask = TissueMask(np.zeros((2, 2), dtype=bool), UM_PX, "png", Artifacts.none((2, 2)))
    with pytest.raises(ValueError, match="read-only"):
        mask.mask[0, 0] = True
    assert pickle.loads(pickle.dumps(mask)).um_px == UM_PX


@pytest.mark.slide_data
def test_the_real_biopsy_keeps_its_fat_and_loses_hair_and_scratches(data_dir: Path) -> None:
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(data_dir / "slides" / "breast-lobular-10x.svs") as slide:
        width, height = slide.level_dimensions[2]
        picture = slide.read_region((0, 0), 2, (width, height)).convert("RGB").reduce(2)
    um_px = 1.0112 * 16
    mask = segment_tissue(np.asarray(picture), um_px=(um_px, um_px)).mask
    scale = 16 / um_px

    def at(x: int, y: int) -> bool:
        """Look at a place read off a picture of 16 µm/px."""
        return bool(mask[round(y * scale), round(x * scale)])

    fat = [(1355, 432), (260, 485), (202, 225), (1200, 201)]
    hair_and_scratches = [(1173, 308), (1247, 546), (1786, 663), (276, 284)]
    dust_and_glass = [(83, 296), (1526, 340), (473, 568)]
    assert all(at(x, y) for x, y in fat)
    assert not any(at(x, y) for x, y in hair_and_scratches + dust_and_glass)
    assert 0.10 < mask.mean() < 0.13


SLIDE_EDGES = {"8914": 2901, "9036": 2851, "9076": 2801}
"""Cases whose last rows of patches, from this y on, show the ground edge of the slide and dirt:
grey glass that bears the label "no IDC" and is, looked at, no tissue."""


@pytest.mark.slide_data
def test_the_labelled_patches_of_all_whole_mounts_are_kept(data_dir: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    kept, kept_idc, kept_real = [], [], []
    for path in sorted((data_dir / "idc").glob("*/*.mosaic.jxl")):
        case = path.name.split(".")[0]
        mosaic = imagecodecs.jpegxl_decode(path.read_bytes())
        mask = segment_tissue(np.asarray(Image.fromarray(mosaic).reduce(2)), um_px=UM_PX)
        assert mask.pen_share == 0, case
        x, y, _, _, label = np.loadtxt(
            path.with_name(f"{case}.tsv"), dtype=int, skiprows=1, unpack=True
        )
        rows, cols = -(-mosaic.shape[0] // 50), -(-mosaic.shape[1] // 50)
        left, top = np.arange(cols) * 25.0, np.arange(rows) * 25.0
        fraction = area_fraction(
            mask.mask, x_start=left, x_stop=left + 25, y_start=top, y_stop=top + 25
        )[(y - 1) // 50, (x - 1) // 50]
        is_kept = fraction >= 0.1
        kept.append(is_kept)
        kept_idc.append(is_kept[label == 1])
        kept_real.append(is_kept[y < SLIDE_EDGES.get(case, 10**6)])
    assert len(kept) == 25
    assert np.concatenate(kept_idc).all()
    assert np.concatenate(kept).mean() >= 0.99
    assert np.concatenate(kept_real).mean() >= 0.995


@pytest.mark.slide_data
def test_the_mask_agrees_with_outlines_drawn_by_hand(data_dir: Path) -> None:
    """Outlines of certain tissue, faint fat and glass (with hair, dust and smears), level-0 px."""
    pytest.importorskip("openslide")
    drawn = json.loads(Path(__file__).with_name("hand_drawn.json").read_text())
    for name, kinds in drawn.items():
        reader = open_slide(data_dir / "slides" / name)
        mpp = require_mpp(reader.info)
        thumbnail = read_thumbnail(reader, mpp, 16.0)
        mask = find_tissue(thumbnail, Config(), reader.info.background_rgb).mask
        kept = {
            kind: np.concatenate([inside(mask, ring, mpp.x / thumbnail.um_px) for ring in rings])
            for kind, rings in kinds.items()
            if rings
        }
        assert kept["tissue"].mean() >= 0.99, name
        assert kept["glass"].mean() <= 0.01, name
        assert "fat" not in kept or kept["fat"].mean() >= 0.95


def inside(mask: BoolMask, ring_l0: list[list[int]], px_per_l0: float) -> BoolMask:
    """Return the mask's values within a closed outline."""
    x, y = np.array(ring_l0).T * px_per_l0 - 0.5
    return np.asarray(mask[polygon(y, x, mask.shape)], dtype=bool)
