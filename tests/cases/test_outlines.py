"""Outlines of every common program, compared: each draws the same square, unless said."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.cases.conftest import Case

Compare = Callable[..., float]
RING = [[500, 500], [1440, 500], [1440, 1440], [500, 1440], [500, 500]]
SQUARE = {"type": "Polygon", "coordinates": [RING]}
FAR_SQUARE = {"type": "Polygon", "coordinates": [[[x + 400, y + 400] for x, y in RING]]}
TUMOR = {"name": "Tumor", "color": [200, 0, 0]}


def polygon(ring: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring]}


def feature(geometry: Any = SQUARE, top: Any = None, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", **(top or {}), "geometry": geometry, "properties": properties}


def collection(*features: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features})


def corners(form: str, tag: str) -> str:
    points = ((form.format(x), form.format(y)) for x, y in RING[:-1])
    return "".join(f'<{tag} Order="{n}.0" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points))


def aperio(form: str = "{}", tag: str = "Vertex", kind: str = "0") -> str:
    vertices = f"<Vertices>{corners(form, tag)}</Vertices>"
    region = f'<Region Type="{kind}" NegativeROA="0">{vertices}</Region>'
    layer = f'<Annotation Name="Tumor"><Regions>{region}</Regions></Annotation>'
    return f"<Annotations>{layer}</Annotations>"


def asap(form: str = "{}", more: str = "", groups: str = "") -> str:
    drawn = (
        '<Annotation Name="A" Type="Polygon" PartOfGroup="Tumor"><Coordinates>'
        f"{corners(form, 'Coordinate')}</Coordinates></Annotation>{more}"
    )
    return (
        f"<ASAP_Annotations><Annotations>{drawn}</Annotations>"
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )


@pytest.fixture
def compare(case: Case) -> Compare:
    """Write outlines of a slide that is done, compare, and return the reference area, mm²."""

    def compare(content: str | bytes, name: str = "s.geojson", options: str = "") -> float:
        case.done_slide()
        case.write(f"drawn/{name}", content)
        said = case.wsi(f"compare out drawn {options}")
        assert said.status == 0, said
        return case.compared()["reference_mm2"]

    return compare


def _refused(case: Case, content: str | bytes, words: str, name: str = "s.geojson") -> None:
    case.done_slide()
    case.write(f"drawn/{name}", content)
    said = case.wsi("compare out drawn")
    assert said.status != 0
    assert words in said


@pytest.mark.row("39")
@pytest.mark.parametrize(
    "cell",
    [{"top": {"id": "PathDetectionObject"}}, {"object_type": "detection"}],
    ids=["0.2", "0.3"],
)
def test_cells_of_old_qupath(compare: Compare, cell: dict[str, Any]) -> None:
    """Files of QuPath 0.2 and 0.3 with cells."""
    cells = [feature(FAR_SQUARE, **cell)] * 3
    own = feature(top={"id": "PathAnnotationObject"}, classification=TUMOR)
    assert compare(collection(own, *cells)) == pytest.approx(Case.SQUARE_MM2)


@pytest.mark.row("40")
@pytest.mark.parametrize(
    "stated",
    [
        {"names": ["Tumor", "Invasive"]},
        "Tumor: Invasive",
        '{"name": "Tumor"}',
        ["Tumor", "Invasive"],
    ],
)
def test_classes_however_written(compare: Compare, stated: Any) -> None:
    """A class as a list of names, a string, or JSON in a string; `--class Tumor` takes it."""
    other = feature(FAR_SQUARE, classification={"name": "Tumorous"})
    text = collection(feature(classification=stated), other)
    assert compare(text, options="--class Tumor") == pytest.approx(Case.SQUARE_MM2)


@pytest.mark.row("40")
def test_ignored_classes(compare: Compare) -> None:
    """A class derived from QuPath's Ignore*."""
    ignored = feature(FAR_SQUARE, classification={"names": ["Ignore*", "Artefact"]})
    assert compare(collection(feature(), ignored)) == pytest.approx(Case.SQUARE_MM2)


@pytest.mark.row("41, 43")
@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {"type": "Polygon", "coordinates": [[[1, 1], [2, 2]]]},
        {"type": "Polygon"},
        {"type": "?"},
    ],
)
def test_a_broken_shape(compare: Compare, case: Case, geometry: Any) -> None:
    """A null geometry, a ring of two points, a shape of no known kind beside a good outline."""
    assert compare(collection(feature(), feature(geometry))) == pytest.approx(Case.SQUARE_MM2)
    assert "left out of s.geojson: 1" in case.steps[-1][2]


@pytest.mark.row("46")
def test_a_line_alone(case: Case) -> None:
    """A QuPath polyline only."""
    _refused(
        case,
        collection(feature({"type": "LineString", "coordinates": RING})),
        "holds no outline (1 without area (line))",
    )


@pytest.mark.row("47")
@pytest.mark.parametrize("text", [aperio("{},0"), asap("{},0")], ids=["Aperio", "ASAP"])
def test_decimal_commas(compare: Compare, text: str) -> None:
    """XML saved under a French or German Windows."""
    assert compare(text, "s.xml") == pytest.approx(Case.SQUARE_MM2)


