"""`wsi-pipeline export`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Command = Callable[..., tuple[int, str]]


def test_each_format_lands_in_the_slides_own_folder(finished_run: Path, command: Command) -> None:
    formats = ("csv", "geojson", "ome-tiff", "aperio-xml", "sheet", "sheet-pdf")
    status, _ = command(
        "export", finished_run, *(word for name in formats for word in ("--to", name))
    )
    assert status == 0
    names = {path.name for path in (finished_run / "slides/alpha").iterdir()}
    assert names >= {"patches.csv", "regions.geojson", "probability.ome.tif", "regions.xml"}
    assert (finished_run / "slides/alpha/sheet.pdf").read_bytes().startswith(b"%PDF")


def test_another_folder_leaves_the_run_as_it_is(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")}
    status, said = command("export", finished_run, "--to", "ome-tiff", "-o", tmp_path / "there")
    assert status == 0
    assert (tmp_path / "there/beta/probability.ome.tif").exists()
    assert "3 files written" in said
    assert {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")} == before


def test_regions_are_those_of_the_run_after_a_render_too(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    command("render", finished_run, "--threshold", "0.9", "--smoothing", "0")
    command("export", finished_run, "--to", "geojson", "-o", tmp_path / "there")
    own = (finished_run / "slides/alpha/regions.geojson").read_bytes()
    assert (tmp_path / "there/alpha/regions.geojson").read_bytes() == own
    assert json.loads(own)["wsi_pipeline"]["threshold"] == 0.9


def test_a_threshold_is_taken_elsewhere_and_refused_in_the_runs_folder(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    words = ("export", finished_run, "--to", "geojson", "--threshold", "1")
    status, _ = command(*words, "-o", tmp_path / "there")
    assert status == 0
    assert json.loads((tmp_path / "there/alpha/regions.geojson").read_text())["features"] == []
    own = (finished_run / "slides/alpha/regions.geojson").read_bytes()
    status, said = command(*words)
    assert status == 2
    assert "render OUT --threshold" in said
    assert (finished_run / "slides/alpha/regions.geojson").read_bytes() == own


def test_tiles_come_with_the_option(finished_run: Path, command: Command) -> None:
    command("export", finished_run, "--to", "geojson", "--tiles")
    assert (finished_run / "slides/alpha/tiles.geojson.gz").exists()


def test_what_was_not_classified_is_white_in_the_rendering(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    tifffile = pytest.importorskip("tifffile")
    command("export", finished_run, "--to", "ome-tiff-rgb", "-o", tmp_path / "there")
    assert (tifffile.imread(tmp_path / "there/blank/rendering.ome.tif") == 255).all()
    assert (tifffile.imread(tmp_path / "there/alpha/rendering.ome.tif") < 255).any()


def test_a_slide_that_is_no_dicom_is_said_and_the_rest_goes_on(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    status, said = command(
        "export", finished_run, "--to", "dicom-seg", "--to", "csv", "-o", tmp_path / "there"
    )
    assert status == 1
    assert "alpha: dicom-seg: FAILED: alpha.tif: not a DICOM slide" in said
    assert (tmp_path / "there/beta/patches.csv").exists()


def test_without_highdicom_the_message_says_what_to_install(
    finished_run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    status, said = command("export", finished_run, "--to", "dicom-pm", "-o", tmp_path / "there")
    assert status == 1
    assert "pip install highdicom" in said


def test_an_empty_slide_has_no_sheet_and_that_is_no_failure(
    finished_run: Path, command: Command
) -> None:
    status, said = command("export", finished_run, "--to", "sheet")
    assert status == 0
    assert "blank: sheet: nothing to draw, the slide is empty" in said
    with Image.open(finished_run / "slides/alpha/sheet.png") as sheet:
        assert np.asarray(sheet).std() > 0


def test_a_damaged_map_costs_its_slide_alone(finished_run: Path, command: Command) -> None:
    (finished_run / "slides/alpha/probability.zarr/.zattrs").write_text("{")
    status, said = command("export", finished_run, "--to", "ome-tiff")
    assert status == 1
    assert "alpha: FAILED" in said
    assert (finished_run / "slides/beta/probability.ome.tif").exists()


def test_a_missing_thumbnail_is_said_with_what_to_do(finished_run: Path, command: Command) -> None:
    (finished_run / "slides/beta/thumbnail.jpg").unlink()
    status, said = command("export", finished_run, "--to", "sheet")
    assert status == 1
    assert "--outputs all" in said


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, command: Command) -> None:
    status, said = command("export", tmp_path, "--to", "csv")
    assert status == 1
    assert "holds no slides/" in said


def test_an_unknown_format_is_refused_with_those_there_are(
    finished_run: Path, command: Command
) -> None:
    status, said = command("export", finished_run, "--to", "jpeg")
    assert status == 2
    assert "geojson" in said


def test_a_threshold_that_is_none_is_a_usage_error(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    status, _ = command(
        "export", finished_run, "--to", "csv", "--threshold", "7", "-o", tmp_path / "there"
    )
    assert status == 2
