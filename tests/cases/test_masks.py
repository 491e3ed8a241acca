"""A user's masks: what is wrong with one is told, never "no tumor"."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.cases.conftest import ONE_PROCESS, Case


@pytest.mark.row("35")
def test_a_mask_for_one_of_two_slides(case: Case) -> None:
    """A folder of masks has one for one of two slides."""
    case.slide("in/one.tif")
    case.slide("in/two.tif")
    case.outlines("masks/one.geojson")
    said = case.run("in", "--mask masks")
    assert said.status == 0
    assert "1 of 2 slides have no mask in masks (two)" in said
    assert "note: no mask in masks is named by it: its tissue was found automatically" in said
    assert case.status("two")["warnings"]


@pytest.mark.row("37")
@pytest.mark.parametrize(
    "geometry",
    [None, {"type": "Polygon", "coordinates": [[[1, 1], [2, 2]]]}],
    ids=["null", "two points"],
)
def test_a_broken_shape_in_a_mask(case: Case, geometry: object) -> None:
    """A mask with a null geometry or a ring of two points beside a good outline."""
    case.slide("s.tif")
    case.outlines("mask.geojson", {"type": "Feature", "geometry": geometry, "properties": {}})
    said = case.run("s.tif", "--mask mask.geojson")
    assert said.status == 0
    assert "left out of the mask: 1" in said
    assert case.status("s")["tissue_mask"]["area_mm2"] == pytest.approx(case.SQUARE_MM2, rel=0.02)


def _fails(case: Case, words: str, mask: str = "mask.geojson") -> None:
    case.slide("s.tif")
    said = case.run("s.tif", f"--mask {mask}")
    assert said.status == 1
    assert words in said
    assert case.states() == {"s": "failed"}
    assert case.summary()["s"]["idc_mm2"] == ""


@pytest.mark.row("5+")
def test_an_empty_mask(case: Case) -> None:
    """A mask without any outline."""
    case.write("mask.geojson", '{"type": "FeatureCollection", "features": []}')
    _fails(case, "the mask mask.geojson holds no area")


@pytest.mark.row("5+")
def test_a_mask_of_another_slide(case: Case) -> None:
    """A mask that lies beside the slide."""
    case.outlines("mask.geojson", x=9000)
    _fails(case, "lies beside the slide (drawn: x 9000 to 9940")


@pytest.mark.row("5+")
def test_a_mask_of_cells_alone(case: Case) -> None:
    """All detections of QuPath exported for a mask."""
    cell = {"type": "Polygon", "coordinates": [[[1, 1], [20, 1], [20, 20]]]}
    feature = {"type": "Feature", "geometry": cell, "properties": {"objectType": "detection"}}
    case.write("mask.geojson", json.dumps([feature] * 3))
    _fails(case, "holds no area (3 of type detection)")


@pytest.mark.row("5+")
def test_a_black_mask(case: Case) -> None:
    """A painted mask that is black all over."""
    Image.fromarray(np.zeros((100, 100), np.uint8)).save(case.folder / "mask.png")
    _fails(case, "the mask mask.png leaves no tissue", "mask.png")


@pytest.mark.row("5+")
def test_a_mask_smaller_than_a_patch(case: Case) -> None:
    """A mask too small for a patch, where half of a patch has to be tissue."""
    case.slide("s.tif")
    case.outlines("mask.geojson", side=30)
    case.write("strict.yaml", f"{ONE_PROCESS}tissue: {{min_tissue_share: 0.5}}\n")
    said = case.run("s.tif", "--mask mask.geojson -c strict.yaml")
    assert said.status == 1
    assert "mm², too little for one patch" in said


@pytest.mark.row("5+")
def test_a_mask_that_excludes_everything(case: Case) -> None:
    """A mask of one exclusion around the whole slide."""
    case.outlines("mask.geojson", x=0, y=0, side=2000, classification={"name": "Exclude"})
    _fails(case, "leaves no tissue")


@pytest.mark.row("5+")
def test_a_mask_that_reaches_beyond(case: Case) -> None:
    """A mask drawn half beside the slide: done, and told with the numbers."""
    case.slide("s.tif")
    case.outlines("mask.geojson", x=1530)
    said = case.run("s.tif", "--mask mask.geojson")
    assert said.status == 0
    assert "50% of the drawn area lies beyond the slide (drawn: x 1530 to 2470" in said


@pytest.mark.row("5+")
@pytest.mark.parametrize("suffix", ["xml", "annotations"])
def test_a_mask_of_another_program(case: Case, suffix: str) -> None:
    """A mask drawn in ImageScope or HALO."""
    case.slide("s.tif")
    corners = [(500, 500), (1440, 500), (1440, 1440), (500, 1440)]
    tag = "Vertex" if suffix == "xml" else "V"
    vertices = "".join(f'<{tag} X="{x}" Y="{y}"/>' for x, y in corners)
    region = f'<Region Type="0"><Vertices>{vertices}</Vertices></Region>'
    text = (
        f'<Annotations><Annotation Name="T"><Regions>{region}</Regions></Annotation></Annotations>'
    )
    case.write(f"masks/s.{suffix}", text)
    assert case.run("s.tif", "--mask masks").status == 0
    assert case.status("s")["tissue_mask"]["area_mm2"] == pytest.approx(case.SQUARE_MM2, rel=0.02)
