"""An output folder of version 0.1.0 is taken over: nothing is lost, no review changes hands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.archive.conftest import Diary
from tests.phantoms import write_phantom
from wsi_pipeline.archive import make_jobs, run_slides
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.inputs import find_slides
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.pipeline.resolved import resolve_run
from wsi_pipeline.results.exporting import export_slides
from wsi_pipeline.results.finished import read_finished
from wsi_pipeline.results.layout import MAP_NAME, REVIEW_NAME, STATUS_NAME
from wsi_pipeline.results.registry import SlideRegistry, WantedSlide
from wsi_pipeline.results.rendering import render_slides
from wsi_pipeline.results.status import Done, Failed, read_status
from wsi_pipeline.slides import open_slide
from wsi_pipeline.web.review import ReviewStore

FIXTURE = Path(__file__).with_name("output_0_1_0")
MODEL = Path(__file__).parents[1] / "models" / "darkness"


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Draw the slide that the fixture was made of."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_phantom(
        folder / "a.tif", size_l0=Size(2048, 1536), hot_box_l0=Box(400, 400, 800, 400), mpp=1.0
    )
    return folder


@pytest.fixture
def out(tmp_path: Path, slides: Path) -> Path:
    """Give the old folder, its records at the places and with the file facts of this machine."""
    shutil.copytree(FIXTURE, tmp_path / "out")
    slide = slides / "a.tif"
    with open_slide(slide) as reader:
        quickhash = reader.info.quickhash
    for path in (tmp_path / "out").rglob("*.json"):
        path.write_text(path.read_text().replace("SLIDES", str(slides)))
    path = tmp_path / "out/slides/a" / STATUS_NAME
    record = json.loads(path.read_text())
    stat = slide.stat()
    record["file"] = {
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "quickhash": quickhash,
    }
    path.write_text(json.dumps(record))
    return tmp_path / "out"


@pytest.fixture
def config() -> Config:
    return load_config(None, {"model": str(MODEL), "execution": {"isolation": "threads"}})


def test_the_records_are_read_with_what_regions_geojson_alone_held(out: Path) -> None:
    status, failed = (read_status(out / "slides" / name) for name in ("a", "bad"))
    assert isinstance(status, Done)
    assert status.settings is not None
    assert (status.settings.threshold, status.settings.outline) == (0.5, "cells")
    assert status.settings.smoothing_cells == 0.4
    assert isinstance(failed, Failed)
    assert failed.failure_fingerprint is not None


def test_regions_are_those_that_stand_there(out: Path) -> None:
    slide = read_finished(out / "slides/a")
    stored = json.loads((out / "slides/a/regions.geojson").read_text())["features"]
    assert len(slide.regions) == len(stored) == 1
    assert slide.regions.items[0].area_mm2 == pytest.approx(0.32, rel=1e-6)


def test_it_is_rendered_and_exported(out: Path, config: Config, tmp_path: Path) -> None:
    ((slide_id, result),) = render_slides(out, config)
    assert slide_id == "a"
    assert not isinstance(result, Exception), result
    assert (out / "slides/a/overlay.png").exists()
    exported = list(export_slides(out, ["geojson", "csv"], folder=tmp_path / "there"))
    assert [one.problem for one in exported] == [None, None]


def test_the_slide_keeps_its_id_its_review_and_is_found_by_content(
    out: Path, slides: Path, config: Config
) -> None:
    before = (out / "slides/a" / REVIEW_NAME).read_bytes()
    diary = Diary()
    run = resolve_run(config, out)
    run_slides(make_jobs(find_slides([slides]), config), run, diary)
    assert set(diary.finished) == {"a"}, "no second row for the same slide"
    status = read_status(out / "slides/a")
    assert isinstance(status, Done)
    assert status.fingerprint
    assert ProbabilityMap.open(out / "slides/a" / MAP_NAME).attributes["fingerprint"]
    assert (out / "slides/a" / REVIEW_NAME).read_bytes() == before
    review = ReviewStore(out / "slides/a", status.fingerprint).read()
    assert [item["decision"] for item in review["items"].values()] == ["accepted"]


def test_another_slide_of_that_name_gets_neither_map_nor_review(out: Path, slides: Path) -> None:
    (slides / "a.tif").unlink()
    write_phantom(
        slides / "a.tif", size_l0=Size(1536, 2048), hot_box_l0=Box(0, 0, 400, 400), mpp=1.0
    )
    registry = SlideRegistry.read(out)
    ((slide_id, _),) = registry.bind([WantedSlide("a", slides / "a.tif")])
    assert slide_id == "a_2"
