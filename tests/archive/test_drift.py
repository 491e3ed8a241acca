"""Drift over an archive: who stands apart, and why nobody does in a small one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.archive.drift import MIN_SLIDES, drift_table, robust_z, write_drift
from wsi_pipeline.errors import IncompleteRunError


def add_slide(out: Path, name: str, *, mean_od: float | None = 0.4, state: str = "done") -> None:
    folder = out / "slides" / name
    (folder / "probability.zarr").mkdir(parents=True)
    status = {
        "state": state,
        "vendor": "aperio",
        "size_l0": [1000, 1000],
        "mpp": [2.0, 1.0],
        "tissue_mask": {"area_mm2": 0.5},
        "stain": {
            "mean_od": mean_od,
            "lab_mean": [60, 30, -5],
            "vectors": {"stain_matrix": [[0.5, 0.8, 0.3], [0.1, 0.9, 0.4]]},
        },
    }
    (folder / "status.json").write_text(json.dumps(status))


def test_a_slide_of_another_strength_is_named(tmp_path: Path) -> None:
    for number in range(MIN_SLIDES):
        add_slide(tmp_path, f"s{number}", mean_od=0.40 + 0.01 * number)
    add_slide(tmp_path, "dark", mean_od=0.9)
    rows = write_drift(tmp_path, tmp_path / "drift")
    assert {row.slide_id for row in rows if row.outlier} == {"dark"}
    with (tmp_path / "drift/drift.csv").open(newline="") as handle:
        named = {row["slide_id"]: row["outlier"] for row in csv.DictReader(handle)}
    assert named["dark"].startswith("mean_od (z +")
    with Image.open(tmp_path / "drift/drift.png") as picture:
        assert picture.width > picture.height


def test_measures_are_those_of_the_status(tmp_path: Path) -> None:
    add_slide(tmp_path, "one")
    (row,) = drift_table(tmp_path)
    assert row.values["tissue_share"] == pytest.approx(0.25)
    assert row.values["hematoxylin_hue"] == pytest.approx(0.625)
    assert np.isnan(row.values["out_of_focus_share"])


def test_a_small_archive_has_no_outliers(tmp_path: Path) -> None:
    for number in range(MIN_SLIDES - 2):
        add_slide(tmp_path, f"s{number}")
    add_slide(tmp_path, "dark", mean_od=3.0)
    assert not any(row.outlier for row in drift_table(tmp_path))


def test_what_was_not_measured_is_no_outlier(tmp_path: Path) -> None:
    for number in range(MIN_SLIDES + 1):
        add_slide(tmp_path, f"s{number}", mean_od=None if number == 0 else 0.4)
    rows = drift_table(tmp_path)
    assert np.isnan(rows[0].values["mean_od"])
    assert not any(row.outlier for row in rows)


def test_a_trifle_in_a_uniform_archive_is_no_outlier() -> None:
    values = np.array([0.4] * 10 + [0.401])
    assert robust_z(values, 0.02)[-1] == pytest.approx(0.05)


def test_empty_slides_do_not_count(tmp_path: Path) -> None:
    add_slide(tmp_path, "blank", state="empty")
    with pytest.raises(IncompleteRunError, match="no slide with tissue"):
        drift_table(tmp_path)
