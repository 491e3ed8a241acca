"""Slides scanned in other light, with a model whose answer is known by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from wsi_pipeline.classifier import find_model
from wsi_pipeline.config import load_config
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.plan import plan_slide
from wsi_pipeline.pipeline.resolved import SlideJob, resolve_run
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.pipeline.stain import stain_reference
from wsi_pipeline.preview.slide import full_page
from wsi_pipeline.render.overlay import Caption, subtitle
from wsi_pipeline.results.slide_files import SlideResult
from wsi_pipeline.results.status import Done
from wsi_pipeline.slides import SlideSource

DARKNESS = Path(__file__).parents[1] / "models" / "darkness"
GLASS = (242, 241, 242)
DARK_VIOLET = (0.75, 0.7, 0.78)


@pytest.fixture
def picture() -> RgbArray:
    """A square of tissue, darker to the right, on glass; 8 µm/px."""
    rng = np.random.default_rng(0)
    rgb = np.array(GLASS) + rng.integers(-2, 3, (600, 800, 3))
    ramp = np.linspace(1, 0.5, 400)[:, None] * (226, 160, 190)
    rgb[100:500, 200:600] = ramp + rng.integers(-12, 13, (400, 400, 1))
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The darkness model with the glass of its training data in the card."""
    folder = tmp_path / "model"
    shutil.copytree(DARKNESS, folder)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "glass_rgb": GLASS}))
    return folder


def scanned(rgb: RgbArray, path: Path) -> Path:
    options: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
    per_cm = 1e4 / 8.0
    tifffile.imwrite(path, rgb, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", **options)
    return path


def in_light(rgb: RgbArray, tint: tuple[float, float, float]) -> RgbArray:
    return np.rint(rgb * np.array(tint)).astype(np.uint8)


def run(slide: Path, out: Path, model: Path, **slide_options: Any) -> SlideResult:
    return run_slide(slide, out, load_config(None, {"model": str(model), "slide": slide_options}))


def test_a_slide_in_other_light_gets_the_map_of_the_same_slide_in_the_training_datas(
    picture: RgbArray, model: Path, tmp_path: Path
) -> None:
    dark = scanned(in_light(picture, DARK_VIOLET), tmp_path / "dark.tif")
    light = scanned(picture, tmp_path / "light.tif")
    maps = [
        ProbabilityMap.open(run(slide, tmp_path / "out", model).map_path).values
        for slide in (light, dark)
    ]
    as_scanned = run(dark, tmp_path / "as_scanned", model, white_balance="none")
    unbalanced = ProbabilityMap.open(as_scanned.map_path).values
    np.testing.assert_array_equal(np.isnan(maps[0]), np.isnan(maps[1]))
    np.testing.assert_allclose(maps[0], maps[1], atol=0.03)
    assert np.nanmax(np.abs(maps[0] - unbalanced)) > 0.3


def test_status_map_and_overlay_say_what_was_done_to_the_light(
    picture: RgbArray, model: Path, tmp_path: Path
) -> None:
    slide = scanned(in_light(picture, DARK_VIOLET), tmp_path / "dark.tif")
    result = run(slide, tmp_path / "out", model)
    map_ = ProbabilityMap.open(result.map_path)
    record = map_.attributes["white_balance"]
    assert record == json.loads((result.folder / "status.json").read_text())["white_balance"]
    assert record["applied"] is True
    assert record["glass_rgb"] == pytest.approx(np.array(GLASS) * DARK_VIOLET, abs=1)
    assert record["reference_rgb"] == list(GLASS)
    words = subtitle(map_, Caption.of(map_, date="today", software="wsi_pipeline"), 0.5)
    assert "light balanced from glass" in words


@pytest.mark.parametrize(
    ("tint", "options", "reason"),
    [
        ((1.0, 1.0, 1.0), {}, "within"),
        (DARK_VIOLET, {"white_balance": "none"}, "switched off"),
    ],
    ids=["the training data's light", "switched off"],
)
def test_light_that_is_left_as_it_is_says_why(
    tint: tuple[float, float, float],
    options: dict[str, str],
    reason: str,
    picture: RgbArray,
    model: Path,
    tmp_path: Path,
) -> None:
    slide = scanned(in_light(picture, tint), tmp_path / "slide.tif")
    status = run(slide, tmp_path / "out", model, **options).status
    assert isinstance(status, Done)
    record = status.white_balance
    assert record is not None
    assert record["applied"] is False
    assert reason in record["reason"]


def test_a_map_depends_on_the_balance_and_on_the_glass_of_the_training_data(
    model: Path, tmp_path: Path
) -> None:
    def sha(folder: Path, balance: str = "auto") -> str:
        settings = {"slide": {"white_balance": balance}, "model": str(folder)}
        run = resolve_run(load_config(None, settings), tmp_path)
        return run.map_sha256(SlideJob("s", SlideSource(tmp_path / "s.tif")))

    assert len({sha(model), sha(DARKNESS), sha(model, "none")}) == 3


def test_the_preview_shows_patches_before_and_after_and_names_the_glass(
    picture: RgbArray, model: Path, tmp_path: Path
) -> None:
    slide = scanned(in_light(picture, DARK_VIOLET), tmp_path / "dark.tif")
    card, config = find_model(str(model)), load_config(None, {"model": str(model)})
    plan = plan_slide(SlideSource(slide), config, card)
    page = full_page(plan, config, card, stain_reference(card))
    rows = {row.name: row.patches for row in page.methods}
    assert rows["none"][0].mean() > 1.25 * rows["as scanned"][0].mean()
    facts = dict(next(rows for title, rows in page.tables if title == "Tissue mask"))
    assert facts["glass"].startswith("182, 169, 189")
    assert facts["light"].startswith("balanced by 1.33, 1.43, 1.28")
