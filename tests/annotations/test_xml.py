"""Every shape that ImageScope, HALO and ASAP let a pathologist draw, by its area."""

import math
from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.annotations import Annotation, Drawing, read_annotations


def drawn_in(path: Path) -> list[Annotation]:
    return read_annotations(path).items


Points = list[tuple[float, float]]
SQUARE: Points = [(100, 200), (300, 200), (300, 400), (100, 400)]
INNER: Points = [(150, 250), (250, 250), (250, 350), (150, 350)]


def aperio(path: Path, *layers: tuple[str, list[tuple[str, Points, str]]]) -> Path:
    """Write layers of regions: (Type, vertices, NegativeROA)."""

    def region(kind: str, points: Points, negative: str) -> str:
        vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
        return (
            f'<Region Id="1" Type="{kind}" Text="t" NegativeROA="{negative}">'
            f"<Vertices>{vertices}</Vertices></Region>"
        )

    body = "".join(
        f'<Annotation Id="1" Name="{name}" Type="4"><Regions>'
        + "".join(region(*one) for one in regions)
        + "</Regions></Annotation>"
        for name, regions in layers
    )
    path.write_text(f'<Annotations MicronsPerPixel="0.25">{body}</Annotations>')
    return path


def asap(path: Path, *annotations: tuple[str, Points, str]) -> Path:
    """Write annotations: (Type, coordinates, group); coordinates stand in reverse order."""

    def annotation(kind: str, points: Points, group: str) -> str:
        coordinates = [
            f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points)
        ]
        return (
            f'<Annotation Name="a" Type="{kind}" PartOfGroup="{group}">'
            f"<Coordinates>{''.join(reversed(coordinates))}</Coordinates></Annotation>"
        )

    body = "".join(annotation(*one) for one in annotations)
    path.write_text(f"<ASAP_Annotations><Annotations>{body}</Annotations></ASAP_Annotations>")
    return path


@pytest.mark.parametrize(
    ("kind", "points"),
    [("0", SQUARE), ("1", SQUARE), ("1", [SQUARE[2], SQUARE[0]]), ("", SQUARE)],
    ids=["freehand", "rectangle", "rectangle by two corners", "no type"],
)
def test_an_aperio_square_is_read_whole(tmp_path: Path, kind: str, points: Points) -> None:
    (drawn,) = drawn_in(aperio(tmp_path / "a.xml", ("Tumor", [(kind, points, "0")])))
    assert drawn.area.bounds == (100, 200, 300, 400)
    assert drawn.area.area == 200 * 200
    assert (drawn.name, drawn.kind) == ("t", "Tumor")


@pytest.mark.parametrize(
    "points",
    [[(500, 300), (100, 200)], [(100, 200), (500, 200), (500, 300), (100, 300)]],
    ids=["two corners", "four corners"],
)
def test_an_aperio_ellipse_fills_the_box_of_its_corners(tmp_path: Path, points: Points) -> None:
    (drawn,) = drawn_in(aperio(tmp_path / "a.xml", ("", [("2", points, "0")])))
    np.testing.assert_allclose(drawn.area.bounds, (100, 200, 500, 300), atol=1e-6)
    assert drawn.area.area == pytest.approx(math.pi * 200 * 50, rel=0.002)


def test_an_aperio_ellipse_of_many_vertices_is_their_outline(tmp_path: Path) -> None:
    around = [(math.cos(t) * 100, math.sin(t) * 100) for t in np.linspace(0, 6.2, 40)]
    (drawn,) = drawn_in(aperio(tmp_path / "a.xml", ("", [("2", around, "0")])))
    assert drawn.area.area == pytest.approx(math.pi * 100**2, rel=0.01)


def test_a_negative_region_is_cut_out_of_its_own_layer_alone(tmp_path: Path) -> None:
    hole: Points = [(150, 250), (250, 350)]
    path = aperio(
        tmp_path / "a.xml",
        ("A", [("0", SQUARE, "0"), ("2", hole, "1")]),
        ("B", [("0", SQUARE, "0")]),
    )
    first, second = drawn_in(path)
    assert first.area.area == pytest.approx(200**2 - math.pi * 50**2, rel=0.002)
    assert second.area.area == 200**2


def test_an_arrow_a_ruler_and_an_empty_region_are_counted_as_left_out(tmp_path: Path) -> None:
    regions: list[tuple[str, Points, str]] = [
        ("3", [(0, 0), (9, 9)], "0"),
        ("4", [(0, 0), (9, 0)], "0"),
        ("0", [], "0"),
    ]
    read = read_annotations(aperio(tmp_path / "a.xml", ("", regions)))
    assert read.items == []
    assert read.left_out == {"without area": 2, "broken (fewer than three points)": 1}


@pytest.mark.parametrize("kind", ["Polygon", "Rectangle"])
def test_an_asap_square_is_read_in_the_order_of_its_corners(tmp_path: Path, kind: str) -> None:
    (drawn,) = drawn_in(asap(tmp_path / "a.xml", (kind, SQUARE, "Tumor")))
    assert drawn.area.area == 200 * 200
    assert drawn.kind == "Tumor"


def test_an_asap_spline_of_eight_points_on_a_circle_is_the_circle(tmp_path: Path) -> None:
    around = [(1000 + math.cos(t) * 100, math.sin(t) * 100) for t in np.arange(8) * math.pi / 4]
    (drawn,) = drawn_in(asap(tmp_path / "a.xml", ("Spline", [*around, around[0]], "None")))
    assert drawn.area.area == pytest.approx(math.pi * 100**2, rel=0.002)


