"""The demonstration slide opens, says its resolution, and shows what its truth says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import Point, shape
from skimage import measure

from wsi_pipeline.demo import DemoTruth, make_demo_slide
from wsi_pipeline.demo.scene import MPP
from wsi_pipeline.demo.textures import weave
from wsi_pipeline.geometry import Size
from wsi_pipeline.learning.data.truth import find_truths

SIZE = Size(2430, 1870)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoTruth:
    return make_demo_slide(tmp_path_factory.mktemp("demo") / "demo.tif", size_l0=SIZE, seed=3)


@pytest.fixture(scope="module")
def pixels(demo: DemoTruth) -> NDArray[np.uint8]:
    """Level 0, uint8 (height, width, 3)."""
    with openslide.OpenSlide(demo.slide_path) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


def cells_of(demo: DemoTruth, pixels: NDArray[np.uint8], wanted: int) -> NDArray[np.uint8]:
    """Return the whole cells of a class, (n, 100, 100, 3)."""
    truth = np.asarray(Image.open(demo.truth_path))
    rows, cols = np.nonzero(truth[:18, :24] == wanted)
    return np.stack(
        [pixels[r * 100 :, c * 100 :][:100, :100] for r, c in zip(rows, cols, strict=True)]
    )


def test_openslide_reads_its_levels_and_resolution(demo: DemoTruth) -> None:
    with openslide.OpenSlide(demo.slide_path) as slide:
        assert slide.dimensions == (SIZE.width, SIZE.height)
        assert slide.level_downsamples == pytest.approx((1, 2, 4), abs=0.01)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(4.0)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(4.0)


def test_truth_has_a_pixel_for_every_cell_and_all_three_classes(demo: DemoTruth) -> None:
    truth = np.asarray(Image.open(demo.truth_path))
    assert truth.shape == (19, 25)
    assert set(np.unique(truth)) == {0, 1, 2}


def test_glass_is_bright_and_tumor_absorbs_more_red_than_other_tissue(
    demo: DemoTruth, pixels: NDArray[np.uint8]
) -> None:
    glass, tissue, tumor = (cells_of(demo, pixels, wanted) for wanted in (0, 1, 2))
    assert np.median(glass, axis=(0, 1, 2)) == pytest.approx((243, 241, 243), abs=3)
    # hematoxylin is what absorbs red: mean of the archive's IDC patches 173, of its stroma 208
    assert 160 < tumor[..., 0].mean() < 190
    assert tissue[..., 0].mean() > tumor[..., 0].mean() + 25


def test_outlines_agree_with_the_truth_picture(demo: DemoTruth) -> None:
    features = json.loads(demo.outlines_path.read_text())["features"]
    outlines = [shape(feature["geometry"]) for feature in features]
    assert all(outline.is_valid for outline in outlines)
    area_mm2 = sum(outline.area for outline in outlines) * (demo.mpp / 1e3) ** 2
    assert area_mm2 == pytest.approx(demo.tumor_mm2)
    truth = np.asarray(Image.open(demo.truth_path))
    assert area_mm2 == pytest.approx((truth == 2).sum() * 0.16, rel=0.15)
    inside = [
        any(outline.contains(Point(c * 100 + 50, r * 100 + 50)) for outline in outlines)
        for r, c in np.argwhere(truth == 2)
    ]
    assert np.mean(inside) > 0.9


def test_outlines_are_annotations_that_qupath_reads(demo: DemoTruth) -> None:
    feature = json.loads(demo.outlines_path.read_text())["features"][0]
    assert len(feature["id"]) == 36
    assert feature["properties"]["objectType"] == "annotation"
    assert feature["properties"]["classification"]["name"] == "IDC"


def test_fat_cells_have_the_size_of_real_ones() -> None:
    textures = weave(np.random.default_rng(0))
    vacuoles = measure.regionprops(measure.label(textures.septa < 0.3))
    diameters_um = [MPP * region.equivalent_diameter_area for region in vacuoles]
    assert 45 < np.median(diameters_um) < 72


def test_same_seed_gives_the_same_slide_and_another_seed_another(tmp_path: Path) -> None:
    small = Size(500, 420)
    first, second, other = (
        make_demo_slide(tmp_path / f"{name}.tif", size_l0=small, seed=seed)
        for name, seed in (("first", 1), ("second", 1), ("other", 2))
    )
    assert first.slide_path.read_bytes() == second.slide_path.read_bytes()
    assert first.outlines_path.read_bytes() == second.outlines_path.read_bytes()
    assert first.slide_path.read_bytes() != other.slide_path.read_bytes()


def test_nothing_unfinished_is_left_beside_the_slide(demo: DemoTruth) -> None:
    names = {path.name for path in demo.slide_path.parent.iterdir()}
    assert names == {"demo.tif", "demo_truth.png", "demo_truth.geojson"}


def test_a_slide_too_small_for_tissue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 400 px"):
        make_demo_slide(tmp_path / "small.tif", size_l0=Size(300, 4000))
    assert list(tmp_path.iterdir()) == []


def test_the_former_place_of_the_demo_leads_to_it() -> None:
    from wsi_pipeline.slides.synthetic import make_demo_slide as from_before

    assert from_before is make_demo_slide


def test_the_truth_shows_colors_and_is_read_as_numbers(tmp_path: Path) -> None:
    demo = make_demo_slide(tmp_path / "demo.tif", size_l0=Size(1200, 900), seed=3)
    with Image.open(demo.truth_path) as picture:
        shown = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shown, axis=0)) == 3
    assert shown.max(axis=1).min() > 150, "nothing looks black"
    (truth,) = find_truths(tmp_path)
    assert set(np.unique(truth.cells).tolist()) == {0, 1, 2}
