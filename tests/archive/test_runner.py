"""Runs over archives: what is skipped, what is done again, what a failure costs."""

from __future__ import annotations

import csv
import json
import math
import os
import pickle
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.archive.conftest import Archive, Diary
from wsi_pipeline.archive import RunOutcome, make_jobs, run_slides
from wsi_pipeline.archive.record import kept_of, metrics, outcome_of
from wsi_pipeline.errors import ConfigError, ModelError, StorageError
from wsi_pipeline.execution.locks import slide_lock
from wsi_pipeline.geometry import Box, Mpp, Size
from wsi_pipeline.inputs.slide_list import SlideEntry
from wsi_pipeline.pipeline.resolved import SlideJob, resolve_run
from wsi_pipeline.results.status import read_status


def summary_of(archive: Archive) -> dict[str, dict[str, str]]:
    with (archive.out / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["slide_id"]: row for row in csv.DictReader(file)}


def test_one_bad_slide_is_recorded_and_the_rest_is_done(archive: Archive, diary: Diary) -> None:
    archive.add("a", "c")
    archive.add_garbage("b")
    assert archive.run(diary) == RunOutcome(done=2, empty=0, failed=1, skipped=0)
    assert diary.finished == {"a": "done", "b": "failed", "c": "done"}
    status = archive.status("b")
    assert status["stage"] == "open"
    assert "b.tif" in status["error"]
    assert status["advice"]
    assert archive.record()["state"] == "failed"
    assert archive.record()["outcomes"]["b"]["error"] == status["error"]


def test_finished_slides_are_skipped(archive: Archive, diary: Diary) -> None:
    archive.add("a", "b")
    archive.run()
    before = archive.map_bytes()
    times = [path.stat().st_mtime_ns for path in sorted(archive.out.glob("slides/*/*.zarr"))]
    assert archive.run(diary) == RunOutcome(done=2, empty=0, failed=0, skipped=2)
    assert diary.started == []
    assert archive.map_bytes() == before
    again = [path.stat().st_mtime_ns for path in sorted(archive.out.glob("slides/*/*.zarr"))]
    assert again == times


