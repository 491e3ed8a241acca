"""The hot square, within half a cell in every picture and export: contours and cells, any grid."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.phantoms import Phantom
from tests.pipeline.test_run import GEOMETRIES, config_with, run
from wsi_pipeline.export.formats import FORMATS
from wsi_pipeline.geometry import RgbArray, Size
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.render.page import Layout
from wsi_pipeline.results.exporting import export_slides
from wsi_pipeline.results.rendering import render_slide

PATCH_UM = 400.0
WITHOUT_SLIDE = [name for name in FORMATS if not name.startswith("dicom")]
"""tests/export/test_dicom.py has those of DICOM, on a slide that is DICOM."""
Center = tuple[float, float]


@pytest.mark.parametrize("tiling", [{}, {"border_step": 2}], ids=["side by side", "borders"])
@pytest.mark.parametrize("geometry", ["off the grid", "scanned bounds"])
def test_the_hot_square_is_at_its_place_in_every_picture_and_export(
    phantom_factory: Callable[..., Phantom],
    tmp_path: Path,
    geometry: str,
    tiling: dict[str, Any],
) -> None:
    phantom = phantom_factory(**GEOMETRIES[geometry])
    bounds, hot, mpp = phantom.bounds_l0, phantom.hot_box_l0, phantom.mpp
    assert mpp is not None
    cropped = (bounds.x, bounds.y)  # as QuPath shows the slide; zero where nothing is cropped
    expected = (hot.x + hot.width / 2, hot.y + hot.height / 2)
    half_a_cell = PATCH_UM / mpp / 2 / tiling.get("border_step", 1)
    result, _ = run(phantom, tmp_path, tiling=tiling)
    for outline in ("contour", "cells"):
        if outline == "cells":
            render_slide(result.folder, config_with(regions={"outline": outline}))
        exported = export_slides(tmp_path, WITHOUT_SLIDE, folder=tmp_path / outline)
        files = {one.format_name: one.path for one in exported}
        for name, center in centers(result.folder, files, phantom, cropped):
            assert center == pytest.approx(expected, abs=half_a_cell), (outline, name)


def centers(
    folder: Path, files: dict[str, Path | None], phantom: Phantom, cropped: tuple[int, int]
) -> Iterator[tuple[str, Center]]:
    """Yield what every file says is the center of the hot square, level-0 px of the whole slide."""
    seen = set()
    for name, path in {**files, "overlay": folder / "overlay.png"}.items():
        assert path is not None
        seen.add(name)
        if name in ("geojson", "geojson-gz", "geojson-tiles"):
            yield name, shifted(center_of_features(path), cropped)
        elif name == "aperio-xml":
            yield name, center_of_xml(path)
        elif name == "csv":
            yield name, center_of_rows(path)
        elif name == "ome-zarr-0.5":
            yield name, center_of_map(path)
        elif name in ("ome-tiff", "ome-tiff-rgb"):
            yield name, center_of_tiff(path, phantom)
        else:
            yield name, center_of_overlay(path, phantom)
    assert seen == {*WITHOUT_SLIDE, "overlay"}, "a new format is looked at too"


def center_of_features(path: Path) -> Center:
    data = path.read_bytes()
    features = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)["features"]
    hot = [f for f in features if f["properties"]["measurements"].get("IDC probability", 1) > 0.3]
    return middle(*shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in hot]).bounds)


def center_of_xml(path: Path) -> Center:
    vertices = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in ET.parse(path).iter("Vertex")]
    return middle(*np.min(vertices, axis=0), *np.max(vertices, axis=0))


def center_of_rows(path: Path) -> Center:
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    weights = [max(0.0, float(row["prob_idc"]) - 0.3) for row in table]
    x = [float(row["minx"]) + float(row["width"]) / 2 for row in table]
    y = [float(row["miny"]) + float(row["height"]) / 2 for row in table]
    return float(np.average(x, weights=weights)), float(np.average(y, weights=weights))


def center_of_map(path: Path) -> Center:
    map_ = ProbabilityMap.open(path)
    (x0, y0), (dx, dy) = map_.origin_l0, map_.step_l0
    x, y = mass_center(np.nan_to_num(map_.values).clip(0.3) - 0.3)
    return x0 + x * dx, y0 + y * dy


def center_of_tiff(path: Path, phantom: Phantom) -> Center:
    """Find it by what the file says of the place and size of its pixels, µm."""
    with tifffile.TiffFile(path) as tiff:
        values, text = tiff.asarray(), tiff.ome_metadata or ""
    pixels = next(e for e in ET.fromstring(text).iter() if e.tag.endswith("Pixels"))
    plane = next((e for e in pixels if e.tag.endswith("Plane")), None)
    stated = {**(plane.attrib if plane is not None else {}), **pixels.attrib}
    if values.ndim == 3:  # green rises with the probability; glass is white
        is_white = (values == 255).all(axis=-1)
        values = np.where(is_white, 0.0, values[..., 1].astype(float)).clip(45) - 45
    else:
        values = np.nan_to_num(values).clip(0.3) - 0.3
    x, y = mass_center(values)
    mpp = phantom.mpp or 1.0
    return tuple(  # type: ignore[return-value]
        (float(stated.get(f"Position{axis}", 0)) + at * float(stated[f"PhysicalSize{axis}"])) / mpp
        for axis, at in (("X", x), ("Y", y))
    )


def center_of_overlay(path: Path, phantom: Phantom) -> Center:
    """Find it by its outline: the dark pixels of the row and the column through its middle."""
    with Image.open(path) as picture:
        page: RgbArray = np.asarray(picture.convert("RGB"))
    with Image.open(path.with_name("heatmap.png")) as heatmap:
        image = Layout.around(Size(*heatmap.size)).image
    shown = page[image.y : image.bottom, image.x : image.right]
    bounds, hot = phantom.bounds_l0, phantom.hot_box_l0
    scale = bounds.width / image.width
    col = int((hot.x + hot.width / 2 - bounds.x) / scale)
    row = int((hot.y + hot.height / 2 - bounds.y) / scale)
    dark = shown.max(axis=-1) < 100
    across, down = np.flatnonzero(dark[row]), np.flatnonzero(dark[:, col])
    return (
        bounds.x + (across[0] + across[-1] + 1) / 2 * scale,
        bounds.y + (down[0] + down[-1] + 1) / 2 * scale,
    )


def mass_center(weights: NDArray[Any]) -> Center:
    """Return x, y of the center of what is hot, in px of the array from its upper left corner."""
    rows, cols = np.indices(weights.shape)
    total = weights.sum()
    return float(((cols + 0.5) * weights).sum() / total), float(
        ((rows + 0.5) * weights).sum() / total
    )


def middle(left: float, top: float, right: float, bottom: float) -> Center:
    return (left + right) / 2, (top + bottom) / 2


def shifted(center: Center, offset: tuple[int, int]) -> Center:
    return center[0] + offset[0], center[1] + offset[1]