@pytest.mark.row("48")
def test_a_group_below_an_exclusion(compare: Compare) -> None:
    """ASAP: a group below a group "exclusion" is a hole."""
    points = [(700, 700), (1100, 700), (1100, 1100), (700, 1100)]
    inner = "".join(f'<Coordinate X="{x}" Y="{y}"/>' for x, y in points)
    inner = f"<Coordinates>{inner}</Coordinates>"
    hole = f'<Annotation Type="Polygon" PartOfGroup="fat">{inner}</Annotation>'
    groups = (
        '<Group Name="exclusion" PartOfGroup="None"/><Group Name="fat" PartOfGroup="exclusion"/>'
    )
    assert compare(asap(more=hole, groups=groups), "s.xml") == pytest.approx(14.1376 - 2.56)


def _zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("anything.geojson", text)
        archive.writestr("__MACOSX/._anything.geojson", b"Mac OS X")
    return buffer.getvalue()


@pytest.mark.row("49")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.xml", asap()),
        ("s.xml", asap().replace(" Order=", " Ordr=")),
        ("s.geojson.GZ", gzip.compress(collection(feature()).encode(), mtime=0)),
        ("s.zip", _zipped(collection(feature()))),
        ("s.XML", aperio()),
        ("s.xml.gz", gzip.compress(aperio().encode(), mtime=0)),
    ],
    ids=["Order 0.0", "no Order", "GZ", "zip", "XML", "xml.gz"],
)
def test_orders_and_packing(compare: Compare, name: str, content: str | bytes) -> None:
    """ASAP's Order as a float or missing; packed files; suffixes in capitals."""
    assert compare(content, name) == pytest.approx(Case.SQUARE_MM2)


@pytest.mark.row("50")
@pytest.mark.parametrize(
    ("text", "area_mm2"),
    [
        (collection(feature(polygon([[*p, 0.0] for p in RING]))), 14.1376),
        (collection(feature({"type": "GeometryCollection", "geometries": [SQUARE]})), 14.1376),
        (collection(feature(polygon(RING[:-1]))), 14.1376),
        (collection(feature(), feature(FAR_SQUARE, objectType="tma_core")), 14.1376),
        (collection(feature({**SQUARE, "plane": {"c": -1, "z": 3, "t": 0}})), 14.1376),
        (collection(feature(polygon([RING[i] for i in (0, 2, 1, 3, 0)]))), 7.0688),
    ],
    ids=["three-d", "collection", "unclosed", "TMA core", "plane", "bow tie"],
)  # fmt: skip
def test_outlines_that_are_read(compare: Compare, text: str, area_mm2: float) -> None:
    """Heights, collections, open rings, TMA cores, planes, a bow tie."""
    assert compare(text) == pytest.approx(area_mm2)


@pytest.mark.row("5+")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.annotations", aperio(tag="V", kind="Polygon")),
        ("s.json", json.dumps({"annotation": {"elements": [
            {"type": "polyline", "closed": True, "points": [[*p, 0] for p in RING[:-1]]}]}})),
        ("s.geojson", "\n".join([json.dumps(feature())] * 2)),
        ("s.geojson", json.dumps([feature()])),
        ("s.xml", '<?xml version="1.0"?>' + aperio().replace("Tumor", "Läsion")),
    ],
    ids=["HALO", "Digital Slide Archive", "a feature a line", "bare list", "code page"],
)  # fmt: skip
def test_other_programs(compare: Compare, name: str, text: str) -> None:
    """Outlines of HALO, Digital Slide Archive, GDAL, QuPath 0.2's list, an undeclared code page."""
    content = text.encode("cp1252")
    assert compare(content, name) == pytest.approx(Case.SQUARE_MM2)


@pytest.mark.row("5+")
def test_outlines_of_another_slide(case: Case) -> None:
    """Outlines that lie beside the slide."""
    moved = [[x + 9000, y] for x, y in RING]
    text = collection(feature({"type": "Polygon", "coordinates": [moved]}))
    _refused(case, text, "lies beside the slide (drawn: x 9500 to 10440")


@pytest.mark.row("5+")
def test_outlines_in_another_unit(case: Case) -> None:
    """Outlines in millimeters: they lie within the first pixels of the slide."""
    case.slide("s.tif", tissue_box_l0=case.TISSUE_L0)
    assert case.run("s.tif").status == 0
    in_mm = [[x * 0.004, y * 0.004] for x, y in RING]
    case.write("drawn/s.geojson", collection(feature({"type": "Polygon", "coordinates": [in_mm]})))
    said = case.wsi("compare out drawn")
    assert "As read 0% of it lies on tissue; were it in millimeters, 100% would" in said


@pytest.mark.row("5+")
def test_an_empty_file_of_outlines(compare: Compare, case: Case) -> None:
    """A file in which nothing is drawn: that nobody saw a tumor, and this is said."""
    assert compare(collection()) == 0
    assert "s.geojson holds nothing: taken for 'no tumor drawn'" in case.steps[-1][2]


@pytest.mark.row("5+")
def test_files_that_no_slide_is_meant_by(case: Case) -> None:
    """A folder with outlines of other slides, and of a program that is not read."""
    case.done_slide()
    case.outlines("drawn/s.geojson")
    case.outlines("drawn/t.geojson")
    case.write("drawn/s.ndpa", "<annotations/>")
    said = case.wsi("compare out drawn")
    assert "not used: t.geojson (named by no slide)" in said
    assert "not used: s.ndpa (not read: Hamamatsu" in said


@pytest.mark.row("5+")
def test_two_files_of_one_reader(case: Case) -> None:
    """A reader's GeoJSON and XML of one slide: both are readings, neither replaces the other."""
    case.done_slide()
    case.outlines("drawn/anna/s.geojson")
    case.write("drawn/anna/s.xml", aperio())
    assert "between readers: mean Dice 1.000 (1 pairs on 1 slides)" in case.wsi("compare out drawn")
