"""The command `scan`, and its list as the input of `run`."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PhantomFactory
from tests.hostile import circle
from wsi_pipeline.cli.main import main
from wsi_pipeline.geometry import Box, Size

MODEL = str(Path(__file__).parents[1] / "models" / "darkness")


@pytest.fixture
def slides(tmp_path: Path, phantom_factory: PhantomFactory) -> Path:
    """Return a good slide, its copy, one without resolution, one without tissue and no slide."""
    folder = tmp_path / "in"
    folder.mkdir()
    small = {"size_l0": Size(2048, 1536), "hot_box_l0": Box(400, 400, 400, 400)}
    phantom_factory("in/good.tif", **small)
    shutil.copy(folder / "good.tif", folder / "the same.tif")
    phantom_factory("in/no mpp.tif", **small, mpp=None)
    nothing = Box(0, 0, 0, 0)
    phantom_factory("in/glass.tif", **(small | {"hot_box_l0": nothing, "tissue_box_l0": nothing}))
    (folder / "broken.tif").write_bytes(b"no slide")
    return folder


def scan(slides: Path, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    path = slides.parent / "slides.csv"
    config = slides.parent / "threads.yaml"
    config.write_text("execution: {isolation: threads, workers: 1}\n")
    code = main(["scan", str(slides), "-o", str(path), "--model", MODEL, "-c", str(config), *words])
    with path.open(newline="", encoding="utf-8-sig") as file:
        return code, {row["id"]: row for row in csv.DictReader(file)}


def test_every_slide_has_a_row_with_facts_or_a_problem_and_advice(slides: Path) -> None:
    code, rows = scan(slides)
    assert code == 1
    assert set(rows) == {"good", "the same", "no mpp", "glass", "broken"}
    good = rows["good"]
    assert (good["vendor"], good["width"], good["height"]) == ("generic-tiff", "2048", "1536")
    assert (good["mpp_x"], good["mpp_y"], good["mpp_source"]) == ("1.0", "1.0", "tiff.XResolution")
    assert good["levels"] == "3"
    assert float(good["tissue_mm2"]) == pytest.approx(2.048 * 1.536, rel=0.05)
    assert int(good["patches"]) == 24
    assert float(good["seconds"]) > 0
    assert float(good["output_mb"]) > 0
    assert (good["problem"], good["advice"], good["duplicate_of"]) == ("", "", "")
    assert rows["the same"]["duplicate_of"] == "good"
    assert "does not state its µm/px" in rows["no mpp"]["problem"]
    assert "--mpp" in rows["no mpp"]["advice"]
    assert rows["no mpp"]["width"] == "2048", "what is known stands there all the same"
    assert rows["no mpp"]["patches"] == rows["no mpp"]["mpp_x"] == ""
    assert rows["glass"]["problem"] == "no tissue found"
    assert rows["glass"]["patches"] == "0"
    assert "broken.tif" in rows["broken"]["problem"]


def test_the_list_is_taken_by_run_once_it_is_edited(slides: Path, tmp_path: Path) -> None:
    _, rows = scan(slides)
    rows["no mpp"]["mpp_x"] = "1.0"
    rows["broken"]["skip"] = rows["the same"]["skip"] = "yes"
    rows["good"]["id"] = "renamed"
    path = slides.parent / "slides.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows["good"]))
        writer.writeheader()
        writer.writerows(rows.values())
    out = tmp_path / "out"
    words = ["-o", str(out), "--model", MODEL, "--outputs", "map", "-j", "1"]
    config = ["-c", str(slides.parent / "threads.yaml")]
    assert main(["run", str(path), *words, *config]) == 0
    assert {folder.name for folder in (out / "slides").iterdir()} == {"renamed", "no mpp", "glass"}

    def source(slide_id: str) -> str:
        status = json.loads((out / "slides" / slide_id / "status.json").read_text())
        return str(status["mpp_source"])

    assert source("renamed") == "tiff.XResolution", "what the slide states itself is no override"
    assert source("no mpp") == "override (slide list)"


def test_an_estimate_is_for_the_outputs_that_are_asked_for(slides: Path) -> None:
    _, full = scan(slides)
    _, map_alone = scan(slides, "--outputs", "map")
    assert float(map_alone["good"]["output_mb"]) < float(full["good"]["output_mb"])


def test_all_usable_is_0_and_nothing_but_the_list_is_written(
    slides: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("no mpp", "broken"):
        (slides / f"{name}.tif").unlink()
    before = set(slides.parent.rglob("*"))
    code, _ = scan(slides)
    assert code == 0
    added = {path.name for path in set(slides.parent.rglob("*")) - before}
    assert added == {"slides.csv", "threads.yaml"}
    assert "1 duplicate;" in capsys.readouterr().out


def test_a_list_that_cannot_be_written_is_said(
    slides: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["scan", str(slides / "good.tif"), "--model", MODEL]
    assert main([*words, "-o", str(slides / "no folder" / "list.csv")]) == 1
    assert "cannot be written" in capsys.readouterr().err


HANG = """
import sys, time
import wsi_pipeline.archive.scan as scan
from wsi_pipeline.cli.main import main
plan_slide = scan.plan_slide
def hang(source, *rest):
    return time.sleep(600) if source.path.name == "good.tif" else plan_slide(source, *rest)
scan.plan_slide = hang
sys.exit(main(sys.argv[1:]))
"""


def test_a_slide_that_hangs_ends_the_scan_with_what_was_found(slides: Path) -> None:
    path, config = slides.parent / "slides.csv", slides.parent / "threads.yaml"
    config.write_text("execution: {isolation: threads, workers: 1, stall_seconds: 3}\n")
    words = ["scan", str(slides), "-o", str(path), "--model", MODEL, "-c", str(config)]
    done = subprocess.run([sys.executable, "-c", HANG, *words], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert "gave no sign of life for 3 s" in rows["good"]["problem"]
    assert {"good", "broken", "glass", "no mpp", "the same"} <= rows.keys()
    assert rows["the same"]["problem"] == "not looked at, since good hangs"
    assert "scan again" in rows["the same"]["advice"]


def test_directories_that_form_a_circle_are_a_row_of_the_scan(slides: Path) -> None:
    (slides / "circle.svs").write_bytes(circle())
    code, rows = scan(slides)
    assert code == 1
    assert "form a circle" in rows["circle"]["problem"]
    assert rows["good"]["patches"]
