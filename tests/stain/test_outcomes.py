"""Whole slides that no stain fit can be made of, or only a doubtful one: each ends as stated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.stain.mixtures import H_AND_E, mix, unit
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import NotAssessableError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.stain import StainReference, fit_with_fallback

MODEL = Path(__file__).parents[1] / "models" / "darkness"
GLASS = (243, 242, 243)
SIDE_PX, MARGIN_PX = 400, 100
TISSUE = (SIDE_PX - 2 * MARGIN_PX, SIDE_PX - 2 * MARGIN_PX, 3)
HEMATOXYLIN_AND_DAB = ((0.65, 0.70, 0.29), (0.27, 0.57, 0.78))
AZURE_AND_EOSIN = ((0.80, 0.55, 0.24), (0.55, 0.75, 0.38))
"""Giemsa."""
MASK_DECIDES = "done or empty"
"""Whether such a color is tissue at all is the tissue mask's business."""


def on_glass(tissue: RgbArray) -> RgbArray:
    """Return a slide of 3.2 mm with tissue in its middle."""
    slide = np.full((SIDE_PX, SIDE_PX, 3), GLASS, np.uint8)
    slide[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] = tissue
    return slide


def stained(vectors: object, strength: tuple[float, float] = (1.6, 1.2)) -> RgbArray:
    tissue = mix(vectors, strength=strength, n=TISSUE[0] * TISSUE[1]).reshape(TISSUE)
    return on_glass(np.asarray(tissue / 255 * np.array(GLASS), np.uint8))


def plain(color: tuple[int, int, int], side_px: int = SIDE_PX) -> RgbArray:
    return np.full((side_px, side_px, 3), color, np.uint8)


def fat() -> RgbArray:
    """Return glass cells of 7 px behind faint pink walls."""
    walls = (np.indices(TISSUE[:2]) % 8 == 0).any(axis=0)
    return on_glass(np.where(walls[..., None], (225, 178, 205), GLASS).astype(np.uint8))


def blood() -> RgbArray:
    levels = np.random.default_rng(0).normal((200, 45, 50), 6, TISSUE)
    return on_glass(np.clip(levels, 0, 255).astype(np.uint8))


def fluorescence() -> RgbArray:
    light = np.random.default_rng(0).exponential(8, (SIDE_PX, SIDE_PX, 3)) * (0.1, 0.3, 1.0)
    light[150:250, 150:250] *= 8
    return np.clip(light, 0, 255).astype(np.uint8)


def inverted() -> RgbArray:
    return np.asarray(255 - stained(H_AND_E))


def grey() -> RgbArray:
    picture = stained(H_AND_E).mean(axis=2, keepdims=True)
    return np.repeat(picture, 3, axis=2).astype(np.uint8)


def unstained() -> RgbArray:
    amounts = np.random.default_rng(0).random((*TISSUE[:2], 2)) * 0.1
    light = np.array(GLASS) * np.exp(-amounts @ unit(H_AND_E))
    return on_glass(light.astype(np.uint8))


OUTCOMES: dict[str, tuple[RgbArray, str, str | None, str]] = {
    "H&E": (stained(H_AND_E), "done", "vahadane", ""),
    "blank": (plain(GLASS), "empty", None, ""),
    "white": (plain((255, 255, 255)), "empty", None, ""),
    "black": (plain((0, 0, 0)), "failed", None, "nearly black"),
    "one pixel": (plain((190, 110, 175), 1), "empty", None, ""),
    "grey": (grey(), "failed", None, "without colors"),
    "one color": (plain((190, 110, 175)), "done", "none", "only one stain"),
    "50 x 50 of one color": (plain((190, 110, 175), 50), "done", "none", "only one stain"),
    "50 x 50": (mix(n=2500).reshape(50, 50, 3), "done", "vahadane", ""),
    "all fat": (fat(), "done", "none", "no hematoxylin is seen"),
    "all blood": (blood(), MASK_DECIDES, "none", "not of H&E colors"),
    "immunohistochemistry": (stained(HEMATOXYLIN_AND_DAB), "done", "none", "no eosin is seen"),
    "Giemsa": (stained(AZURE_AND_EOSIN), "done", "none", "not of H&E colors"),
    "eosin alone": (stained((H_AND_E[1], (0.10, 0.88, 0.47))), "done", "none", "no hematoxylin"),
    "fluorescence": (fluorescence(), "failed", None, "fluorescence"),
    "inverted": (inverted(), "failed", None, "inverted"),
    "nearly unstained": (unstained(), "done", "none", "nearly unstained"),
}
"""Picture, state of the slide, method used (None without tissue), a warning or the refusal."""


def run(picture: RgbArray, folder: Path, **stain: str) -> tuple[dict[str, Any], ProbabilityMap]:
    path = folder / "slide.png"
    Image.fromarray(picture).save(path)
    config: Config = load_config(
        None,
        {
            "model": str(MODEL),
            "outputs": "map",
            "slide": {"mpp": 8.0},
            "stain": stain,
            "execution": {"workers": 1},
        },
    )
    result = run_slide(path, folder / "out", config)
    status = json.loads((result.folder / "status.json").read_text())
    return status, ProbabilityMap.open(result.map_path)


@pytest.mark.parametrize(
    ("picture", "state", "used", "warning"), OUTCOMES.values(), ids=OUTCOMES.keys()
)
def test_a_slide_ends_in_a_stated_outcome(
    tmp_path: Path, picture: RgbArray, state: str, used: str | None, warning: str
) -> None:
    if state == "failed":
        with pytest.raises(NotAssessableError, match=warning):
            run(picture, tmp_path, method="vahadane")
        return
    status, map_ = run(picture, tmp_path, method="vahadane")
    assert status["state"] in state
    if status["state"] == "empty":
        assert status["advice"]
        assert np.isnan(map_.values).all()
        return
    assert status["stain"]["used"] == map_.attributes["stain"] == used
    assert warning in " ".join(status["stain"]["warnings"])
    assert bool(status["stain"]["reasons"]) == (used == "none")


@pytest.mark.parametrize("method", ["reinhard", "macenko", "vahadane", "histogram"])
@pytest.mark.parametrize("name", OUTCOMES)
def test_no_tile_turns_black_or_purple(reference: StainReference, name: str, method: str) -> None:
    """Pale pixels stay pale, and what is not H&E keeps its colors."""
    picture, *_ = OUTCOMES[name]
    normalizer, health = fit_with_fallback(picture, method, reference, glass_rgb=GLASS)
    found = normalizer.transform(picture)
    pale = picture.min(axis=-1) > 200
    assert (found[pale] > 150).all()
    assert abs(float(found.mean()) - float(picture.mean())) < 40
    if not health.is_he:
        assert np.abs(found.astype(int) - picture).max() <= 1
