"""Masks find their slides by name, however the name is written."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from wsi_pipeline.archive.jobs import mask_doubts
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.inputs.masks import masks_of
from wsi_pipeline.inputs.slide_list import SlideEntry
from wsi_pipeline.pipeline.resolved import SlideJob
from wsi_pipeline.slides import SlideSource


def slides(*names: str) -> list[SlideEntry]:
    return [SlideEntry(Path(name).stem, Path("/data") / name) for name in names]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    "name",
    ["s.geojson", "s.tif.geojson", "S.GEOJSON", "s.geojson.gz", "s.xml", "s.annotations", "s.png",
     "s_mask.png", "s-tissue.tif", "sub/s.json"],
)  # fmt: skip
def test_a_mask_is_named_by_its_slide(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert masks_of(tmp_path, slides("s.tif")) == {"s": tmp_path / name}


@pytest.mark.parametrize("name", ["s.tif", "s_overlay.png", "s2.geojson", "._s.geojson", "s.txt"])
def test_what_lies_beside_is_no_mask(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    with pytest.raises(ConfigError, match="holds no mask of these slides"):
        masks_of(tmp_path, slides("s.tif"))


def test_names_match_in_either_normal_form(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "Präparat.geojson")
    touch(tmp_path, name)
    assert masks_of(tmp_path, slides("Präparat.svs"))["Präparat"].name == name


def test_a_slide_without_a_mask_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "one.geojson", "other.geojson")
    assert list(masks_of(tmp_path, slides("one.tif", "two.tif"))) == ["one"]
    assert "1 of 2 slides have no mask" in caplog.text
    assert "(two)" in caplog.text
    assert "no slide's mask (other.geojson)" in caplog.text


def test_of_two_masks_outlines_are_taken_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "s.png", "s.geojson")
    assert masks_of(tmp_path, slides("s.tif"))["s"].name == "s.geojson"
    assert "s.geojson is taken, not s.png" in caplog.text


def test_a_name_that_two_files_have_is_no_slides_name(tmp_path: Path) -> None:
    touch(tmp_path, "s.geojson")
    twins = [SlideEntry("x_s", Path("/x/s.tif")), SlideEntry("y_s", Path("/y/s.tif"))]
    with pytest.raises(ConfigError, match="holds no mask of these slides"):
        masks_of(tmp_path, twins)


def test_one_mask_for_all_slides_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "mask.geojson")
    found = masks_of(tmp_path / "mask.geojson", slides("one.tif", "two.tif"))
    assert set(found) == {"one", "two"}
    assert "is the mask of all 2 slides" in caplog.text


def test_a_mask_named_by_an_id_that_the_slide_has_not_got_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "s.geojson")
    job = SlideJob("s", SlideSource(Path("/b/s.tif")), tmp_path / "s.geojson")
    assert mask_doubts(job, "s") == []
    (words,) = mask_doubts(job, "b_s")
    assert "this slide has the id b_s here" in words
