"""Cells with a quality flag: kept, struck through or dropped, the same in every result."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wsi_pipeline.classifier import find_model
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.plan import pen_flags, plan_slide
from wsi_pipeline.results.slide_files import regions_of, shown_map
from wsi_pipeline.slides import SlideSource
from wsi_pipeline.tissue import QualityFlag

Command = Callable[..., tuple[int, str]]
MODEL = Path(__file__).parents[1] / "models" / "darkness"


def dropped() -> Config:
    return load_config(None, {"render": {"flagged": "dropped"}, "regions": {"threshold": 0.5}})


@pytest.fixture
def map_() -> ProbabilityMap:
    """Two hot cells, of which the right one is under a pen."""
    values = np.array([[0.0, 0.9, 0.0, 0.9, 0.0]], np.float32)
    quality = np.array([[0, 0, 0, QualityFlag.PEN, 0]], np.uint8)
    tissue = np.ones_like(values)
    return ProbabilityMap(values, tissue, (0, 0), (50.0, 50.0), Mpp(8, 8), quality=quality)


def test_a_dropped_cell_is_not_classified_and_in_no_region(map_: ProbabilityMap) -> None:
    shown = shown_map(map_, dropped())
    assert np.isnan(shown.values).tolist() == [[False, False, False, True, False]]
    assert len(regions_of(map_, dropped()).items) == 1
    assert len(regions_of(map_, load_config(None, {"regions": {"threshold": 0.5}})).items) == 2
    assert map_.values[0, 3] == np.float32(0.9), "the stored map keeps it"


@pytest.mark.parametrize("choice", ["kept", "hatched"])
def test_a_cell_that_is_kept_counts_as_any_other(map_: ProbabilityMap, choice: str) -> None:
    config = load_config(None, {"render": {"flagged": choice}})
    np.testing.assert_array_equal(shown_map(map_, config).values, map_.values)


def test_a_map_without_flags_has_none_to_drop(map_: ProbabilityMap) -> None:
    bare = ProbabilityMap(map_.values, map_.tissue, (0, 0), (50.0, 50.0), map_.mpp)
    assert shown_map(bare, dropped()) is bare


def test_another_choice_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'kept', 'hatched' or 'dropped'"):
        load_config(None, {"render": {"flagged": "hidden"}})


@pytest.fixture
def penned(tmp_path: Path) -> Path:
    """A picture at 8 µm/px: a block of tissue on glass, a stroke of a blue pen 0.5 mm wide over
    both."""
    rng = np.random.default_rng(0)
    rgb = np.full((800, 800, 3), 243.0)
    rgb[200:600, 200:600] = (226, 150, 190)
    ink = Image.new("L", (800, 800))
    ImageDraw.Draw(ink).line([(60, 120), (740, 640)], fill=255, width=62)
    rgb[np.asarray(ink) > 0] *= (0.12, 0.25, 0.70)
    noisy = np.clip(rgb + rng.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)
    path = tmp_path / "penned.png"
    Image.fromarray(noisy).save(path)
    return path


def test_cells_of_tissue_under_a_stroke_carry_the_flag_and_glass_is_left_out(penned: Path) -> None:
    plan = plan_slide(SlideSource(penned, mpp=8.0), Config(), find_model("idc-compact"))
    flags = pen_flags(plan)
    assert plan.keep[4:12, 4:12].all()
    assert (flags[[5, 7, 9], [5, 8, 10]] == QualityFlag.PEN).all()
    assert not flags[4:7, 9:12].any()
    assert not plan.keep[2:3, 1:4].any(), "the stroke on glass"


def test_a_run_flags_them_and_render_drops_them(
    penned: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, said = command("run", penned, "-o", out, "--model", MODEL, "--mpp", 8)
    assert status == 0, said
    slide = out / "slides/penned"
    quality = ProbabilityMap.open(slide / "probability.zarr").quality
    assert quality is not None
    assert quality[7, 8] & QualityFlag.PEN
    before = len((slide / "patches.csv").read_text().splitlines())
    status, said = command("render", out, "--flagged", "dropped")
    assert status == 0, said
    after = len((slide / "patches.csv").read_text().splitlines())
    assert after == before - int((quality > 0).sum())
    assert json.loads((slide / "status.json").read_text())["settings"]["flagged"] == "dropped"
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0.05 < float(row["pen_share"]) < 0.4
