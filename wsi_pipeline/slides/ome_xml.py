"""What the OME-XML of a TIFF says of its images: names, planes, µm/px (schema 2016-06)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from wsi_pipeline.geometry import Mpp

_UNIT_UM: Final[Mapping[str, float]] = {
    "m": 1e6,
    "dm": 1e5,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,  # micro sign, the schema's own
    "μm": 1.0,  # Greek mu
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "Å": 1e-4,
    "in": 25_400.0,
    "ft": 304_800.0,
    "thou": 25.4,
    "li": 25_400.0 / 12,
    "pt": 25_400.0 / 72,
}
_LARGEST_XML: Final = 64 * 2**20
"""Of a plate or a tissue atlas; a slide's is some kB."""
_MOST_PAGES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image of an OME-TIFF."""

    name: str
    n_channels: int
    n_planes: int
    """Focal planes times points in time."""
    mpp: Mpp | None
    """µm/px, None where none is stated or its unit is no length."""
    pages: tuple[int, ...]
    """Its pages in this file, counted along the main chain of directories; none where it lies in
    another file."""


def is_ome_xml(description: str) -> bool:
    """Tell whether the description of a TIFF's first page is OME-XML, whatever its name."""
    return "<OME" in description[:2000] and description.rstrip("\0 \r\n").endswith("OME>")


def read_ome_xml(description: str) -> tuple[OmeImage, ...]:
    """Return the images of an OME-XML in their order; nothing where it cannot be read."""
    if len(description) > _LARGEST_XML or "<!ENTITY" in description:
        return ()
    try:
        root = ET.fromstring(description.rstrip("\0 \r\n"))  # noqa: S314 - entities are refused
    except ET.ParseError:
        return ()
    return tuple(_images(root))


def _images(root: ET.Element) -> Iterator[OmeImage]:
    next_page = 0
    for image in _children(root, "Image"):
        pixels = next(_children(image, "Pixels"), None)
        if pixels is None:
            continue
        n_pages = min(_number_of_pages(pixels), _MOST_PAGES)
        pages = _stated_pages(pixels, root.get("UUID", ""))
        if pages is None:
            pages = tuple(range(next_page, next_page + n_pages))
        next_page = max(pages, default=next_page - 1) + 1
        yield OmeImage(
            name=image.get("Name", ""),
            n_channels=_count(pixels, "SizeC"),
            n_planes=_count(pixels, "SizeZ") * _count(pixels, "SizeT"),
            mpp=_mpp(pixels),
            pages=pages,
        )


def _number_of_pages(pixels: ET.Element) -> int:
    """Return how many pages the planes fill: samples of one channel share theirs."""
    samples = [_count(c, "SamplesPerPixel") for c in _children(pixels, "Channel")]
    n_channels = len(samples) if samples and sum(samples) == _count(pixels, "SizeC") else 0
    return (
        _count(pixels, "SizeZ") * _count(pixels, "SizeT") * (n_channels or _count(pixels, "SizeC"))
    )


def _stated_pages(pixels: ET.Element, own_uuid: str) -> tuple[int, ...] | None:
    """Return the pages that `TiffData` names in this file, None where it names none at all."""
    pages: list[int] = []
    is_stated = False
    for data in _children(pixels, "TiffData"):
        if "IFD" not in data.attrib:
            continue
        is_stated = True
        uuid = next(_children(data, "UUID"), None)
        if uuid is None or not own_uuid or (uuid.text or "").strip() == own_uuid:
            first = _count(data, "IFD", 0)
            pages += range(first, first + min(_count(data, "PlaneCount"), _MOST_PAGES))
    return tuple(dict.fromkeys(pages)) if is_stated else None


def _mpp(pixels: ET.Element) -> Mpp | None:
    sizes = []
    for axis in "XY":
        unit = _UNIT_UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").strip())
        try:
            sizes.append(float(pixels.attrib[f"PhysicalSize{axis}"]) * (unit or float("nan")))
        except (KeyError, ValueError):
            continue
    try:
        return Mpp(sizes[0], sizes[-1]) if sizes else None
    except ValueError:
        return None


def _count(element: ET.Element, name: str, default: int = 1) -> int:
    try:
        return max(0, int(element.get(name, default)))
    except ValueError:
        return default


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    """Yield the children of a name, whichever year's schema they are of."""
    return (child for child in element if child.tag.rsplit("}", 1)[-1] == name)