def test_a_new_slide_is_done_beside_finished_ones(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    archive.run()
    archive.add("b")
    archive.run(diary)
    assert diary.started == ["b"]


def test_a_list_that_repeats_a_slide_s_own_scale_and_its_folder_are_one_and_the_same(
    archive: Archive, diary: Diary
) -> None:
    archive.add("a", "b", mpp=1.0)
    config = archive.config()
    run = resolve_run(config, archive.out)
    as_found = archive.jobs(config)

    def listed(*um_px: float) -> list[SlideJob]:
        """Return the jobs of a list with these µm/px, as `scan` writes it or as it was edited."""
        return [
            replace(job, source=replace(job.source, mpp_override=Mpp(um, um)))
            for job, um in zip(as_found, um_px, strict=True)
        ]

    run_slides(listed(1.0, 0.9), run, Diary())
    run_slides(as_found, run, diary)
    assert diary.started == ["b"]  # which was done at the µm/px of the list
    again = Diary()
    run_slides(listed(1.0, 0.9), run, again)
    assert again.started == ["b"]


@pytest.mark.parametrize(
    "change",
    [
        {"tiling": {"stride_px": 25}},
        {"tissue": {"min_tissue_share": 0.5}},
        {"inference": {"tta": True}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_of_the_map_do_a_slide_again(
    archive: Archive, diary: Diary, change: dict[str, Any]
) -> None:
    archive.add("a")
    archive.run()
    archive.run(diary, **change)
    assert diary.started == ["a"]


@pytest.mark.parametrize(
    "change",
    [{"regions": {"threshold": 0.9}}, {"execution": {"workers": 2}}, {"outputs": "map"}],
    ids=["threshold", "workers", "map alone"],
)
def test_settings_beside_the_map_do_not_do_a_slide_again(
    archive: Archive, diary: Diary, change: dict[str, Any]
) -> None:
    archive.add("a")
    archive.run(outputs="all")
    archive.run(diary, **{"outputs": "all", **change})
    assert diary.skipped == ["a"]


def test_pictures_that_are_missing_are_made(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    archive.run(outputs="map")
    archive.run(diary, outputs="all")
    assert diary.started == ["a"]
    assert (archive.out / "slides/a/overlay.png").exists()


@pytest.fixture
def copied_model(archive: Archive, tmp_path: Path) -> Path:
    shutil.copytree(archive.config().model, tmp_path / "other")
    return tmp_path / "other"


def test_the_same_model_elsewhere_does_no_slide_again(
    archive: Archive, diary: Diary, copied_model: Path
) -> None:
    archive.add("a")
    archive.run()
    archive.run(diary, model=str(copied_model))
    assert diary.skipped == ["a"]


def test_another_model_does_a_slide_again(
    archive: Archive, diary: Diary, copied_model: Path
) -> None:
    archive.add("a")
    archive.run()
    card = json.loads((copied_model / "model.json").read_text())
    (copied_model / "model.json").write_text(json.dumps({**card, "temperature": 2.0}))
    archive.run(diary, model=str(copied_model))
    assert diary.started == ["a"]


def test_a_file_that_changed_is_another_slide(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    archive.run()
    before = archive.map_bytes()
    (archive.slides / "a.tif").unlink()
    archive.add("a", hot_box_l0=Box(800, 800, 400, 400))
    archive.run(diary)
    assert diary.started == ["a_2"]
    assert before.items() <= archive.map_bytes().items(), "what was made of the first stays"
    assert archive.status("a")["fingerprint"] != archive.status("a_2")["fingerprint"]


def test_a_file_that_was_only_touched_is_not_done_again(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    archive.run()
    os.utime(archive.slides / "a.tif", (1e9, 1e9))
    archive.run(diary)
    assert diary.skipped == ["a"]


def test_overwrite_does_finished_slides_again(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    archive.run()
    (archive.out / "slides/a/left_behind").write_text("old")
    (archive.out / "slides/a/review.json").write_text("a pathologist's work")
    archive.run(diary, overwrite=True)
    assert diary.started == ["a"]
    assert not (archive.out / "slides/a/left_behind").exists()
    assert (archive.out / "slides/a/review.json").read_text() == "a pathologist's work"


def test_a_failed_slide_is_done_again_on_request_only(archive: Archive) -> None:
    archive.add("a")
    archive.add_garbage("b")
    archive.run()
    second, third = Diary(), Diary()
    assert archive.run(second) == RunOutcome(done=1, empty=0, failed=1, skipped=2)
    assert second.started == []
    archive.run(third, retry_failed=True)
    assert third.started == ["b"]
    assert archive.status("b")["attempt"] == 2


def test_a_failed_slide_is_done_again_once_its_file_is_mended(
    archive: Archive, diary: Diary
) -> None:
    archive.add_garbage("a")
    archive.run()
    (archive.slides / "a.tif").unlink()
    archive.add("a")
    assert archive.run(diary).done == 1


def test_a_slide_without_resolution_is_done_again_once_it_is_given(
    archive: Archive, diary: Diary
) -> None:
    archive.add("a", mpp=None)
    assert archive.run().failed == 1
    assert archive.run(diary, slide={"mpp": 1.0}).done == 1


def test_a_slide_whose_drive_was_away_is_done_when_it_is_back(
    archive: Archive, diary: Diary
) -> None:
    archive.add("a", "b")
    jobs_of = archive.jobs
    jobs = jobs_of(archive.config())
    archive.jobs = lambda _: jobs  # type: ignore[method-assign,assignment]  # as from a list
    away = archive.slides.with_name("away")
    archive.slides.rename(away)
    assert archive.run().failed == 2
    assert "does not exist" in archive.status("a")["error"]
    away.rename(archive.slides)
    assert archive.run(diary).done == 2


def test_finished_slides_stay_finished_while_their_drive_is_away(
    archive: Archive, diary: Diary
) -> None:
    archive.add("a")
    archive.run()
    jobs = archive.jobs(archive.config())
    archive.jobs = lambda _: jobs  # type: ignore[method-assign,assignment]
    archive.slides.rename(archive.slides.with_name("away"))
    assert archive.run(diary) == RunOutcome(1, 0, 0, 1)


def test_an_empty_slide_is_a_result(archive: Archive, diary: Diary) -> None:
    archive.add("a", hot_box_l0=Box(0, 0, 0, 0), tissue_box_l0=Box(0, 0, 0, 0))
    assert archive.run() == RunOutcome(done=0, empty=1, failed=0, skipped=0)
    row = summary_of(archive)["a"]
    assert (row["state"], row["idc_mm2"], row["regions"]) == ("empty", "0", "0")
    assert row["mean_probability"] == row["uncertainty"] == ""
    assert archive.run(diary).skipped == 1


def test_the_summary_has_a_row_for_every_slide(archive: Archive) -> None:
    archive.add("a")
    archive.add_garbage("b")
    archive.run()
    rows = summary_of(archive)
    assert list(rows) == ["a", "b"]
    assert rows["a"]["state"] == "done"
    # One called cell of 0.16 mm²: its bilinear contour encloses 2 - 2 ln 2 of it.
    assert float(rows["a"]["idc_mm2"]) == pytest.approx(0.16 * (2 - 2 * math.log(2)), rel=0.02)
    assert float(rows["a"]["mpp_x"]) == 1.0
    assert int(rows["a"]["patches"]) > 0
    assert 0 <= float(rows["a"]["uncertainty"]) < 0.5
    assert rows["b"]["state"] == "failed"
    assert rows["b"]["error"]
    assert rows["b"]["idc_mm2"] == "", "what is not known is empty, not zero"


def test_the_record_says_what_was_done_and_how(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    archive.add_garbage("b")
    archive.run(diary)
    record = archive.record()
    assert record["run_id"] == diary.run_id == archive.status("a")["run_id"]
    assert record["state"] == "failed"
    assert record["started"] <= record["finished"]
    assert len(record["model"]["sha256"]) == 64
    assert record["config"]["model"] == archive.config().model
    assert record["libraries"]["numpy"]
    metrics = record["metrics"]
    assert (metrics["slides"], metrics["slides_failed"]) == (1, 1)
    assert metrics["patches"] == archive.status("a")["patches"]
    assert metrics["slide_bytes"] == (archive.slides / "a.tif").stat().st_size
    assert {"tissue", "classify", "map"} <= set(metrics["stage_seconds"])


def test_the_metrics_leave_out_what_was_done_before(archive: Archive) -> None:
    archive.add("a")
    archive.run()
    archive.run()
    assert archive.record()["metrics"]["slides"] == 0
    assert archive.record()["outcomes"]["a"]["state"] == "done"


def test_an_interrupt_leaves_a_run_that_goes_on(archive: Archive, tmp_path: Path) -> None:
    archive.add("a", "b", "c")
    archive.run()
    undisturbed = archive.map_bytes()
    shutil.rmtree(archive.out)

    def interrupt(job: SlideJob, done: int, n_patches: int) -> None:
        if job.slide_id == "b" and done:
            raise KeyboardInterrupt

    first, second = Diary(), Diary()
    first.on_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        archive.run(first)
    assert archive.record()["state"] == "interrupted"
    assert [archive.status(name)["state"] for name in "abc"] == ["done", "queued", "queued"]
    assert summary_of(archive)["b"]["state"] == "queued"
    archive.run(second)
    assert second.started == ["b", "c"]
    assert archive.map_bytes() == undisturbed


def test_a_bad_model_is_refused_before_anything_is_written(archive: Archive) -> None:
    archive.add("a")
    with pytest.raises(ModelError):
        archive.run(model="no such model")
    assert not archive.out.exists()


def test_an_output_folder_that_cannot_be_made_is_refused(archive: Archive) -> None:
    archive.add("a")
    archive.out.write_text("a file in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        archive.run()


def test_a_disk_that_fails_ends_the_run_and_loses_nothing(
    archive: Archive, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a", "b")

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("wsi_pipeline.pipeline.run.write_map", full)
        with pytest.raises(StorageError, match="full"):
            archive.run()
    assert archive.status("a")["state"] == "queued", "not its fault: it is not given up"
    assert archive.run(diary).done == 2


def test_a_mask_that_is_not_there_is_refused(archive: Archive, tmp_path: Path) -> None:
    entries = [SlideEntry("a", archive.slides / "a.tif")]
    with pytest.raises(ConfigError, match=r"no .*masks\.geojson"):
        make_jobs(entries, archive.config(), tmp_path / "masks.geojson")
    with pytest.raises(ConfigError, match="holds no mask of these slides"):
        make_jobs(entries, archive.config(), tmp_path)


def test_a_mask_that_vanishes_fails_its_slide_alone(archive: Archive, tmp_path: Path) -> None:
    archive.add("a", "b")
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "a.geojson").write_text("not GeoJSON")
    config = archive.config()
    entries = [SlideEntry(name, archive.slides / f"{name}.tif") for name in "ab"]
    jobs = make_jobs(entries, config, masks)
    (masks / "a.geojson").unlink()
    archive.jobs = lambda _: jobs  # type: ignore[method-assign,assignment]
    outcome = archive.run()
    assert (outcome.done, outcome.failed) == (1, 1)


def test_two_runs_share_a_folder_and_do_no_slide_twice(archive: Archive) -> None:
    archive.add("a", "b", "c", "d")
    diaries = [Diary(), Diary()]
    outcomes: list[RunOutcome] = []
    threads = [
        threading.Thread(target=lambda diary=diary: outcomes.append(archive.run(diary)))
        for diary in diaries
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(diaries[0].started + diaries[1].started) == ["a", "b", "c", "d"]
    assert [outcome.done for outcome in outcomes] == [4, 4]
    assert {row["state"] for row in summary_of(archive).values()} == {"done"}


def test_a_slide_that_another_run_leaves_is_taken_over(
    archive: Archive, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.runner.BUSY_SECONDS", 0.05)
    archive.add("a", "b")
    with slide_lock(archive.out / "slides" / "a") as _:
        run = threading.Thread(target=archive.run, args=(diary,))
        run.start()
        for _ in range(1200):
            if "b" in diary.finished and "a" in diary.waited_for:
                break
            run.join(0.05)
        assert f"process {os.getpid()}" in diary.waited_for["a"]
        assert "a" not in diary.finished
    run.join(60)
    assert not run.is_alive()
    assert diary.finished == {"b": "done", "a": "done"}


def test_many_slides_in_a_folder_of_an_earlier_program_do_not_confuse(archive: Archive) -> None:
    archive.add("a")
    (archive.out / "slides" / "a").mkdir(parents=True)
    (archive.out / "slides" / "a" / "status.json").write_text('{"state": "don')
    assert archive.run().done == 1


def test_slides_of_several_sizes_are_done(archive: Archive) -> None:
    archive.add("a", size_l0=Size(600, 500), hot_box_l0=Box(0, 0, 400, 400))
    archive.add("b")
    assert archive.run().done == 2


def test_what_is_kept_of_a_slide_in_a_long_run_is_all_that_the_record_needs(
    archive: Archive,
) -> None:
    archive.add("a")
    archive.run()
    whole = read_status(archive.out / "slides" / "a")
    kept = kept_of(whole)
    assert whole is not None
    assert outcome_of(kept) == outcome_of(whole)
    assert metrics([kept], 1.0) == metrics([whole], 1.0)
    assert len(pickle.dumps(kept)) < len(pickle.dumps(whole)) / 2
