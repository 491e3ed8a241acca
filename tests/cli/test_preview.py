"""`wsi-pipeline preview`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.phantoms import Phantom
from wsi_pipeline.classifier import find_model
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.demo import make_demo_slide
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.pipeline.plan import plan_slide, user_mask
from wsi_pipeline.pipeline.stain import fit_stain, save_reference, stain_reference
from wsi_pipeline.preview.samples import choose_shown, read_samples
from wsi_pipeline.preview.slide import full_page, write_mask
from wsi_pipeline.slides import SlideSource

Command = Callable[..., tuple[int, str]]
MakePhantom = Callable[..., Phantom]
FILES = {"preview.png", "preview.html", "mask.png", "mask.geojson"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small synthetic slide that looks like H&E."""
    path = tmp_path_factory.mktemp("demo") / "demo.tif"
    make_demo_slide(path, size_l0=Size(1500, 1200))
    return path


def test_a_good_slide_gets_its_page_and_its_mask(
    demo: Path, command: Command, tmp_path: Path
) -> None:
    status, said = command("preview", demo, "-o", tmp_path / "page", "--stain", "macenko")
    assert status == 0, said
    assert {path.name for path in (tmp_path / "page").iterdir()} == FILES
    html = (tmp_path / "page/preview.html").read_text()
    for word in ("reinhard", "macenko", "vahadane", "histogram", "looks like H&amp;E", "µm/px"):
        assert word in html
    assert not re.search(r"https?:", html), "nothing leaves the machine"
    assert "<script" not in html
    assert 'src="data:image/png;base64,' in html
    with Image.open(tmp_path / "page/preview.png") as page:
        assert page.width == 1800


@pytest.mark.parametrize("method", ["none", "macenko"])
def test_the_page_tells_of_the_stain_what_a_run_would_record(demo: Path, method: str) -> None:
    card, config = find_model("idc-compact"), load_config(None, {"stain": {"method": method}})
    plan, reference = plan_slide(SlideSource(demo), config, card), stain_reference(card)
    health = fit_stain(plan, method, reference)[1]
    rows = dict(dict(full_page(plan, config, card, reference).tables)["Stain"])
    assert rows["two halves apart"] == f"{health.halves_deg:.1f}°"
    assert rows["pixels with stain"].endswith(f" of {health.n_pixels:,}")


def test_the_mask_lies_where_the_tissue_is(
    phantom_factory: MakePhantom, command: Command, tmp_path: Path
) -> None:
    phantom = phantom_factory(tissue_box_l0=Box(1200, 400, 1600, 1600))
    command("preview", phantom.path, "-o", tmp_path / "page")
    (feature,) = json.loads((tmp_path / "page/mask.geojson").read_text())["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    np.testing.assert_allclose(ring.min(0), (1200, 400), atol=32)
    np.testing.assert_allclose(ring.max(0), (2800, 2000), atol=32)
    with Image.open(tmp_path / "page/mask.png") as picture:
        mask = np.asarray(picture) > 0
    assert mask.mean() == pytest.approx(1600 * 1600 / (4096 * 3072), rel=0.05)


def test_the_mask_can_be_given_back_to_a_run(phantom_factory: MakePhantom, tmp_path: Path) -> None:
    phantom = phantom_factory(tissue_box_l0=Box(1200, 400, 1600, 1600))
    plan = plan_slide(SlideSource(phantom.path), Config(), find_model("idc-compact"))
    for path in write_mask(plan, tmp_path):
        again = user_mask(path, plan.tissue_mask, plan.mpp, plan.bounds_l0).mask
        assert (again.mask != plan.tissue_mask.mask).mean() < 0.002


@pytest.mark.parametrize(
    ("mpp", "words"), [(None, "--mpp"), (352.8, "352.8"), (12.0, "the model needs 8")]
)
def test_a_slide_that_no_run_can_do_gets_a_page_that_says_why(
    phantom_factory: MakePhantom,
    command: Command,
    tmp_path: Path,
    mpp: float | None,
    words: str,
) -> None:
    phantom = phantom_factory(mpp=mpp, level_ratios=(1, 4))
    status, said = command("preview", phantom.path, "-o", tmp_path / "page")
    assert status == 1
    assert words in said
    assert words in (tmp_path / "page/preview.html").read_text()
    assert (tmp_path / "page/preview.png").exists()
    assert not (tmp_path / "page/mask.png").exists()


def test_mpp_given_by_hand_makes_the_whole_page(
    phantom_factory: MakePhantom, command: Command, tmp_path: Path
) -> None:
    phantom = phantom_factory(mpp=None)
    status, _ = command("preview", phantom.path, "-o", tmp_path / "page", "--mpp", "1")
    assert status == 0
    assert "override (--mpp)" in (tmp_path / "page/preview.html").read_text()


def test_an_empty_slide_gets_a_page_and_an_empty_mask(
    phantom_factory: MakePhantom, command: Command, tmp_path: Path
) -> None:
    none = Box(0, 0, 0, 0)
    phantom = phantom_factory(hot_box_l0=none, tissue_box_l0=none)
    status, said = command("preview", phantom.path, "-o", tmp_path / "page")
    assert status == 1
    assert "No tissue is found" in said
    assert json.loads((tmp_path / "page/mask.geojson").read_text())["features"] == []


def test_a_slide_that_is_not_he_says_so_and_keeps_its_colors(
    command: Command, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    brown = np.array((150, 110, 70)) + rng.integers(0, 40, (600, 800, 3))
    brown[:100] = 244
    Image.fromarray(brown.astype(np.uint8)).save(tmp_path / "dab.png")
    status, said = command(
        "preview", tmp_path / "dab.png", "-o", tmp_path / "page", "--mpp", 4, "--stain", "macenko"
    )
    assert status == 0
    assert "colors that are not H&E" in said
    assert "falls back to none" in (tmp_path / "page/preview.html").read_text()


def test_a_file_that_is_no_slide_is_refused_without_a_page(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague")
    status, said = command("preview", tmp_path / "letter.txt", "-o", tmp_path / "page")
    assert status == 1
    assert "error:" in said
    assert not (tmp_path / "page").exists()


def test_a_reference_is_made_of_a_slide_and_taken_from_its_file(demo: Path, tmp_path: Path) -> None:
    card = find_model("idc-compact")
    saved = save_reference(demo, Config(), card, tmp_path)
    made = stain_reference(card, saved)
    assert made.source == "demo.tif"
    again = save_reference(saved, Config(), card, tmp_path / "again")
    assert stain_reference(card, again) == made


def test_a_reference_file_that_is_none_is_refused(
    demo: Path, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text("{")
    status, said = command(
        "preview", demo, "-o", tmp_path / "page", "--stain-reference", tmp_path / "bad.json"
    )
    assert status == 1
    assert "bad.json cannot be read" in said


def test_patches_shown_go_from_dark_to_pale_and_differ(phantom_factory: MakePhantom) -> None:
    phantom = phantom_factory(size_l0=Size(8192, 6144), hot_box_l0=Box(1600, 800, 800, 800))
    plan = plan_slide(SlideSource(phantom.path), Config(), find_model("idc-compact"))
    samples = read_samples(plan)
    shown = choose_shown(samples, plan.tissue_mask.glass_rgb, None)
    assert len(set(shown)) == len(shown) == 6
    light = samples.pixels[shown].mean(axis=(1, 2, 3))
    assert light[0] < light[-1]
