"""Borders on a slide: the exhaustive map where outlines run, the plain map's price elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.phantoms import Phantom, corrupt_tile
from tests.pipeline.test_coarse_to_fine import files_of
from tests.pipeline.test_run import config_with, run, run_until
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.results.slide_files import SlideResult, regions_of
from wsi_pipeline.results.status import Done

OFF_THE_GRID = Box(1533, 811, 777, 803)
BORDERS: dict[str, Any] = {"border_step": 2}


def n_patches(result: SlideResult) -> int:
    assert isinstance(result.status, Done)
    return result.status.patches


def test_refined_cells_are_those_of_the_exhaustive_map_at_little_more_than_the_plain_price(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=OFF_THE_GRID)
    plain_result, _ = run(phantom, tmp_path / "plain")
    _, dense = run(phantom, tmp_path / "dense", tiling={"stride_px": 25})
    result, map_ = run(phantom, tmp_path / "borders", tiling=BORDERS)
    assert map_.patches is not None
    assert map_.estimated is None
    rows, cols = dense.values.shape
    whole = map_.patches[:rows, :cols] == 4
    assert whole.any()
    np.testing.assert_allclose(map_.values[:rows, :cols][whole], dense.values[whole], atol=1e-6)
    np.testing.assert_allclose(map_.values[:rows, :cols], dense.values, atol=0.25)
    plain, refined = n_patches(plain_result), n_patches(result)
    assert plain < refined <= 1.6 * plain


def test_outlines_come_nearer_to_those_of_the_exhaustive_map(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=OFF_THE_GRID)
    found = {}
    for name, tiling in (("plain", {}), ("borders", BORDERS), ("dense", {"stride_px": 10})):
        _, map_ = run(phantom, tmp_path / name, tiling=tiling)
        (region,) = regions_of(map_, config_with())
        found[name] = region.outline_l0
    off = {n: found[n].symmetric_difference(found["dense"]).area for n in ("plain", "borders")}
    assert off["borders"] < off["plain"]
    assert off["borders"] < 0.1 * found["dense"].area


def test_a_slide_without_tumor_costs_what_it_did(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=Box(0, 0, 0, 0))
    result, map_ = run(phantom, tmp_path / "borders", tiling=BORDERS)
    plain, _ = run(phantom, tmp_path / "plain")
    assert n_patches(result) == n_patches(plain)
    assert map_.patches is not None
    assert map_.patches.max() == 1


def test_nothing_is_classified_that_the_plain_map_leaves_out(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(tissue_box_l0=Box(1210, 390, 1630, 1570), hot_box_l0=OFF_THE_GRID)
    _, plain = run(phantom, tmp_path / "plain")
    _, map_ = run(phantom, tmp_path / "borders", tiling=BORDERS)
    known = ~np.isnan(plain.values).repeat(2, axis=0).repeat(2, axis=1)
    assert (~np.isnan(map_.values))[known].all()
    added = ~np.isnan(map_.values) & ~known
    assert map_.patches is not None
    assert (map_.patches[added] > 0).all()


@pytest.mark.parametrize("workers", [2, 4])
def test_threads_blocks_and_a_run_that_was_killed_give_the_same_bytes(
    phantom_factory: Callable[..., Phantom], tmp_path: Path, workers: int
) -> None:
    phantom = phantom_factory(hot_box_l0=OFF_THE_GRID)
    alone = {"workers": 1, "block_px": 512}
    run(phantom, tmp_path / "a", execution=alone, tiling=BORDERS)
    run(phantom, tmp_path / "b", execution={"workers": workers, "block_px": 2048}, tiling=BORDERS)
    assert files_of(tmp_path / "b") == files_of(tmp_path / "a")

    config = config_with(execution=alone, tiling=BORDERS)
    for share in (0.3, 0.95):  # in the first pass, and among the borders
        run_until(share, phantom, tmp_path / "c", config)
    seen: list[tuple[int, int]] = []
    run_slide(phantom.path, tmp_path / "c", config, progress=lambda *at: seen.append(at))
    assert seen[0][0] > 0
    assert seen[-1][0] == seen[-1][1]
    assert files_of(tmp_path / "c") == files_of(tmp_path / "a")


def test_a_damaged_place_has_no_value_and_no_estimate(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(size_l0=Size(8192, 6144), mpp=2.0, level_ratios=(1, 4))
    corrupt_tile(phantom.path, 2, level=1)
    lenient: dict[str, Any] = {"max_lost_share": 0.5}
    _, plain = run(phantom, tmp_path / "plain", slide=lenient)
    _, map_ = run(phantom, tmp_path / "borders", slide=lenient, tiling=BORDERS)
    lost = np.isnan(plain.values)
    assert lost.any()
    centers = map_.values[::2, ::2]
    assert np.isnan(centers[lost & np.roll(lost, 1, 0) & np.roll(lost, 1, 1)]).all()


def test_the_count_of_patches_comes_back_from_the_disk(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    result, _ = run(phantom_factory(), tmp_path, tiling=BORDERS)
    again = ProbabilityMap.open(result.map_path)
    assert again.patches is not None
    assert again.patches.dtype == np.uint8
    assert again.cells_per_patch == 2


@pytest.mark.parametrize("other", ["stride_px", "coarse_step"])
def test_borders_go_with_no_other_way_to_add_patches(other: str) -> None:
    with pytest.raises(ConfigError, match=f"border_step 2 does not go with {other}"):
        config_with(tiling={"border_step": 2, other: 5})


def test_a_step_that_does_not_divide_the_patch_is_refused(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="border_step 4 does not divide the model's 50 px patch"):
        run(phantom_factory(), tmp_path, tiling={"border_step": 4})
