"""Coarse to fine on a slide: the full map where it matters, estimates that say so elsewhere."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.phantoms import HOT, Phantom
from tests.pipeline.test_run import config_with, expected, run, run_until
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Box
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.results.status import Done

COARSE: dict[str, Any] = {"coarse_step": 2, "refine_above": 0.2}


def files_of(out: Path) -> dict[str, bytes]:
    root = out / "slides" / "phantom" / "probability.zarr"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_the_hot_square_is_as_in_the_full_map_and_the_rest_is_marked(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=Box(1533, 811, 777, 803))
    _, full = run(phantom, tmp_path / "full")
    result, coarse = run(phantom, tmp_path / "coarse", tiling=COARSE)
    assert full.estimated is None
    assert coarse.estimated is not None
    np.testing.assert_array_equal(np.isnan(coarse.values), np.isnan(full.values))
    seen = coarse.classified
    np.testing.assert_array_equal(coarse.values[seen], full.values[seen])
    assert seen[full.values >= 0.2].all()
    assert coarse.values[coarse.estimated > 0].max() < 0.2
    assert isinstance(result.status, Done)
    assert result.status.patches == seen.sum() < 0.6 * np.isfinite(full.values).sum()
    with (result.folder / "patches.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == seen.sum()


def test_threads_blocks_and_a_run_that_was_killed_give_the_same_bytes(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=Box(1533, 811, 777, 803))
    run(phantom, tmp_path / "a", tiling=COARSE, execution={"workers": 1, "block_px": 512})
    run(phantom, tmp_path / "b", tiling=COARSE, execution={"workers": 3, "block_px": 2048})
    assert files_of(tmp_path / "b") == files_of(tmp_path / "a")

    config = config_with(tiling=COARSE, execution={"workers": 1, "block_px": 512})
    for share in (0.1, 0.28, 0.34):  # in the first pass and in later ones
        run_until(share, phantom, tmp_path / "c", config)
    seen: list[int] = []
    run_slide(
        phantom.path,
        tmp_path / "c",
        config,
        progress=lambda done, _: seen.append(done),
    )
    assert seen[0] > 0
    assert files_of(tmp_path / "c") == files_of(tmp_path / "a")
    assert not (tmp_path / "c/slides/phantom/working").exists()


def test_with_overlapping_patches_the_coarse_pass_covers_every_cell(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    phantom = phantom_factory(hot_box_l0=Box(1600, 800, 800, 800))
    _, dense = run(phantom, tmp_path / "dense", tiling={"stride_px": 25})
    result, coarse = run(phantom, tmp_path / "coarse", tiling={"stride_px": 25, **COARSE})
    assert coarse.estimated is not None
    assert coarse.estimated.mean() < 0.1  # a last odd row or column at the most
    np.testing.assert_allclose(coarse.values[5:7, 9:11], expected(HOT), atol=1e-3)
    hot = dense.values >= 0.3
    np.testing.assert_allclose(coarse.values[hot], dense.values[hot], atol=1e-6)
    assert isinstance(result.status, Done)
    assert result.status.patches < 0.6 * np.isfinite(dense.values).sum()


def test_a_coarse_step_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tiling\.coarse_step is 1"):
        config_with(tiling={"coarse_step": 1})


def test_the_estimated_cells_come_back_from_the_disk(
    phantom_factory: Callable[..., Phantom], tmp_path: Path
) -> None:
    result, _ = run(phantom_factory(), tmp_path, tiling=COARSE)
    again = ProbabilityMap.open(result.map_path)
    assert again.estimated is not None
    assert again.estimated.dtype == np.uint8
    assert again.attributes["coarse_step"] == 2
