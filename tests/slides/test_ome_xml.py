"""OME-XML as programs write it: which pages are which image, and how large a pixel is."""

from __future__ import annotations

import pytest

from wsi_pipeline.geometry import Mpp
from wsi_pipeline.slides.ome_xml import is_ome_xml, read_ome_xml

SCHEMA = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:me"'


def ome(*images: str) -> str:
    return f'<?xml version="1.0"?><OME {SCHEMA}>{"".join(images)}</OME>'


def image(name: str, pixels: str = "", inside: str = "") -> str:
    sizes = 'SizeC="3" SizeZ="1" SizeT="1"' if "SizeZ" not in pixels else ""
    return f'<Image Name="{name}"><Pixels {sizes} {pixels}>{inside}</Pixels></Image>'


RGB = '<Channel SamplesPerPixel="3"/>'


def test_images_follow_each_other_where_nothing_is_said() -> None:
    first, second = read_ome_xml(ome(image("a", "", RGB), image("b", "", RGB)))
    assert (first.name, first.pages, second.name, second.pages) == ("a", (0,), "b", (1,))


def test_pages_are_those_that_are_stated() -> None:
    text = ome(
        image("a", "", f'{RGB}<TiffData IFD="4"/>'),
        image("b", "", f'{RGB}<TiffData IFD="1" PlaneCount="2"/>'),
    )
    assert [found.pages for found in read_ome_xml(text)] == [(4,), (1, 2)]


def test_an_image_in_another_file_has_no_pages_here() -> None:
    other = '<TiffData IFD="0"><UUID FileName="b.ome.tif">urn:uuid:other</UUID></TiffData>'
    mine = '<TiffData IFD="0"><UUID FileName="a.ome.tif">urn:uuid:me</UUID></TiffData>'
    found = read_ome_xml(ome(image("b", "", RGB + other), image("a", "", RGB + mine)))
    assert [one.pages for one in found] == [(), (0,)]


def test_focal_planes_and_times_are_counted_and_each_channel_has_its_page() -> None:
    (found,) = read_ome_xml(ome(image("z", 'SizeC="2" SizeZ="5" SizeT="3"')))
    assert (found.n_planes, found.n_channels, len(found.pages)) == (15, 2, 30)


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [
        ("0.25", "", 0.25),
        ("0.25", 'PhysicalSizeXUnit="µm"', 0.25),
        ("0.25", 'PhysicalSizeXUnit="\u03bcm"', 0.25),
        ("0.00025", 'PhysicalSizeXUnit="mm"', 0.25),
        ("250", 'PhysicalSizeXUnit="nm"', 0.25),
        ("0.00001", 'PhysicalSizeXUnit="in"', 0.254),
        ("0.25", 'PhysicalSizeXUnit="pixel"', None),
        ("0.25", 'PhysicalSizeXUnit="reference frame"', None),
        ("0", "", None),
        ("nan", "", None),
        ("wide", "", None),
    ],
)
def test_a_pixel_has_a_length_or_none(size: str, unit: str, mpp: float | None) -> None:
    (found,) = read_ome_xml(ome(image("a", f'PhysicalSizeX="{size}" {unit}', RGB)))
    assert (found.mpp and found.mpp.x) == (pytest.approx(mpp) if mpp else None)


def test_axes_may_differ_and_have_units_of_their_own() -> None:
    sizes = 'PhysicalSizeX="0.5" PhysicalSizeY="250" PhysicalSizeYUnit="nm"'
    (found,) = read_ome_xml(ome(image("a", sizes, RGB)))
    assert found.mpp == Mpp(0.5, 0.25)


@pytest.mark.parametrize(
    "text",
    [
        "<OME>",
        "no xml",
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><OME>&a;</OME>',
        ome('<Image Name="without pixels"/>'),
    ],
)
def test_what_cannot_be_read_says_nothing(text: str) -> None:
    assert read_ome_xml(text) == ()


def test_ome_xml_is_known_by_content() -> None:
    assert is_ome_xml(ome() + "\0")
    assert not is_ome_xml("ImageJ=1.53\nimages=3")
