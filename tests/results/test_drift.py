"""Drift over an archive: who stands apart, and why nobody does in a small one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.cli.main import EXIT_DONE, main
from wsi_pipeline.errors import IncompleteRunError
from wsi_pipeline.render.drift import MAX_DATES, date_ticks
from wsi_pipeline.results.drift import MIN_SLIDES, drift_table, robust_z, write_drift


def add_slide(
    out: Path,
    name: str,
    *,
    mean_od: float | None = 0.4,
    state: str = "done",
    scan_date: str | None = None,
) -> None:
    folder = out / "slides" / name
    (folder / "probability.zarr").mkdir(parents=True)
    status = {
        "state": state,
        "vendor": "aperio",
        "scan_date": scan_date,
        "scan_date_source": scan_date and "aperio.Date",
        "file": {"mtime_ns": 1_577_934_245 * 10**9},
        "tissue_mask": {"area_mm2": 0.5, "tissue_share": 0.25},
        "quality_shares": {"OUT_OF_FOCUS": 0.125},
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
    assert row.values["out_of_focus_share"] == 0.125


def test_a_status_of_an_earlier_version_is_not_measured_not_zero(tmp_path: Path) -> None:
    add_slide(tmp_path, "one")
    path = tmp_path / "slides/one/status.json"
    path.write_text(json.dumps({"state": "done", "vendor": "aperio"}))
    (row,) = drift_table(tmp_path)
    assert all(np.isnan(value) for value in row.values.values())
    assert (row.date, row.date_source) == ("", "")


def test_slides_stand_in_the_order_of_their_scans_where_they_state_them(tmp_path: Path) -> None:
    add_slide(tmp_path, "a", scan_date="2021-05-01")
    add_slide(tmp_path, "b", scan_date="2009-12-29")
    add_slide(tmp_path, "c")
    rows = [(row.slide_id, row.date, row.date_source) for row in drift_table(tmp_path)]
    assert rows == [
        ("b", "2009-12-29", "aperio.Date"),
        ("c", "2020-01-02", "file time"),
        ("a", "2021-05-01", "aperio.Date"),
    ]


def test_the_dates_along_the_axis_do_not_crowd() -> None:
    ticks = date_ticks(["aperio"] * 40 + ["leica"] * 2)
    assert ticks[0] == 0
    assert len(ticks) <= MAX_DATES
    assert date_ticks(["aperio"]) == [0]


@pytest.mark.parametrize(
    ("n_slides", "said"),
    [
        (MIN_SLIDES - 1, f"too few slides to say which stand out ({MIN_SLIDES - 1} of the"),
        (MIN_SLIDES, f"none of {MIN_SLIDES} slides stands out"),
    ],
)
def test_that_nothing_stands_out_is_said_and_whether_it_could(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n_slides: int, said: str
) -> None:
    for number in range(n_slides):
        add_slide(tmp_path, f"s{number}")
    assert main(["drift", str(tmp_path)]) == EXIT_DONE
    assert capsys.readouterr().out.startswith(said)


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
