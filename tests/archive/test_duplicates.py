"""Slides of equal content: done once, under a name of its own each."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.archive.conftest import Archive, Diary
from wsi_pipeline.archive import RunOutcome, make_jobs, run_slides
from wsi_pipeline.archive.dry_run import describe
from wsi_pipeline.geometry import Box
from wsi_pipeline.inputs import find_slides
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.resolved import resolve_run
from wsi_pipeline.results.layout import REVIEW_NAME
from wsi_pipeline.results.rendering import render_slide
from wsi_pipeline.results.status import Done, read_status
from wsi_pipeline.results.summary import slide_row


def status_of(archive: Archive, slide_id: str) -> Done:
    status = read_status(archive.out / "slides" / slide_id)
    assert isinstance(status, Done)
    return status


def was_classified(status: Done) -> bool:
    return "classify" in status.seconds


def test_a_copy_takes_over_what_running_it_alone_would_have_made(
    archive: Archive, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    archive.add("a", "c")
    archive.add_copy("b", of="a")
    with caplog.at_level(logging.WARNING):
        outcome = archive.run(diary, outputs="all")
    assert outcome == RunOutcome(done=3, empty=0, failed=0, skipped=0)
    assert "1 of 3 slides have the content of another one (b = a)" in caplog.text
    assert [was_classified(status_of(archive, name)) for name in "abc"] == [True, False, True]

    config = archive.config(outputs="all")
    alone = archive.out.with_name("alone")
    run_slides(
        make_jobs(find_slides([archive.slides / "b.tif"]), config),
        resolve_run(config, alone),
        Diary(),
    )
    for path in sorted(path for path in (alone / "slides/b").rglob("*") if path.is_file()):
        ours = archive.out / "slides/b" / path.relative_to(alone / "slides/b")
        if path.suffix != ".geojson" and path.name != "status.json":  # ids of regions are random
            assert ours.read_bytes() == path.read_bytes(), path
    status = status_of(archive, "b")
    changed = {"run_id", "seconds", "warnings", "duplicate_of", "bytes_read"}
    expected = read_status(alone / "slides/b")
    assert expected is not None
    differs = {k for k, v in expected.to_dict().items() if status.to_dict()[k] != v}
    assert differs <= changed
    row = slide_row("b", status)
    assert row["duplicate_of"] == "a"
    assert str(row["notes"]).startswith("the same content as a; familiarity to the model cannot")


def test_duplicates_are_skipped_and_done_again_with_the_first(
    archive: Archive, diary: Diary
) -> None:
    archive.add("a")
    archive.add_copy("b", of="a")
    archive.run()
    assert archive.run() == RunOutcome(done=2, empty=0, failed=0, skipped=2)
    archive.run(diary, tiling={"stride_px": 25})
    assert diary.started == ["a", "b"]
    maps = [ProbabilityMap.open(archive.out / f"slides/{name}/probability.zarr") for name in "ab"]
    assert maps[0].values.shape == maps[1].values.shape
    assert not was_classified(status_of(archive, "b"))


def test_the_first_is_the_one_that_has_results_whatever_it_is_called(archive: Archive) -> None:
    archive.add("z")
    archive.run()
    archive.add_copy("a", of="z")
    archive.run()
    assert status_of(archive, "a").duplicate_of == "z"
    assert status_of(archive, "z").duplicate_of == ""


def test_a_duplicate_outlives_the_first(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    archive.add_copy("b", of="a")
    archive.run()
    (archive.slides / "a.tif").unlink()
    assert archive.run(diary).done == 1
    assert diary.skipped == ["b"]


def test_each_keeps_its_own_review(archive: Archive) -> None:
    archive.add("a")
    archive.run()
    (archive.out / "slides/a" / REVIEW_NAME).write_text("of a")
    archive.add_copy("b", of="a")
    archive.run()
    assert not (archive.out / "slides/b" / REVIEW_NAME).exists()
    (archive.out / "slides/b" / REVIEW_NAME).write_text("of b")
    archive.run(overwrite=True)
    kept = [(archive.out / f"slides/{name}" / REVIEW_NAME).read_text() for name in "ab"]
    assert kept == ["of a", "of b"]


def test_a_new_threshold_of_the_first_does_not_pass_to_the_duplicate(archive: Archive) -> None:
    archive.add("a")
    archive.run(outputs="all")
    render_slide(archive.out / "slides/a", archive.config(regions={"threshold": 0.9}))
    archive.add_copy("b", of="a")
    archive.run(outputs="all")
    assert status_of(archive, "a").threshold == 0.9
    assert status_of(archive, "b").threshold == pytest.approx(0.5)
    map_ = ProbabilityMap.open(archive.out / "slides/b/probability.zarr")
    assert map_.threshold == pytest.approx(0.5)
    assert map_.attributes["slide"]["name"] == "b.tif"


def test_other_micrometers_a_pixel_are_done_by_themselves_and_told(archive: Archive) -> None:
    archive.add("a")
    archive.add_copy("b", of="a")
    listed = archive.slides.with_suffix(".csv")
    listed.write_text(f"slide,mpp_x\n{archive.slides}/a.tif,\n{archive.slides}/b.tif,0.5\n")
    config = archive.config()
    run_slides(make_jobs(find_slides([listed]), config), resolve_run(config, archive.out), Diary())
    status = status_of(archive, "b")
    assert was_classified(status)
    assert status.duplicate_of == ""
    assert status.warnings[0] == "the same content as a"


def test_where_the_first_fails_or_is_damaged_the_duplicate_is_done_by_itself(
    archive: Archive,
) -> None:
    archive.add("a")
    archive.run()
    (archive.out / "slides/a/probability.zarr/0/.zarray").write_text("{}")
    archive.add_copy("b", of="a")
    archive.run()
    assert was_classified(status_of(archive, "b"))

    archive.add_garbage("x")
    archive.add_garbage("y")
    assert archive.run().failed == 2
    assert archive.status("y")["state"] == "failed"
    assert archive.status("y")["error"].startswith("y.tif")


def test_an_empty_slide_is_taken_over_too(archive: Archive) -> None:
    archive.add("a", tissue_box_l0=Box(0, 0, 0, 0), hot_box_l0=Box(0, 0, 0, 0))
    archive.add_copy("b", of="a")
    assert archive.run() == RunOutcome(done=0, empty=2, failed=0, skipped=0)
    assert archive.status("b")["duplicate_of"] == "a"


def test_a_dry_run_says_what_is_taken_over(archive: Archive, tmp_path: Path) -> None:
    archive.add("a")
    archive.add_copy("b", of="a")
    config = archive.config()
    run = resolve_run(config, tmp_path / "nothing")
    lines = list(describe(archive.jobs(config), run, overwrite=False, retry_failed=False))
    assert "b: the results of a, whose content it has" in lines
