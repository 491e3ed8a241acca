"""How many pictures of one place a slide holds, by its own properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_COUNTS: Final = {
    "dicom.TotalPixelMatrixFocalPlanes": "focal planes",
    "dicom.NumberOfOpticalPaths": "optical paths",
    "hamamatsu.NoLayers": "focal planes",
    "ventana.Z-layers": "focal planes",
    "zeiss.Information.Image.SizeZ": "focal planes",
    "zeiss.Information.Image.SizeT": "points in time",
    "zeiss.Information.Image.SizeC": "channels",
}
_MIRAX_LAYER: Final = "mirax.HIERARCHICAL.HIER_{}_{}"
_MIRAX_FOCUS: Final = "microscope focus level"


def unread_planes(properties: Mapping[str, str]) -> tuple[str, ...]:
    """Return what OpenSlide leaves out of a slide with a depth: it shows one plane."""
    counts = {words: _count(properties.get(key)) for key, words in _COUNTS.items()}
    counts["focal planes"] = max(counts["focal planes"], _mirax_focus_levels(properties))
    return tuple(
        f"only one of {number} {words} was read" for words, number in counts.items() if number > 1
    )


def _mirax_focus_levels(properties: Mapping[str, str]) -> int:
    for number in range(_count(properties.get("mirax.HIERARCHICAL.HIER_COUNT"))):
        name = properties.get(_MIRAX_LAYER.format(number, "NAME"), "")
        if name.lower() == _MIRAX_FOCUS:
            return _count(properties.get(_MIRAX_LAYER.format(number, "COUNT")))
    return 0


def _count(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
