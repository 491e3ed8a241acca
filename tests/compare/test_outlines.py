"""Reading what pathologists draw: every dialect at the same place, damage in words."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from wsi_pipeline.compare import compare_outlines, outlines_of, read_outlines
from wsi_pipeline.errors import StorageError
from wsi_pipeline.export.formats import ExportSource, export_to
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import find_regions

MakeMap = Callable[..., ProbabilityMap]
NAN = np.nan
VALUES = [[0.1, 0.9, 0.9, 0.9], [0.1, 0.9, 0.1, 0.9], [NAN, 0.9, 0.9, 0.9], [0.9, 0.1, 0.1, 0.1]]


def _ring(points: list[tuple[float, float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


@pytest.mark.parametrize("name", ["geojson", "aperio-xml"])
def test_an_export_read_back_agrees_wholly_with_its_run(
    make_map: MakeMap, tmp_path: Path, name: str
) -> None:
    map_ = make_map(VALUES)
    regions = find_regions(map_, threshold=0.5, low_threshold=0.4, smoothing_cells=0)
    rgb = np.zeros((4, 4, 3), np.uint8)
    path = export_to(name, ExportSource(map_, regions, rgb, Path("a.svs")), tmp_path)
    read = read_outlines(path, map_)
    found = compare_outlines(outlines_of(map_, regions, "run"), read, map_.mpp)
    assert found.dice == pytest.approx(1)
    assert found.hausdorff_um == pytest.approx(0, abs=0.01)
    assert found.kappa == pytest.approx(1)


def test_qupaths_geojson_is_moved_by_the_scanned_bounds(make_map: MakeMap, tmp_path: Path) -> None:
    path = tmp_path / "drawn.geojson"
    drawn = {
        "type": "Feature",
        "geometry": _ring([(0, 0), (100, 0), (100, 200), (0, 200)]),
        "properties": {"name": "lesion"},
    }
    for document in (drawn, [drawn], {"type": "FeatureCollection", "features": [drawn]}):
        path.write_text(json.dumps(document))
        (outline,) = read_outlines(path, make_map(VALUES)).items
        assert outline.name == "lesion"
        assert outline.area_l0.bounds == (1000, 500, 1100, 700)


def test_gzipped_geojson_and_a_bare_geometry_are_read(make_map: MakeMap, tmp_path: Path) -> None:
    path = tmp_path / "drawn.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps(_ring([(0, 0), (9, 0), (9, 9)])).encode()))
    assert len(read_outlines(path, make_map(VALUES)).items) == 1


def test_a_file_of_lines_alone_is_refused_as_without_area(
    make_map: MakeMap, tmp_path: Path
) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps({"type": "LineString", "coordinates": [[0, 0], [5, 5]]}))
    with pytest.raises(StorageError, match=r"holds no outline \(1 without area \(line\)\)"):
        read_outlines(path, make_map(VALUES))


def test_a_file_without_anything_says_that_nobody_drew_a_tumor(
    make_map: MakeMap, tmp_path: Path
) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    read = read_outlines(path, make_map(VALUES))
    assert read.items == ()
    assert "no tumor drawn" in read.note


def test_outlines_beside_the_slide_are_refused_with_both_places(
    make_map: MakeMap, tmp_path: Path
) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps(_ring([(9000, 0), (9100, 0), (9100, 200)])))
    with pytest.raises(StorageError, match=r"drawn: x 10000 to 10100.*slide: x 1000 to 1400"):
        read_outlines(path, make_map(VALUES))


def test_outlines_that_reach_beyond_the_slide_are_noted(make_map: MakeMap, tmp_path: Path) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps(_ring([(300, 0), (500, 0), (500, 100), (300, 100)])))
    assert "50% of the drawn area lies beyond" in read_outlines(path, make_map(VALUES)).note


def test_an_outline_that_crosses_itself_is_made_valid(make_map: MakeMap, tmp_path: Path) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps(_ring([(0, 0), (10, 10), (10, 0), (0, 10)])))
    (outline,) = read_outlines(path, make_map(VALUES)).items
    assert outline.area_l0.is_valid
    assert outline.area_l0.area == pytest.approx(50)


def _classified(path: Path, *kinds: str) -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": _ring([(n * 100, 0), (n * 100 + 50, 0), (n * 100 + 50, 50)]),
            "properties": {"objectType": "annotation", "classification": {"name": kind}},
        }
        for n, kind in enumerate(kinds)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_outlines_of_several_classes_all_count_and_that_is_noted(
    make_map: MakeMap, tmp_path: Path
) -> None:
    path = _classified(tmp_path / "a.geojson", "IDC", "DCIS", "IDC")
    read = read_outlines(path, make_map(VALUES))
    assert len(read.items) == 3
    assert read.note == "outlines of 2 classes count alike (DCIS, IDC)"


def test_classes_asked_for_count_alone(make_map: MakeMap, tmp_path: Path) -> None:
    path = _classified(tmp_path / "a.geojson", "IDC", "DCIS", "IDC")
    read = read_outlines(path, make_map(VALUES), ["idc"])
    assert [item.area_l0.bounds[0] for item in read.items] == [1000, 1200]
    assert read.note == ""


def test_a_class_that_nobody_drew_is_noted_with_those_there_are(
    make_map: MakeMap, tmp_path: Path
) -> None:
    read = read_outlines(_classified(tmp_path / "a.geojson", "Tumor"), make_map(VALUES), ["IDC"])
    assert read.items == ()
    assert read.note == "no outline of class IDC, only of Tumor"


def test_what_qupath_ignores_is_no_finding(make_map: MakeMap, tmp_path: Path) -> None:
    path = _classified(tmp_path / "a.geojson", "Tumor", "Region*", "Ignore*")
    read = read_outlines(path, make_map(VALUES))
    assert len(read.items) == 1
    assert read.note == ""


def test_qupaths_tiles_and_cells_are_no_outlines(make_map: MakeMap, tmp_path: Path) -> None:
    map_ = make_map(VALUES)
    regions = find_regions(map_, threshold=0.5, low_threshold=0.4)
    source = ExportSource(map_, regions, np.zeros((4, 4, 3), np.uint8), Path("a.svs"))
    with pytest.raises(StorageError, match=r"holds no outline \(15 of type tile\)"):
        read_outlines(export_to("geojson-tiles", source, tmp_path), map_)


def test_aperio_layers_are_classes(make_map: MakeMap, tmp_path: Path) -> None:
    corners = "".join(
        f'<Vertex X="{x}" Y="{y}"/>' for x, y in ((1000, 500), (1009, 500), (1009, 509))
    )
    layer = '<Annotation Name="{}"><Regions><Region Id="1"><Vertices>{}</Vertices></Region></Regions></Annotation>'  # noqa: E501
    body = layer.format("IDC", corners) + layer.format("Stroma", corners)
    (tmp_path / "a.xml").write_text(f"<Annotations>{body}</Annotations>")
    assert len(read_outlines(tmp_path / "a.xml", make_map(VALUES), ["Stroma"]).items) == 1


def test_a_truth_image_marks_idc_and_what_was_judged(make_map: MakeMap, tmp_path: Path) -> None:
    truth = np.array([[0, 2, 1, 1]] + [[0, 1, 1, 1]] * 3, np.uint8)
    Image.fromarray(truth).save(tmp_path / "truth.png")
    read = read_outlines(tmp_path / "truth.png", make_map(VALUES))
    (outline,) = read.items
    assert outline.area_l0.bounds == (1100, 500, 1200, 600)
    assert read.judged_l0 is not None
    assert read.judged_l0.bounds == (1100, 500, 1400, 900)


def test_a_truth_image_may_have_one_row_and_column_more_or_less(
    make_map: MakeMap, tmp_path: Path
) -> None:
    for rows, cols in ((3, 5), (5, 3)):
        truth = np.ones((rows, cols), np.uint8)
        truth[0, 0] = 2
        Image.fromarray(truth).save(tmp_path / "truth.png")
        read = read_outlines(tmp_path / "truth.png", make_map(VALUES))
        assert read.union_l0.bounds == (1000, 500, 1100, 600)
        assert read.judged_l0 is not None
        assert read.judged_l0.area == 12 * 100**2


def test_a_black_and_white_truth_image_is_judged_everywhere(
    make_map: MakeMap, tmp_path: Path
) -> None:
    truth = np.zeros((4, 4), np.uint8)
    truth[3, 3] = 255
    Image.fromarray(truth).save(tmp_path / "truth.png")
    read = read_outlines(tmp_path / "truth.png", make_map(VALUES))
    assert read.judged_l0 is None
    assert read.union_l0.equals(shapely.box(1300, 800, 1400, 900))


def test_a_run_judges_what_it_classified(make_map: MakeMap) -> None:
    map_ = make_map([[NAN, 0.1]])
    regions = find_regions(map_, threshold=0.5, low_threshold=0.4)
    judged = outlines_of(map_, regions, "run").judged_l0
    assert judged is not None
    assert judged.bounds == (1100, 500, 1200, 600)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "an empty file"),
        ("a.ndpa", b"<annotations/>", "Hamamatsu"),
        ("a.json", b"{", "damaged or not what its name says"),
        ("a.json", b"3", "damaged or not what its name says"),
        ("a.json", b'{"type": "Feature"}', "holds no outline .1 without a geometry"),
        ("a.json", b'{"type": "Topology"}', "no GeoJSON"),
        ("a.gz", b"not gzip", "damaged or not what its name says"),
        ("a.gz", b"\x1f\x8b\x08\x00cut", "damaged or not what its name says"),
        ("a.zip", b"PK\x03\x04cut", "damaged or not what its name says"),
        ("a.xml", b"<Annotations>", "damaged or not what its name says"),
        ("a.xml", b"<html/>", "neither Aperio's"),
        ("a.png", b"not a picture", "not a picture"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    make_map: MakeMap, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StorageError, match=message):
        read_outlines(tmp_path / name, make_map(VALUES))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros((2, 4), np.uint8), "one pixel a cell"),
        (np.zeros((4, 4, 3), np.uint8), "one pixel a cell"),
        (np.full((4, 4), 7, np.uint8), "expected 0"),
    ],
)
def test_a_truth_image_that_does_not_fit_is_refused(
    make_map: MakeMap, tmp_path: Path, truth: Any, message: str
) -> None:
    Image.fromarray(truth).save(tmp_path / "truth.png")
    with pytest.raises(StorageError, match=message):
        read_outlines(tmp_path / "truth.png", make_map(VALUES))


def test_a_missing_file_is_refused(make_map: MakeMap, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_outlines(tmp_path / "gone.xml", make_map(VALUES))
