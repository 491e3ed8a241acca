"""One slide end to end, with a model whose answer is known by hand."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.phantoms import HOT, TISSUE, Phantom, corrupt_tile
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import MissingResolutionError, ReadError, SlideError, StorageError
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.results.rendering import render_slide
from wsi_pipeline.results.slide_files import SlideResult
from wsi_pipeline.results.status import Done
from wsi_pipeline.tissue import QualityFlag

MODEL = Path(__file__).parents[1] / "models" / "darkness"


def config_with(**changes: Any) -> Config:
    return load_config(None, {"model": str(MODEL), **changes})


def expected(rgb: tuple[int, int, int]) -> float:
    return 1 / (1 + math.exp(-20 * (0.55 - sum(rgb) / 3 / 255)))


def run(phantom: Phantom, out: Path, **changes: Any) -> tuple[SlideResult, ProbabilityMap]:
    result = run_slide(phantom.path, out, config_with(**changes))
    return result, ProbabilityMap.open(result.map_path)


def hot_center_of_map(map_: ProbabilityMap) -> tuple[float, float]:
    """Return x, y of the center of the probability mass in level-0 px."""
    weights = np.nan_to_num(map_.values)
    weights = np.where(weights > 0.3, weights, 0)
    rows, cols = np.indices(weights.shape)
    x = map_.origin_l0[0] + ((cols + 0.5) * weights).sum() / weights.sum() * map_.step_l0[0]
    y = map_.origin_l0[1] + ((rows + 0.5) * weights).sum() / weights.sum() * map_.step_l0[1]
    return float(x), float(y)


GEOMETRIES: dict[str, dict[str, Any]] = {
    "mpp 0.25, ratios 4 and 16": {
        "size_l0": Size(24000, 18000),
        "hot_box_l0": Box(9600, 6400, 3200, 3200),
        "mpp": 0.25,
    },
    "mpp 0.5, ratio 2": {
        "size_l0": Size(12000, 9000),
        "hot_box_l0": Box(4800, 3200, 1600, 1600),
        "mpp": 0.5,
        "level_ratios": (1, 2, 4),
    },
    "mpp 0.5, says 16.0009": {
        "size_l0": Size(16007, 12013),
        "hot_box_l0": Box(8000, 8800, 1600, 1600),
        "mpp": 0.5,
        "level_ratios": (1, 4, 16),
    },
    "mpp 1.0": {"size_l0": Size(6000, 4500), "hot_box_l0": Box(2400, 1600, 800, 800), "mpp": 1.0},
    "mpp 8.0, one level": {
        "size_l0": Size(1200, 900),
        "hot_box_l0": Box(400, 300, 100, 100),
        "mpp": 8.0,
        "level_ratios": (1,),
    },
    "120,000 px wide, hot at the far corner": {
        "size_l0": Size(120000, 60000),
        "hot_box_l0": Box(112000, 52800, 3200, 3200),
        "mpp": 0.25,
        "tissue_box_l0": Box(104000, 48000, 14000, 11000),
    },
    "scanned bounds": {
        "name": "phantom.scn",
        "size_l0": Size(40000, 50000),
        "bounds_l0": Box(12000, 21000, 16000, 12800),
        "hot_box_l0": Box(16800, 25800, 1600, 1600),
        "mpp": 0.5,
    },
    "off the grid": {
        "size_l0": Size(12000, 9000),
        "hot_box_l0": Box(4433, 3217, 2011, 1999),
        "mpp": 0.4567,
    },
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_hot_square_is_found_within_half_a_cell_in_every_output(
    phantom_factory: Callable[..., Phantom], tmp_path: Path, geometry: dict[str, Any]
) -> None:
    phantom = phantom_factory(**geometry)
    result, map_ = run(phantom, tmp_path / "out")
    hot = phantom.hot_box_l0
    center = (hot.x + hot.width / 2, hot.y + hot.height / 2)
    half = (map_.step_l0[0] / 2, map_.step_l0[1] / 2)

    def near(x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> None:
        assert abs(x + dx - center[0]) <= half[0]
        assert abs(y + dy - center[1]) <= half[1]

    near(*hot_center_of_map(map_))
    offset = (phantom.bounds_l0.x, phantom.bounds_l0.y) if geometry.get("bounds_l0") else (0, 0)
    near(*_center_of_geojson(result.regions_path), *offset)
    near(*_center_of_csv(result.folder / "patches.csv"))
    near(*_center_of_heatmap(result, phantom))
    assert (result.folder / "overlay.png").exists()


def _center_of_geojson(path: Path) -> tuple[float, float]:
    features = json.loads(path.read_text())["features"]
    assert len(features) == 1
    ring = np.array(features[0]["geometry"]["coordinates"][0])
    return tuple((ring.max(0) + ring.min(0)) / 2)


def _center_of_csv(path: Path) -> tuple[float, float]:
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    weights = np.array([float(row["prob_idc"]) for row in rows])
    weights = np.where(weights > 0.3, weights, 0)
    x = np.array([float(row["minx"]) + float(row["width"]) / 2 for row in rows])
    y = np.array([float(row["miny"]) + float(row["height"]) / 2 for row in rows])
    return float((x * weights).sum() / weights.sum()), float((y * weights).sum() / weights.sum())


def _center_of_heatmap(result: SlideResult, phantom: Phantom) -> tuple[float, float]:
    """Find the hot pixels of the heatmap by their brightness, which rises with the probability."""
    with Image.open(result.folder / "heatmap.png") as picture:
        rgba = np.asarray(picture).astype(float)
    light = np.where(rgba[..., 3] > 0, rgba[..., :3].sum(2), 0)
    rows, cols = np.nonzero(light > 0.6 * light.max())
    scale = (phantom.bounds_l0.width / light.shape[1], phantom.bounds_l0.height / light.shape[0])
    x = phantom.bounds_l0.x + (cols.mean() + 0.5) * scale[0]
    y = phantom.bounds_l0.y + (rows.mean() + 0.5) * scale[1]
    return float(x), float(y)


def test_probabilities_are_those_of_the_pixels(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=Box(1600, 800, 800, 800))
    _, map_ = run(phantom, tmp_path)
    inside = map_.values[2:4, 4:6]
    np.testing.assert_allclose(inside, expected(HOT), atol=1e-4)
    outside = map_.values.copy()
    outside[2:4, 4:6] = np.nan
    np.testing.assert_allclose(
        outside[:7, :10][~np.isnan(outside[:7, :10])], expected(TISSUE), atol=1e-4
    )


def test_glass_is_not_classified_and_not_zero(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(tissue_box_l0=Box(1200, 400, 1600, 1600))
    result, map_ = run(phantom, tmp_path)
    assert np.isnan(map_.values[0, 0])
    assert not np.isnan(map_.values[2, 4])
    assert map_.tissue[0, 0] == 0
    assert isinstance(result.status, Done)
    assert result.status.patches == int((~np.isnan(map_.values)).sum())


def test_an_all_white_slide_is_a_result_not_an_error(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=Box(0, 0, 0, 0), tissue_box_l0=Box(0, 0, 0, 0))
    result, map_ = run(phantom, tmp_path)
    assert result.state == "empty"
    assert result.totals is None
    assert np.isnan(map_.values).all()


def test_threads_blocks_and_a_resumed_run_give_the_same_bytes(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=Box(1533, 811, 777, 803))

    def stored(out: Path) -> dict[str, bytes]:
        root = out / "slides" / "phantom" / "probability.zarr"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    run(phantom, tmp_path / "a", execution={"workers": 1, "block_px": 512})
    run(phantom, tmp_path / "b", execution={"workers": 4, "block_px": 512})
    run(phantom, tmp_path / "c", execution={"workers": 2, "block_px": 2048})
    reference = stored(tmp_path / "a")
    assert stored(tmp_path / "b") == reference
    assert stored(tmp_path / "c") == reference


class StoppedError(Exception):
    """Raised by a progress callback."""


def run_until(share: float, phantom: Phantom, out: Path, config: Config) -> list[int]:
    """Stop a run once more than this share is done; return the counts that it told."""
    seen: list[int] = []

    def stop(done: int, n_patches: int) -> None:
        seen.append(done)
        if done > share * n_patches:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_slide(phantom.path, out, config, progress=stop)
    return seen


def test_blocks_of_an_interrupted_run_are_not_done_again(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory()
    config = config_with(execution={"workers": 1, "block_px": 512})
    seen = run_until(0.5, phantom, tmp_path, config)
    again: list[int] = []
    run_slide(phantom.path, tmp_path, config, progress=lambda done, _: again.append(done))
    assert again[0] >= seen[-2] > 0
    undisturbed = run_slide(phantom.path, tmp_path / "other", config)
    resumed = ProbabilityMap.open(tmp_path / "slides/phantom/probability.zarr")
    np.testing.assert_array_equal(resumed.values, ProbabilityMap.open(undisturbed.map_path).values)
    assert not (tmp_path / "slides/phantom/working").exists()


def test_a_bad_tile_costs_its_patches_not_the_slide(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(size_l0=Size(8192, 6144), mpp=2.0, level_ratios=(1, 4))
    corrupt_tile(phantom.path, 2, level=1)
    result, map_ = run(phantom, tmp_path, slide={"max_lost_share": 0.5})
    assert result.state == "done"
    lost = (map_.quality & np.uint8(QualityFlag.UNREADABLE)) > 0  # type: ignore[operator]
    assert isinstance(result.status, Done)
    assert result.status.patches_lost == lost.sum() > 0
    assert np.isnan(map_.values[lost]).all()
    assert lost.mean() < 0.2
    rows, cols = np.nonzero(lost)
    tile_x = (2 * 256 * 4, 3 * 256 * 4)
    assert (cols * map_.step_l0[0]).min() <= tile_x[0]
    assert ((cols + 1) * map_.step_l0[0]).max() >= tile_x[1]
    assert ((rows + 1) * map_.step_l0[1]).max() <= 256 * 4 + 2 * map_.step_l0[1]


def test_a_slide_that_loses_too_much_fails(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(size_l0=Size(8192, 6144), mpp=2.0, level_ratios=(1, 4))
    for tile in (1, 2, 3, 9, 10, 11):
        corrupt_tile(phantom.path, tile, level=1)
    with pytest.raises(ReadError, match="patches cannot be read"):
        run(phantom, tmp_path, slide={"max_lost_share": 0.05})


@pytest.mark.parametrize("stride", [25, 10])
def test_overlapping_patches_are_averaged(
    phantom_factory: Callable[..., Phantom], tmp_path: Path, stride: int
) -> None:
    phantom = phantom_factory()
    _, plain = run(phantom, tmp_path / "plain")
    _, dense = run(phantom, tmp_path / "dense", tiling={"stride_px": stride})
    k = 50 // stride
    assert dense.values.shape[1] >= k * (plain.values.shape[1] - 1)
    assert dense.step_l0[0] == pytest.approx(plain.step_l0[0] / k)
    hot = dense.values[2 * k : 4 * k, 4 * k : 6 * k]
    center = hot[k - 1 : k + 1, k - 1 : k + 1].mean()
    assert center == pytest.approx(expected(HOT), abs=0.02)
    assert hot[0, 0] < center
    np.testing.assert_allclose(hot, hot[::-1, ::-1], atol=1e-5)


def test_views_are_averaged_and_their_spread_is_stored(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory()
    _, plain = run(phantom, tmp_path / "plain")
    _, views = run(phantom, tmp_path / "views", inference={"tta": True})
    np.testing.assert_allclose(views.values, plain.values, atol=1e-4)
    assert views.uncertainty is not None
    assert np.nanmax(views.uncertainty) < 1e-4
    assert plain.uncertainty is None


def test_a_slide_without_resolution_is_refused_with_what_to_do(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(mpp=None)
    with pytest.raises(MissingResolutionError, match="--mpp"):
        run(phantom, tmp_path)
    result, map_ = run(phantom, tmp_path, slide={"mpp": 1.0})
    assert map_.attributes["mpp_source"] == "override (--mpp)"
    assert result.totals is not None
    assert result.totals.n_regions == 1


def test_an_absurd_resolution_is_refused_with_its_value(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    with pytest.raises(MissingResolutionError, match=r"352\.8"):
        run(phantom_factory(mpp=352.8), tmp_path)


def test_a_slide_coarser_than_the_model_is_refused(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    with pytest.raises(SlideError, match="the model needs 8"):
        run(phantom_factory(mpp=12.0, level_ratios=(1,)), tmp_path)


def test_the_map_says_where_it_comes_from(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory()
    _, map_ = run(phantom, tmp_path)
    attributes = map_.attributes
    assert attributes["slide"]["name"] == "phantom.tif"
    assert attributes["slide"]["bytes"] == phantom.path.stat().st_size
    assert attributes["model"]["name"] == "darkness"
    assert attributes["patch_px"] == attributes["stride_px"] == 50
    assert attributes["threshold"] == 0.5
    assert attributes["mpp_source"] == "tiff.XResolution"
    assert map_.step_l0 == (400.0, 400.0)
    assert len(attributes["config_sha256"]) == 64


def test_a_user_s_mask_decides_what_is_classified(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    from wsi_pipeline.archive import make_jobs
    from wsi_pipeline.execution.block_executor import ThreadBlockExecutor
    from wsi_pipeline.inputs.slide_list import SlideEntry
    from wsi_pipeline.pipeline.resolved import resolve_run
    from wsi_pipeline.pipeline.run import do_slide

    phantom = phantom_factory()
    square = [[1600, 800], [2400, 800], [2400, 1600], [1600, 1600], [1600, 800]]
    mask = tmp_path / "mask.geojson"
    mask.write_text(json.dumps({"type": "Polygon", "coordinates": [square]}))
    entry = SlideEntry("phantom", phantom.path)
    run = resolve_run(config_with(), tmp_path / "out")
    (job,) = make_jobs([entry], run.config, mask)
    result = do_slide(run, job, ThreadBlockExecutor(1))
    values = ProbabilityMap.open(result.map_path).values
    assert np.argwhere(~np.isnan(values)).tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


def test_rendering_again_moves_the_threshold_without_slide_or_model(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory()
    result, _ = run(phantom, tmp_path)
    phantom.path.unlink()
    before = (result.folder / "overlay.png").read_bytes()
    again = render_slide(result.folder, load_config(None, {"regions": {"threshold": 0.999}}))
    assert again.totals is not None
    assert again.totals.n_regions == 0
    assert (result.folder / "overlay.png").read_bytes() != before
    assert ProbabilityMap.open(result.map_path).threshold == 0.999  # one everywhere
    assert isinstance(again.status, Done)
    assert again.status.threshold == 0.999


def test_an_output_folder_that_is_a_file_is_refused(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        run(phantom_factory(), tmp_path / "out")


def test_the_map_alone_writes_no_pictures(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    result, _ = run(phantom_factory(), tmp_path, outputs="map")
    names = {path.name for path in result.folder.iterdir()}
    assert names == {"probability.zarr", "status.json"}
    shutil.rmtree(result.folder)
