from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from wsi_pipeline.errors import TissueError
from wsi_pipeline.tissue import Artifacts, TissueMask
from wsi_pipeline.tissue.annotation import (
    MaskFrame,
    mask_from_annotations,
    mask_from_png,
    mask_to_geojson,
)

UM_PX = (16.0, 16.0)
FRAME = MaskFrame(origin_l0=(1000.0, 2000.0), downsample=(32.0, 16.0))


@pytest.fixture
def automatic() -> TissueMask:
    mask = np.zeros((50, 80), dtype=bool)
    mask[10:40, 10:70] = True
    return TissueMask(
        mask, UM_PX, "otsu", Artifacts.none(mask.shape), threshold=0.08, glass_rgb=(240, 240, 240)
    )


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """Return a ring in level-0 px for a box in mask px."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return [[1000 + 32 * x, 2000 + 16 * y] for x, y in corners]


def feature(*rings: Any, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": list(rings)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_a_polygon_includes_the_pixels_whose_centers_it_holds(
    tmp_path: Path, automatic: TissueMask
) -> None:
    path = write(tmp_path / "mask.geojson", feature(box(5, 10, 20.4, 30.6)))
    mask = mask_from_annotations(path, automatic, FRAME).mask
    expected = np.zeros((50, 80), dtype=bool)
    expected[10:31, 5:20] = True
    assert (mask.mask == expected).all()
    assert mask.method == "geojson"
    assert mask.glass_rgb == (240, 240, 240)


@pytest.mark.parametrize(
    "properties",
    [
        {"name": "exclude"},
        {"name": "Exclude "},
        {"classification": {"name": "Exclude"}},
        {"name": "pen", "classification": {"name": "EXCLUDE"}},
    ],
)
def test_an_exclusion_alone_takes_from_the_automatic_mask(
    tmp_path: Path, automatic: TissueMask, properties: dict[str, Any]
) -> None:
    path = write(tmp_path / "mask.geojson", [feature(box(0, 0, 40, 50), **properties)])
    mask = mask_from_annotations(path, automatic, FRAME).mask
    assert not mask.mask[:, :40].any()
    assert (mask.mask[:, 40:] == automatic.mask[:, 40:]).all()


def test_holes_and_several_parts_are_kept(tmp_path: Path, automatic: TissueMask) -> None:
    donut = [box(5, 5, 25, 25), box(10, 10, 20, 20)]
    collection = {
        "type": "FeatureCollection",
        "features": [
            feature(donut, [box(50, 5, 60, 15)], kind="MultiPolygon"),
            feature(box(12, 12, 14, 14), classification=None),
        ],
    }
    path = write(tmp_path / "m.geojson", collection)
    mask = mask_from_annotations(path, automatic, FRAME).mask.mask
    assert mask.sum() == 20 * 20 - 10 * 10 + 10 * 10 + 2 * 2
    assert mask[13, 13]
    assert not mask[16, 16]


def test_a_polygon_beyond_the_slide_is_cut_at_its_edge(
    tmp_path: Path, automatic: TissueMask
) -> None:
    path = write(tmp_path / "mask.geojson", feature(box(-20, -20, 200, 200)))
    by_user = mask_from_annotations(path, automatic, FRAME)
    assert by_user.mask.mask.all()
    assert "lies beyond the slide" in by_user.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("5", "cannot be read"),
        ('{"type": "FeatureCollection", "features": [3]}', r"holds no area \(1 broken"),
        ('{"type": "FeatureCollection", "features": []}', "holds no area"),
        ('{"type": "Point", "coordinates": [1, 2]}', r"holds no area \(1 without area \(point\)\)"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "fewer than three points"),
    ],
)
def test_a_file_that_is_no_mask_is_refused(
    tmp_path: Path, automatic: TissueMask, content: str, message: str
) -> None:
    path = tmp_path / "mask.geojson"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TissueError, match=message):
        mask_from_annotations(path, automatic, FRAME)


def test_a_missing_file_is_refused(tmp_path: Path, automatic: TissueMask) -> None:
    with pytest.raises(TissueError, match=r"none\.geojson cannot be read"):
        mask_from_annotations(tmp_path / "none.geojson", automatic, FRAME)


def test_a_broken_shape_costs_itself(tmp_path: Path, automatic: TissueMask) -> None:
    broken = [{"type": "Feature", "geometry": None, "properties": {}}, feature([[1, 1], [2, 2]])]
    path = write(tmp_path / "mask.geojson", [*broken, feature(box(5, 10, 20, 30))])
    by_user = mask_from_annotations(path, automatic, FRAME)
    assert by_user.mask.mask.sum() == 15 * 20
    assert by_user.notes == (
        "left out of the mask: 1 broken (fewer than three points), 1 without a geometry",
    )


def test_a_mask_beside_the_slide_is_refused_with_both_places(
    tmp_path: Path, automatic: TissueMask
) -> None:
    path = write(tmp_path / "mask.geojson", feature(box(90, 10, 100, 30)))
    with pytest.raises(TissueError, match=r"lies beside the slide \(drawn: x 3880 to 4200"):
        mask_from_annotations(path, automatic, FRAME)


@pytest.mark.parametrize("name", ["exclude", "Ignore*"])
def test_a_mask_that_leaves_no_tissue_is_refused(
    tmp_path: Path, automatic: TissueMask, name: str
) -> None:
    path = write(tmp_path / "mask.geojson", feature(box(0, 0, 80, 50), classification=name))
    with pytest.raises(TissueError, match="leaves no tissue"):
        mask_from_annotations(path, automatic, FRAME)
    Image.new("L", (80, 50), 0).save(tmp_path / "mask.png")
    with pytest.raises(TissueError, match="leaves no tissue"):
        mask_from_png(tmp_path / "mask.png", automatic)


def test_a_mask_in_micrometers_is_told(tmp_path: Path, automatic: TissueMask) -> None:
    frame = MaskFrame((0.0, 0.0), (64.0, 64.0))  # 0.25 µm/px
    corners = [(20, 15), (60, 15), (60, 35), (20, 35), (20, 15)]
    path = write(tmp_path / "mask.geojson", feature([[x * 16, y * 16] for x, y in corners]))
    (note,) = mask_from_annotations(path, automatic, frame).notes
    assert "were it in micrometers, 100% would" in note


def test_outlines_counted_from_the_whole_slide_are_moved_to_the_scanned_bounds(
    tmp_path: Path, automatic: TissueMask
) -> None:
    frame = MaskFrame((0.0, 0.0), (32.0, 16.0), scan_l0=(1000.0, 2000.0))
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in box(5, 10, 20, 30)[:-1])
    path = tmp_path / "mask.xml"
    path.write_text(
        '<Annotations><Annotation Name="Tissue"><Regions><Region Id="1"><Vertices>'
        f"{vertices}</Vertices></Region></Regions></Annotation></Annotations>"
    )
    mask = mask_from_annotations(path, automatic, frame).mask.mask
    assert mask[10:30, 5:20].all()
    assert mask.sum() == 20 * 15


def test_a_blurred_black_and_white_picture_is_cut_in_the_middle(
    tmp_path: Path, automatic: TissueMask
) -> None:
    ramp = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (50, 1))
    Image.fromarray(ramp).save(tmp_path / "mask.png")
    mask = mask_from_png(tmp_path / "mask.png", automatic).mask.mask
    assert (mask == (ramp > 127)).all()


def test_a_picture_of_another_size_is_a_mask(tmp_path: Path, automatic: TissueMask) -> None:
    painted = np.zeros((100, 160), dtype=np.uint8)
    painted[:50] = 255
    Image.fromarray(painted).save(tmp_path / "mask.png")
    mask = mask_from_png(tmp_path / "mask.png", automatic).mask
    assert mask.mask[:25].all()
    assert not mask.mask[25:].any()
    assert mask.method == "png"


def test_a_picture_of_other_proportions_is_refused(tmp_path: Path, automatic: TissueMask) -> None:
    Image.new("L", (100, 100), 255).save(tmp_path / "mask.png")
    with pytest.raises(TissueError, match=r"has 100 x 100 px.*80 x 50"):
        mask_from_png(tmp_path / "mask.png", automatic)


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, automatic: TissueMask) -> None:
    (tmp_path / "mask.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(TissueError, match=r"mask\.png cannot be read"):
        mask_from_png(tmp_path / "mask.png", automatic)


def test_outlines_are_annotations_that_qupath_reads(automatic: TissueMask) -> None:
    found = mask_to_geojson(automatic, FRAME)
    assert found == mask_to_geojson(automatic, FRAME)
    [outline] = found["features"]
    assert outline["properties"]["objectType"] == "annotation"
    assert len(outline["id"]) == 36
    xs, ys = np.array(outline["geometry"]["coordinates"][0]).T
    assert (xs.min(), xs.max()) == (1000 + 32 * 10, 1000 + 32 * 70)
    assert (ys.min(), ys.max()) == (2000 + 16 * 10, 2000 + 16 * 40)


def test_an_empty_mask_has_no_outline() -> None:
    empty = TissueMask(np.zeros((5, 5), dtype=bool), UM_PX, "otsu", Artifacts.none((5, 5)))
    assert mask_to_geojson(empty, FRAME)["features"] == []


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_a_mask_comes_back_from_its_outlines(seed: int, tmp_path_factory: Any) -> None:
    noise = np.random.default_rng(seed).random((60, 90))
    blobs = ndimage.gaussian_filter(noise, 4) > 0.5
    mask = TissueMask(blobs, UM_PX, "otsu", Artifacts.none(blobs.shape))
    path = tmp_path_factory.mktemp("outline") / "mask.geojson"
    write(path, mask_to_geojson(mask, FRAME))
    back = mask_from_annotations(path, mask, FRAME).mask.mask
    assert (back == blobs).mean() > 0.99
