"""The summary and the gallery, small and large."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.archive.conftest import Archive
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.files import write_json
from wsi_pipeline.results.gallery import FIELDS, gallery_page
from wsi_pipeline.results.layout import STATUS_NAME
from wsi_pipeline.results.status import Done, Empty, Failed, Queued, status_from_dict
from wsi_pipeline.results.summary import COLUMNS, ROWS_A_FILE, Summary, slide_row, write_summary


def put(out: Path, slide_id: str, **status: Any) -> None:
    folder = out / "slides" / slide_id
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STATUS_NAME, {"state": "done", **status})


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


def test_a_slide_that_the_model_does_not_know_says_so_and_unknown_is_not_familiar() -> None:
    far = {"familiar": False, "score": 0.4, "reasons": ["far away"]}
    rows = [
        slide_row("a", status_from_dict({"state": "done", **known}))
        for known in ({"familiarity": far}, {"familiarity": {**far, "familiar": True}}, {})
    ]
    assert [row["familiar"] for row in rows] == ["no", "yes", None]
    assert [row["familiarity_score"] for row in rows] == [0.4, 0.4, None]
    assert rows[0]["notes"] == "unfamiliar to the model: do not trust it (far away)"
    assert rows[1]["notes"] is rows[2]["notes"] is None


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
    summary.update(f"{ROWS_A_FILE + 3:05d}", Done())
    summary.flush()
    assert first.stat().st_mtime_ns == before[0]
    assert second.stat().st_mtime_ns > before[1]
    assert gallery_rows(tmp_path)[f"{ROWS_A_FILE + 3:05d}"]["state"] == "done"


def test_files_are_not_written_for_every_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a", state="queued")
    summary = Summary(tmp_path)
    written = []
    monkeypatch.setattr(summary, "flush", lambda: written.append(True))
    monkeypatch.setattr("wsi_pipeline.results.summary.time.monotonic", lambda: 0.0)
    for number in range(10_000):
        summary.update(f"slide {number}", Queued())
    assert not written, "within the seconds that the files may lag behind"
    monkeypatch.undo()
    summary.close()
    assert len(gallery_rows(tmp_path)) == 10_001


def test_what_another_run_finished_is_read_in_the_end(tmp_path: Path) -> None:
    put(tmp_path, "mine", state="queued")
    put(tmp_path, "theirs", state="queued")
    summary = Summary(tmp_path)
    summary.update("mine", Done())
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


def test_a_row_holds_stain_tissue_focus_and_date() -> None:
    row = slide_row(
        "a",
        status_from_dict(
            {
                "state": "done",
                "vendor": "aperio",
                "scan_date": "2009-12-29",
                "scan_date_source": "aperio.Date",
                "tissue_mask": {"tissue_share": 0.25},
                "quality_shares": {"OUT_OF_FOCUS": 0.5, "PEN": 0.125},
                "stain": {
                    "mean_od": 0.4,
                    "lab_mean": [60, 30, -5],
                    "vectors": {"stain_matrix": [[0.5, 0.8, 0.3], [0.1, 0.9, 0.4]]},
                },
            }
        ),
    )
    assert (row["scanner"], row["scan_date"], row["scan_date_source"]) == (
        "aperio",
        "2009-12-29",
        "aperio.Date",
    )
    assert (row["hematoxylin_green"], row["eosin_red"], row["mean_od"]) == (0.8, 0.1, 0.4)
    assert (row["tissue_share"], row["lightness"]) == (0.25, 60)
    assert (row["out_of_focus_share"], row["pen_share"], row["fold_share"]) == (0.5, 0.125, None)


@pytest.mark.parametrize("name", ["idc_mm2", "tissue_mm2", "seconds", "uncertainty", "eosin_red"])
def test_what_is_not_known_is_not_zero(name: str) -> None:
    assert slide_row("a", Failed())[name] is None


def test_a_finished_slide_has_a_small_picture(archive: Archive) -> None:
    archive.add("a")
    archive.run(outputs="all")
    picture = archive.out / "slides/a/gallery.jpg"
    assert picture.stat().st_size < 30_000
    assert gallery_rows(archive.out)["a"]["state"] == "done"


def test_the_summary_as_parquet_has_types_and_nulls(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'wsi-pipeline[parquet]'")
    put(tmp_path, "b", totals={"idc_mm2": 1.25}, patches=7)
    put(tmp_path, "a", state="failed", error="torn")
    write_summary(tmp_path, parquet=True)
    table = parquet.read_table(tmp_path / "summary.parquet")
    assert table.column_names == list(COLUMNS)
    assert table.column("slide_id").to_pylist() == ["a", "b"]
    assert table.column("idc_mm2").to_pylist() == [None, 1.25]
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (kinds["patches"], kinds["uncertainty"], kinds["error"]) == ("int64", "double", "string")


def test_every_word_of_a_row_has_its_place_in_the_parquet_table(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'wsi-pipeline[parquet]'")
    known = {"familiar": True, "score": 1.5, "reasons": []}
    said = {"warnings": ["a scratch"], "duplicate_of": "b", "mpp_source": "aperio.MPP"}
    put(tmp_path, "a", vendor="aperio", scan_date="2026-01-02", familiarity=known, **said)
    write_summary(tmp_path, parquet=True)
    (row,) = parquet.read_table(tmp_path / "summary.parquet").to_pylist()
    with (tmp_path / "summary.csv").open(encoding="utf-8") as lines:
        (cells,) = csv.DictReader(lines)
    assert (row["familiar"], row["notes"], row["duplicate_of"]) == ("yes", "a scratch", "b")
    words = {name: cell for name, cell in cells.items() if isinstance(row[name], str)}
    assert {name: row[name] for name in words} == words


def test_a_parquet_table_that_no_longer_agrees_is_removed(tmp_path: Path) -> None:
    put(tmp_path, "a")
    (tmp_path / "summary.parquet").write_bytes(b"of an earlier run")
    write_summary(tmp_path)
    assert not (tmp_path / "summary.parquet").exists()


def test_parquet_without_its_package_is_refused_before_anything_is_written(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("a")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pyarrow.*pip install 'wsi-pipeline\[parquet\]'"):
        archive.run(parquet=True)
    assert not archive.out.exists()


def test_an_unfamiliar_slide_is_said_wherever_its_figures_are_shown() -> None:
    known = {"familiar": False, "score": 0.4, "reasons": ["far from the training slides"]}
    status = status_from_dict({"state": "done", "warnings": ["a scratch"], "familiarity": known})
    assert isinstance(status, Done)
    said = "unfamiliar to the model: do not trust it (far from the training slides)"
    assert status.cautions == ("a scratch", said)
    assert slide_row("a", status)["notes"] == f"a scratch; {said}"
    assert status.familiarity_caution == "unfamiliar to the model: do not trust it"


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("too few patches on tissue (2 of the 4 needed)", "too few patches on tissue (2 of"),
        ("", "it was not measured"),  # a record of before this was said
    ],
)
def test_a_slide_whose_familiarity_cannot_be_known_never_looks_familiar(
    why: str, said: str
) -> None:
    record = {"state": "done", "totals": {"idc_mm2": 0.0}, "familiarity_unknown": why}
    status = status_from_dict({**record, "familiarity": None})
    assert isinstance(status, Done)
    assert status.cautions == (status.familiarity_caution,)
    notes = str(slide_row("a", status)["notes"])
    assert notes.startswith(f"familiarity to the model cannot be known: {said}")
    known = status_from_dict({**record, "familiarity": {"familiar": True, "score": 1.4}})
    assert slide_row("a", known)["notes"] is None


def test_a_slide_without_figures_has_none_to_doubt() -> None:
    assert Done().cautions == Empty().cautions == ()
