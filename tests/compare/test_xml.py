"""Every shape that ImageScope and ASAP let a pathologist draw, by its area."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.compare.xml import read_xml

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
    (drawn,) = read_xml(aperio(tmp_path / "a.xml", ("Tumor", [(kind, points, "0")])))
    assert drawn.area.bounds == (100, 200, 300, 400)
    assert drawn.area.area == 200 * 200
    assert (drawn.name, drawn.kind) == ("t", "Tumor")


@pytest.mark.parametrize(
    "points",
    [[(500, 300), (100, 200)], [(100, 200), (500, 200), (500, 300), (100, 300)]],
    ids=["two corners", "four corners"],
)
def test_an_aperio_ellipse_fills_the_box_of_its_corners(tmp_path: Path, points: Points) -> None:
    (drawn,) = read_xml(aperio(tmp_path / "a.xml", ("", [("2", points, "0")])))
    np.testing.assert_allclose(drawn.area.bounds, (100, 200, 500, 300), atol=1e-6)
    assert drawn.area.area == pytest.approx(math.pi * 200 * 50, rel=0.002)


def test_an_aperio_ellipse_of_many_vertices_is_their_outline(tmp_path: Path) -> None:
    around = [(math.cos(t) * 100, math.sin(t) * 100) for t in np.linspace(0, 6.2, 40)]
    (drawn,) = read_xml(aperio(tmp_path / "a.xml", ("", [("2", around, "0")])))
    assert drawn.area.area == pytest.approx(math.pi * 100**2, rel=0.01)


def test_a_negative_region_is_cut_out_of_its_own_layer_alone(tmp_path: Path) -> None:
    hole: Points = [(150, 250), (250, 350)]
    path = aperio(
        tmp_path / "a.xml",
        ("A", [("0", SQUARE, "0"), ("2", hole, "1")]),
        ("B", [("0", SQUARE, "0")]),
    )
    first, second = read_xml(path)
    assert first.area.area == pytest.approx(200**2 - math.pi * 50**2, rel=0.001)
    assert second.area.area == 200**2


def test_an_arrow_and_a_ruler_are_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    regions: list[tuple[str, Points, str]] = [
        ("3", [(0, 0), (9, 9)], "0"),
        ("4", [(0, 0), (9, 0)], "0"),
        ("0", [], "0"),
    ]
    with caplog.at_level(logging.WARNING):
        assert read_xml(aperio(tmp_path / "a.xml", ("", regions))) == []
    assert caplog.text.count("has no area and is left out") == 3


@pytest.mark.parametrize("kind", ["Polygon", "Rectangle"])
def test_an_asap_square_is_read_in_the_order_of_its_corners(tmp_path: Path, kind: str) -> None:
    (drawn,) = read_xml(asap(tmp_path / "a.xml", (kind, SQUARE, "Tumor")))
    assert drawn.area.area == 200 * 200
    assert drawn.kind == "Tumor"


def test_an_asap_spline_of_eight_points_on_a_circle_is_the_circle(tmp_path: Path) -> None:
    around = [(1000 + math.cos(t) * 100, math.sin(t) * 100) for t in np.arange(8) * math.pi / 4]
    (drawn,) = read_xml(asap(tmp_path / "a.xml", ("Spline", [*around, around[0]], "None")))
    assert drawn.area.area == pytest.approx(math.pi * 100**2, rel=0.002)


def test_a_spline_whose_points_coincide_is_left_out(tmp_path: Path) -> None:
    assert read_xml(asap(tmp_path / "a.xml", ("Spline", [(5, 5)] * 6, "None"))) == []


def test_asap_groups_for_exclusion_are_cut_out(tmp_path: Path) -> None:
    path = asap(tmp_path / "a.xml", ("Polygon", SQUARE, "Tumor"), ("Polygon", INNER, "Exclusion"))
    (drawn,) = read_xml(path)
    assert drawn.area.area == 200**2 - 100**2


@pytest.mark.parametrize(
    ("kind", "points"),
    [("Dot", SQUARE[:1]), ("PointSet", SQUARE), ("Measurement", SQUARE[:2]), ("Polygon", [])],
)
def test_asap_shapes_without_an_area_are_left_out(
    tmp_path: Path, kind: str, points: Points
) -> None:
    assert read_xml(asap(tmp_path / "a.xml", (kind, points, "Tumor"))) == []
