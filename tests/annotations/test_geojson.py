"""GeoJSON of every version of QuPath, and what else calls itself JSON."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from wsi_pipeline.annotations import Drawing, read_annotations
from wsi_pipeline.errors import StorageError


def ring(x: float, side: float = 100) -> list[list[float]]:
    return [[x, 0], [x + side, 0], [x + side, side], [x, side], [x, 0]]


SQUARE = {"type": "Polygon", "coordinates": [ring(0)]}


def feature(geometry: Any = SQUARE, top: Any = None, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", **(top or {}), "geometry": geometry, "properties": properties}


def read(folder: Path, *features: Any) -> Drawing:
    path = folder / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return read_annotations(path)


@pytest.mark.parametrize(
    "cell",
    [
        feature(top={"id": "PathDetectionObject"}),
        feature(top={"id": "PathCellObject"}),
        feature(object_type="detection"),
        feature(objectType="cell"),
        feature(objectType="tile"),
        feature(objectType="tma_core"),
        feature(top={"id": "PathRootObject"}),
        feature(top={"id": "TMACoreObject"}),
    ],
)
def test_what_is_no_annotation_in_any_version_does_not_count(tmp_path: Path, cell: Any) -> None:
    found = read(tmp_path, feature(top={"id": "PathAnnotationObject"}), cell)
    assert len(found.items) == 1
    assert sum(found.left_out.values()) == 1


@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor"),
        ({"name": "Tumor: Invasive"}, "Tumor: Invasive"),
        ({"names": ["Tumor", "Invasive"]}, "Tumor: Invasive"),
        ("Tumor:Invasive", "Tumor: Invasive"),
        ('{"name": "Tumor", "color": [200, 0, 0]}', "Tumor"),
        ('{"names": ["Tumor", "Invasive"]}', "Tumor: Invasive"),
        (["Tumor", "Invasive"], "Tumor: Invasive"),
        ("{odd", "{odd"),
        (None, ""),
        ({}, ""),
    ],
)
def test_a_class_is_read_however_it_is_written(tmp_path: Path, stated: Any, kind: str) -> None:
    (one,) = read(tmp_path, feature(classification=stated)).items
    assert one.kind == kind


def test_a_class_takes_what_is_derived_from_it_and_no_namesake(tmp_path: Path) -> None:
    (one,) = read(tmp_path, feature(classification={"names": ["Tumor", "Invasive"]})).items
    assert one.is_of(["tumor"])
    assert one.is_of(["Tumor:Invasive"])
    assert not one.is_of(["Invasive"])
    assert not one.is_of(["Tum"])


@pytest.mark.parametrize("names", [["Ignore*"], ["Ignore*", "Artefact"], ["Tumor", "Region*"]])
def test_what_qupath_ignores_is_no_finding(tmp_path: Path, names: list[str]) -> None:
    (one,) = read(tmp_path, feature(classification={"names": names})).items
    assert not one.is_finding


@pytest.mark.parametrize(
    "broken",
    [
        feature(None),
        feature({"type": "Polygon", "coordinates": [[[1, 1], [2, 2]]]}),
        feature({"type": "Polygon", "coordinates": [[[1, 1], [2, 2], [None, 3], [1, 1]]]}),
        feature({"type": "Polygon", "coordinates": []}),
        feature({"type": "Circle", "radius": 3}),
        feature({"coordinates": [ring(0)]}),
        {"type": "Feature", "properties": None},
        None,
        "text",
    ],
)
def test_a_broken_shape_costs_itself(tmp_path: Path, broken: Any) -> None:
    found = read(tmp_path, feature(), broken)
    assert len(found.items) == 1
    assert sum(found.left_out.values()) == 1


def test_a_broken_part_and_a_broken_hole_cost_themselves(tmp_path: Path) -> None:
    parts = [[ring(0)], [[[1, 1], [2, 2]]], [ring(500), [[510, 10], [520, 20]]]]
    found = read(tmp_path, feature({"type": "MultiPolygon", "coordinates": parts}))
    assert [one.area.area for one in found.items] == [2 * 100**2]
    assert found.left_out == {"broken (fewer than three points)": 2}


def test_heights_text_coordinates_and_open_rings_are_read(tmp_path: Path) -> None:
    high = {"type": "Polygon", "coordinates": [[[*point, 0.0] for point in ring(0)]]}
    text = {"type": "Polygon", "coordinates": [[[f"{x},5", str(y)] for x, y in ring(0)[:-1]]]}
    found = read(tmp_path, feature(high), feature(text))
    assert [one.area.area for one in found.items] == [100**2, 100**2]


def test_one_feature_a_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(f"\x1e{json.dumps(feature())}\n\x1e{json.dumps(feature(None))}\n")
    found = read_annotations(path)
    assert (len(found.items), sum(found.left_out.values())) == (1, 1)


def test_annotations_of_digital_slide_archive_are_read(tmp_path: Path) -> None:
    box = {"type": "rectangle", "center": [50, 50, 0], "width": 100, "height": 40, "rotation": 1.1}
    elements = [
        {"type": "polyline", "closed": True, "points": [[*p, 0] for p in ring(0)], "group": "IDC"},
        {"type": "polyline", "closed": False, "points": [[0, 0, 0], [5, 5, 0]]},
        {**box, "label": {"value": "DCIS"}},
        {"type": "point", "center": [5, 5, 0]},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"annotation": {"name": "x", "elements": elements}}]))
    found = read_annotations(path)
    assert [one.kind for one in found.items] == ["IDC", "DCIS"]
    assert [one.area.area for one in found.items] == pytest.approx([100**2, 4000])
    assert sum(found.left_out.values()) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_any_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.geojson"
    document = {"type": "FeatureCollection", "features": [feature(name="Läsion")]}
    path.write_bytes(json.dumps(document, ensure_ascii=False).encode(encoding))
    assert [one.name for one in read_annotations(path).items] == ["Läsion"]


def test_packed_files_are_read_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    plain = json.dumps(feature()).encode()
    (tmp_path / "a.geojson.GZ").write_bytes(gzip.compress(plain))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.GEOJSON", plain)
        archive.writestr("b.json.gz", gzip.compress(plain))
        archive.writestr("__MACOSX/._a.geojson", b"Mac OS X")
        archive.writestr("read me.txt", b"x")
    (tmp_path / "a.ZIP").write_bytes(buffer.getvalue())
    assert len(read_annotations(tmp_path / "a.geojson.GZ").items) == 1
    assert len(read_annotations(tmp_path / "a.ZIP").items) == 2


def test_an_archive_without_annotations_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("read me.txt", b"x")
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    with pytest.raises(StorageError, match="an archive without an annotation file"):
        read_annotations(tmp_path / "a.zip")
