"""`wsi-pipeline compare`."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.results.comparison import pooled
from wsi_pipeline.results.references import match_outlines

Command = Callable[..., tuple[int, str]]
HOT = [(1600, 800), (2400, 800), (2400, 1600), (1600, 1600)]
"""The hot box of alpha, level-0 px."""


def outline(path: Path, corners: list[tuple[int, int]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [[*corners, corners[0]]]}))
    return path


def moved(corners: list[tuple[int, int]], x: int) -> list[tuple[int, int]]:
    return [(left + x, top) for left, top in corners]


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "compare.csv").open(newline="") as handle:
        return {row["slide_id"]: row for row in csv.DictReader(handle)}


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "compare.json").read_text())
    return record


def test_a_run_agrees_with_itself_wholly(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    status, said = command("compare", finished_run, other, "--min-dice", 1, "--tolerance", 0)
    assert status == 0, said
    row = rows_of(finished_run / "compare")["alpha"]
    assert float(row["dice"]) == 1
    assert float(row["largest_absolute_change"]) == 0
    names = {path.name for path in (finished_run / "compare").iterdir()}
    assert names >= {"alpha.png", "alpha_change.png", "compare.csv", "compare.json"}


def test_a_changed_probability_misses_the_tolerance(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    import zarr

    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    array = zarr.open_array(str(other / "slides/alpha/probability.zarr/0"), mode="r+")
    array[0, 0] = np.float32(array[0, 0]) + np.float32(0.25)
    words = ("compare", finished_run, other, "--tolerance")
    assert command(*words, 0.3)[0] == 0
    status, said = command(*words, 0.2)
    assert status == 1
    assert "MISSED: alpha: a probability differs by 0.25" in said


def test_slides_are_matched_by_content_when_their_ids_differ(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    (other / "slides/alpha").rename(other / "slides/renamed")
    status, _ = command("compare", finished_run, other)
    assert status == 0
    assert rows_of(finished_run / "compare")["alpha"]["reference"] == "renamed"


def test_a_slide_that_only_the_reference_has_misses_a_stated_tolerance(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    shutil.rmtree(finished_run / "slides/beta")
    assert command("compare", finished_run, other)[0] == 0
    status, said = command("compare", finished_run, other, "--min-dice", 0.1)
    assert status == 1
    assert "beta is not finished here" in said


def test_dice_against_an_outline_is_that_of_the_areas(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    outline(tmp_path / "drawn/alpha.geojson", moved(HOT, 400))
    status, said = command("compare", finished_run, tmp_path / "drawn", "-o", tmp_path / "res")
    assert status == 0
    row = rows_of(tmp_path / "res")["alpha"]
    assert float(row["dice"]) == pytest.approx(0.5)
    assert float(row["iou"]) == pytest.approx(1 / 3, abs=1e-5)
    assert float(row["reference_mm2"]) == pytest.approx(0.64)
    assert "2 of 3 slides are not compared (-v lists them)" in said
    assert (tmp_path / "res/alpha.png").exists()
    assert said.splitlines()[-1].startswith("pooled ")  # the result is what the output ends with
    words = ("compare", finished_run, tmp_path / "drawn", "-o", tmp_path / "res", "-v")
    assert "beta: no reference for this slide" in command(*words)[1]


def test_the_stated_dice_decides_the_exit_status(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    file = outline(tmp_path / "alpha.geojson", moved(HOT, 400))
    words = ("compare", finished_run, file, "-o", tmp_path / "res", "--min-dice")
    assert command(*words, 0.49)[0] == 0
    status, said = command(*words, 0.51)
    assert status == 1
    assert "MISSED: pooled Dice 0.5000 is below 0.51" in said


def test_several_files_of_a_slide_are_several_readers(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    outline(tmp_path / "drawn/anna/alpha.geojson", HOT)
    outline(tmp_path / "drawn/alpha_bert.geojson", moved(HOT, 400))
    status, said = command("compare", finished_run, tmp_path / "drawn", "-o", tmp_path / "res")
    assert status == 0
    assert "between readers: mean Dice 0.500 (1 pairs on 1 slides)" in said
    slide = next(s for s in record_of(tmp_path / "res")["slides"] if s["slide_id"] == "alpha")
    found = {reading["reference"]: reading["dice"] for reading in slide["readings"]}
    assert found == {"anna": pytest.approx(1), "bert": pytest.approx(0.5)}
    row = rows_of(tmp_path / "res")["alpha"]
    assert float(row["dice"]) == pytest.approx(0.75)
    assert float(row["inter_reader_dice"]) == pytest.approx(0.5)
    (pair,) = slide["inter_reader"]
    assert sorted(pair["readers"]) == ["anna", "bert"]
    assert pair["iou"] == pytest.approx(1 / 3)
    assert pair["hausdorff_um"] == pytest.approx(400)
    assert pair["area_difference_mm2"] == pytest.approx(0)
    assert (tmp_path / "res/alpha_bert.png").exists()


def test_a_truth_image_is_read_and_other_pictures_are_not(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    truth = np.ones((8, 11), np.uint8)
    truth[2:4, 4:6] = 2
    Image.fromarray(truth).save(tmp_path / "alpha_truth.png")
    Image.fromarray(truth).save(tmp_path / "alpha_overlay.png")
    command("compare", finished_run, tmp_path, "-o", tmp_path / "res")
    row = rows_of(tmp_path / "res")["alpha"]
    assert row["reference"] == "truth"
    assert float(row["dice"]) == 1


def test_a_damaged_outline_fails_its_slide_alone(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    outline(tmp_path / "drawn/alpha.geojson", HOT)
    (tmp_path / "drawn/beta.geojson").write_text("{")
    status, said = command("compare", finished_run, tmp_path / "drawn", "-o", tmp_path / "res")
    assert status == 1
    assert "beta: FAILED" in said
    assert float(rows_of(tmp_path / "res")["alpha"]["dice"]) == 1


def test_a_reference_that_names_no_slide_is_refused_with_how_to_name_it(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    outline(tmp_path / "drawn/gamma.geojson", HOT)
    status, said = command("compare", finished_run, tmp_path / "drawn")
    assert status == 2
    assert "alpha_truth.png" in said
    assert command("compare", finished_run, tmp_path / "nothing")[0] == 2


def test_outlines_of_one_class_are_counted_where_it_is_named(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
            "properties": {"classification": {"name": name}},
        }
        for name, corners in (("IDC", HOT), ("DCIS", moved(HOT, 800)))
    ]
    file = tmp_path / "alpha.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    words = ("compare", finished_run, file, "-o", tmp_path / "res")
    status, said = command(*words)
    assert status == 0
    assert "alpha.geojson: outlines of 2 classes count alike (DCIS, IDC)" in said
    assert float(rows_of(tmp_path / "res")["alpha"]["dice"]) == pytest.approx(2 / 3, abs=1e-5)
    assert command(*words, "--class", "IDC")[0] == 0
    assert float(rows_of(tmp_path / "res")["alpha"]["dice"]) == 1


def test_a_class_of_a_run_is_refused(finished_run: Path, command: Command) -> None:
    status, said = command("compare", finished_run, finished_run, "--class", "IDC")
    assert status == 2
    assert "REFERENCE is a run" in said


def test_a_tolerance_for_outlines_is_refused(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    file = outline(tmp_path / "alpha.geojson", HOT)
    status, said = command("compare", finished_run, file, "--tolerance", 0.1)
    assert status == 2
    assert "--min-dice" in said


def test_without_a_thumbnail_there_are_figures_but_no_picture(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    file = outline(tmp_path / "alpha.geojson", HOT)
    (finished_run / "slides/alpha/thumbnail.jpg").unlink()
    status, said = command("compare", finished_run, file, "-o", tmp_path / "res")
    assert status == 0
    assert "no thumbnail" in said
    assert float(rows_of(tmp_path / "res")["alpha"]["dice"]) == 1
    assert not (tmp_path / "res/alpha.png").exists()


@pytest.mark.parametrize(
    ("name", "slide_id"),
    [
        ("a.geojson", "a"),
        ("a_1.geojson", "a_1"),
        ("a_1_reader.xml", "a_1"),
        ("a-x.geojson.gz", "a"),
        ("ab.geojson", None),
        ("a.tsv", None),
        ("a_overlay.png", None),
    ],
)
def test_the_longest_id_that_a_file_is_named_by_wins(
    tmp_path: Path, name: str, slide_id: str | None
) -> None:
    (tmp_path / name).write_text("")
    if slide_id is None:
        with pytest.raises(ConfigError, match="holds no outlines"):
            match_outlines(tmp_path, [("a", ""), ("a_1", "")])
    else:
        assert list(match_outlines(tmp_path, [("a", ""), ("a_1", "")]).of_slides) == [slide_id]


def test_pooled_dice_weighs_slides_by_their_area() -> None:
    counts = dict.fromkeys(("regions", "regions_false", "reference_regions", "regions_missed"), 1.0)
    large = {"both_mm2": 9.0, "only_result_mm2": 1.0, "only_reference_mm2": 1.0, **counts}
    small = {"both_mm2": 0.0, "only_result_mm2": 0.0, "only_reference_mm2": 1.0, **counts}
    found = pooled([large, small])
    assert found["dice"] == pytest.approx(18 / 21)
    assert found["regions_missed"] == 2
    assert np.isnan(pooled([])["dice"])
