"""The summary and the gallery, small and large."""

from __future__ import annotations

import csv
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.archive.conftest import Archive
from wsi_pipeline.archive.gallery import FIELDS, gallery_page
from wsi_pipeline.archive.summary import ROWS_A_FILE, Summary, slide_row, write_summary
from wsi_pipeline.outputs import write_status


def put(out: Path, slide_id: str, **status: Any) -> None:
    folder = out / "slides" / slide_id
    folder.mkdir(parents=True, exist_ok=True)
    write_status(folder, {"state": "done", **status})


def gallery_rows(out: Path) -> dict[str, dict[str, Any]]:
    """Read what the page is given, as the page would."""
    manifest = (out / "gallery/manifest.js").read_text()
    n_files, n_slides = map(int, re.findall(r"\d+", manifest))
    rows = {}
    for number in range(n_files):
        text = (out / f"gallery/rows-{number:04d}.js").read_text()
        assert text.startswith(f"addRows({number}, ")
        for values in json.loads(text.split(", ", 1)[1].rsplit(")", 1)[0]):
            rows[values[0]] = dict(zip(FIELDS, values, strict=True))
    assert len(rows) == n_slides
    return rows


def test_the_gallery_shows_the_slides_of_earlier_runs_too(tmp_path: Path) -> None:
    put(tmp_path, "a", totals={"idc_mm2": 1.25, "idc_share": 0.123456789}, uncertainty=0.05)
    put(tmp_path, "b", state="failed", stage="tissue", error="<b>&'\"</script>", advice="x")
    write_summary(tmp_path)
    rows = gallery_rows(tmp_path)
    assert rows["a"]["idc_mm2"] == 1.25
    assert rows["a"]["idc_share"] == 0.12346
    assert rows["a"]["regions"] is None
    assert rows["b"]["error"] == "<b>&'\"</script>"


def test_the_page_needs_no_network() -> None:
    page = gallery_page()
    assert "Research use only" in page
    assert not re.search(r"https?:|//[a-z]|fetch\(|import\(|@import", page)
    assert "innerHTML" not in page, "what a slide is called is text, never markup"


def test_a_slide_that_finishes_changes_its_own_file_of_rows_alone(tmp_path: Path) -> None:
    for number in range(ROWS_A_FILE + 10):
        put(tmp_path, f"{number:05d}", state="queued")
    summary = Summary(tmp_path)
    summary.flush()
    first, second = (tmp_path / f"gallery/rows-{n:04d}.js" for n in (0, 1))
    before = first.stat().st_mtime_ns, second.stat().st_mtime_ns
    summary.update(f"{ROWS_A_FILE + 3:05d}", {"state": "done"})
    summary.flush()
    assert first.stat().st_mtime_ns == before[0]
    assert second.stat().st_mtime_ns > before[1]
    assert gallery_rows(tmp_path)[f"{ROWS_A_FILE + 3:05d}"]["state"] == "done"


def test_files_are_not_written_for_every_slide(tmp_path: Path) -> None:
    put(tmp_path, "a", state="queued")
    summary = Summary(tmp_path)
    start = time.perf_counter()
    for number in range(10_000):
        summary.update(f"slide {number}", {"state": "queued"})
    assert (time.perf_counter() - start) / 10_000 < 0.005, "seconds a queued slide"
    summary.close()
    assert len(gallery_rows(tmp_path)) == 10_001


def test_what_another_run_finished_is_read_in_the_end(tmp_path: Path) -> None:
    put(tmp_path, "mine", state="queued")
    put(tmp_path, "theirs", state="queued")
    summary = Summary(tmp_path)
    summary.update("mine", {"state": "done"})
    put(tmp_path, "theirs", state="done", patches=7)
    summary.close()
    assert gallery_rows(tmp_path)["theirs"]["patches"] == 7


def test_a_row_of_an_unreadable_status_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "slides" / "a").mkdir(parents=True)
    (tmp_path / "slides" / "a" / "status.json").write_text("{")
    write_summary(tmp_path)
    with (tmp_path / "summary.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["state"] == "unknown"


@pytest.mark.parametrize("name", ["idc_mm2", "tissue_mm2", "seconds", "uncertainty"])
def test_what_is_not_known_is_not_zero(name: str) -> None:
    assert slide_row("a", {"state": "failed"})[name] is None


def test_a_finished_slide_has_a_small_picture(archive: Archive) -> None:
    archive.add("a")
    archive.run(outputs="all")
    picture = archive.out / "slides/a/gallery.jpg"
    assert picture.stat().st_size < 30_000
    assert gallery_rows(archive.out)["a"]["state"] == "done"