def test_a_spline_whose_points_coincide_is_left_out(tmp_path: Path) -> None:
    assert drawn_in(asap(tmp_path / "a.xml", ("Spline", [(5, 5)] * 6, "None"))) == []


def test_asap_groups_for_exclusion_are_cut_out(tmp_path: Path) -> None:
    path = asap(tmp_path / "a.xml", ("Polygon", SQUARE, "Tumor"), ("Polygon", INNER, "Exclusion"))
    (drawn,) = drawn_in(path)
    assert drawn.area.area == 200**2 - 100**2


@pytest.mark.parametrize(
    ("kind", "points"),
    [("Dot", SQUARE[:1]), ("PointSet", SQUARE), ("Measurement", SQUARE[:2]), ("Polygon", [])],
)
def test_asap_shapes_without_an_area_are_left_out(
    tmp_path: Path, kind: str, points: Points
) -> None:
    assert drawn_in(asap(tmp_path / "a.xml", (kind, points, "Tumor"))) == []


def test_a_group_below_a_group_for_exclusion_is_cut_out(tmp_path: Path) -> None:
    path = asap(tmp_path / "a.xml", ("Polygon", SQUARE, "Tumor"), ("Polygon", INNER, "fat"))
    groups = (
        '<AnnotationGroups><Group Name="exclusion" PartOfGroup="None"/>'
        '<Group Name="fat" PartOfGroup="exclusion"/><Group Name="Tumor" PartOfGroup="Tumor"/>'
        "</AnnotationGroups></ASAP_Annotations>"
    )
    path.write_text(path.read_text().replace("</ASAP_Annotations>", groups))
    (drawn,) = drawn_in(path)
    assert drawn.area.area == 200**2 - 100**2
    assert drawn.kind == "Tumor"


@pytest.mark.parametrize("number", ["{}.0", "{},0", ""], ids=["float", "comma", "none"])
def test_asap_corners_are_ordered_by_any_number_or_as_they_stand(
    tmp_path: Path, number: str
) -> None:
    path = asap(tmp_path / "a.xml", ("Polygon", SQUARE, "Tumor"))
    text = path.read_text()
    for n in range(4):
        text = text.replace(f'Order="{n}"', f'Order="{number.format(n)}"' if number else "")
    path.write_text(text)
    (drawn,) = drawn_in(path)
    assert drawn.area.area == 200 * 200


def test_decimal_commas_of_french_and_german_windows_are_read(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.xml", ("Tumor", [("0", SQUARE, "0")]))
    path.write_text(path.read_text().replace('00" Y', '00,5" Y'))
    (drawn,) = drawn_in(path)
    assert drawn.area.bounds == (100.5, 200, 300.5, 400)


def test_a_broken_region_costs_itself(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.xml", ("Tumor", [("0", SQUARE, "0"), ("0", INNER, "0")]))
    path.write_text(path.read_text().replace('X="150"', 'X="far"', 1))
    read = read_annotations(path)
    assert [one.area.area for one in read.items] == [200 * 200]
    assert "broken" in read.left_out_words


def test_an_island_in_a_negative_region_counts(tmp_path: Path) -> None:
    island: Points = [(190, 290), (210, 290), (210, 310), (190, 310)]
    regions = [("0", SQUARE, "0"), ("0", INNER, "1"), ("0", island, "0")]
    outer, inner = drawn_in(aperio(tmp_path / "a.xml", ("Tumor", regions)))
    assert outer.area.area == 200**2 - 100**2
    assert inner.area.area == 20 * 20


def halo(path: Path, *regions: tuple[str, Points, str]) -> Path:
    """Write HALO's dialect: kinds in words, vertices called V."""
    body = "".join(
        f'<Region Type="{kind}" HasEndcaps="0" NegativeROA="{negative}"><Vertices>'
        + "".join(f'<V X="{x}" Y="{y}" />' for x, y in points)
        + "</Vertices><Comments/></Region>"
        for kind, points, negative in regions
    )
    path.write_text(
        f'<Annotations><Annotation LineColor="255" Name="Tumor" Visible="True"><Regions>{body}'
        "</Regions></Annotation></Annotations>"
    )
    return path


def test_halo_polygons_boxes_and_ellipses_are_read_rulers_and_pins_left_out(tmp_path: Path) -> None:
    corners = [SQUARE[0], SQUARE[2]]
    read: Drawing = read_annotations(
        halo(
            tmp_path / "a.annotations",
            ("Polygon", SQUARE, "0"),
            ("Rectangle", corners, "0"),
            ("Ellipse", corners, "0"),
            ("Polygon", INNER, "1"),
            ("Ruler", corners, "0"),
            ("Pin", SQUARE[:1], "0"),
        )
    )
    circle = math.pi * 100**2
    areas = [one.area.area + 100**2 for one in read.items]
    assert areas == pytest.approx([200**2, 200**2, circle], rel=0.002)
    assert {one.kind for one in read.items} == {"Tumor"}
    assert read.left_out == {"without area": 2}


def test_a_layer_may_be_named_by_its_description_alone(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.xml", ("", [("0", SQUARE, "0")]))
    described = '<Attributes><Attribute Name="Description" Value="DCIS"/></Attributes><Regions>'
    path.write_text(path.read_text().replace("<Regions>", described))
    assert [one.kind for one in drawn_in(path)] == ["DCIS"]


def test_xml_in_a_code_page_that_it_does_not_declare_is_read(tmp_path: Path) -> None:
    path = aperio(tmp_path / "a.xml", ("Läsion", [("0", SQUARE, "0")]))
    path.write_bytes(path.read_text().encode("cp1252"))
    assert [one.kind for one in drawn_in(path)] == ["Läsion"]
