"""OME-TIFF, opened again by tifffile and OpenSlide."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile

from wsi_pipeline.errors import StorageError
from wsi_pipeline.export.ome_tiff import (
    pixels_per_cell,
    write_probability_tiff,
    write_rendering_tiff,
)
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.maps import ProbabilityMap

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def _position_and_size_um(path: Path) -> dict[str, float]:
    with tifffile.TiffFile(path) as tiff:
        pixels = ET.fromstring(tiff.ome_metadata or "").find(f".//{OME}Pixels")
    assert pixels is not None
    plane = pixels.find(f"{OME}Plane")
    assert plane is not None
    keys = ("PositionX", "PositionY", "PhysicalSizeX", "PhysicalSizeY")
    found = {**plane.attrib, **pixels.attrib}
    assert found["PhysicalSizeXUnit"] == "µm"
    return {key: float(found[key]) for key in keys}


def _hot_square_l0(hot: Any, path: Path, phantom: Any) -> list[float]:
    place = _position_and_size_um(path)
    rows, cols = np.nonzero(hot)
    x_um = place["PositionX"] + np.array([cols.min(), cols.max() + 1]) * place["PhysicalSizeX"]
    y_um = place["PositionY"] + np.array([rows.min(), rows.max() + 1]) * place["PhysicalSizeY"]
    x_l0, y_l0 = x_um / phantom.map_.mpp.x, y_um / phantom.map_.mpp.y
    return [x_l0[0], y_l0[0], x_l0[1], y_l0[1]]


def _large_map(values: Any) -> ProbabilityMap:
    """Return a map of 400 µm cells."""
    return ProbabilityMap(values, np.ones_like(values), (0, 0), (50.0, 50.0), Mpp(8, 8))


def test_the_hot_square_lies_at_its_place_on_the_slide(phantom: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.ome.tif"
    write_probability_tiff(phantom.map_, path)
    values = tifffile.imread(path)
    found = _hot_square_l0(np.nan_to_num(values) > 0.5, path, phantom)
    np.testing.assert_allclose(found, phantom.square_l0, rtol=1e-5)


def test_the_smallest_level_is_the_map_itself(phantom: Any, tmp_path: Path) -> None:
    write_probability_tiff(phantom.map_, tmp_path / "p.ome.tif")
    with tifffile.TiffFile(tmp_path / "p.ome.tif") as tiff:
        levels = tiff.series[0].levels
        np.testing.assert_array_equal(levels[-1].asarray(), phantom.map_.values)
        assert [level.shape[1] for level in levels] == [1920, 960, 480, 240, 120, 60, 30]
        first = tiff.pages[0]
        assert isinstance(first, tifffile.TiffPage)
        assert first.dtype == np.float32
        assert (first.tilewidth, first.tilelength) == (256, 256)
        assert len(first.subifds or ()) == len(levels) - 1


@pytest.mark.parametrize("shape", [(1100, 1501), (3, 2049), (1025, 1)])
def test_a_large_map_is_halved_on_to_a_single_tile(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    values[:2, :1] = np.nan
    write_probability_tiff(_large_map(values), tmp_path / "p.ome.tif")
    with tifffile.TiffFile(tmp_path / "p.ome.tif") as tiff:
        first = tiff.pages[0]
        assert isinstance(first, tifffile.TiffPage)
        levels = tiff.series[0].levels
        assert len(first.subifds or ()) == len(levels) - 1
        np.testing.assert_array_equal(levels[0].asarray(), values)
        for finer, coarser in itertools.pairwise(level.shape for level in levels):
            assert coarser == tuple(-(-side // 2) for side in finer)
        assert max(levels[-1].shape) <= 256
        half = levels[1].asarray()
        widths_cm = [level.pages[0].tags["XResolution"].value for level in levels]
    np.testing.assert_allclose([a[0] / a[1] for a in widths_cm[1:]],
                               [a[0] / a[1] / 2 for a in widths_cm[:-1]], rtol=1e-4)  # fmt: skip
    expected = np.nanmean(values[2:4, :2]) if shape[0] > 3 else values[2, :2].mean()
    assert half[1, 0] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(half[0, 0]) == (shape[1] == 1)


def test_a_large_rendering_opens_in_openslide_with_its_scale(tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    values = np.zeros((1100, 1501), np.float32)
    rgb = np.full((*values.shape, 3), (255, 254, 1), np.uint8)
    write_rendering_tiff(_large_map(values), rgb, tmp_path / "r.ome.tif")
    with openslide.OpenSlide(tmp_path / "r.ome.tif") as slide:
        assert slide.dimensions == (1501, 1100)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(400, rel=1e-3)
    with tifffile.TiffFile(tmp_path / "r.ome.tif") as tiff:
        assert [level.shape for level in tiff.series[0].levels[1:]] == [
            (550, 751, 3),
            (275, 376, 3),
            (138, 188, 3),
        ]
        assert (tiff.series[0].levels[-1].asarray() == rgb[0, 0]).all()


def test_two_slides_with_the_same_cells_have_two_uuids(phantom: Any, tmp_path: Path) -> None:
    other = replace(phantom.map_, attributes={**phantom.map_.attributes, "slide": {"name": "b"}})
    uuids = set()
    for map_ in (phantom.map_, other):
        write_probability_tiff(map_, tmp_path / "p.ome.tif")
        with tifffile.TiffFile(tmp_path / "p.ome.tif") as tiff:
            uuids.add(ET.fromstring(tiff.ome_metadata or "").attrib["UUID"])
    assert len(uuids) == 2


def test_openslide_opens_the_rendering_with_its_scale(phantom: Any, tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    rgb = np.full((20, 30, 3), 255, np.uint8)
    rgb[6:9, 21:26] = (250, 0, 0)
    path = tmp_path / "r.ome.tif"
    write_rendering_tiff(phantom.map_, rgb, path)
    with openslide.OpenSlide(path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(
            _position_and_size_um(path)["PhysicalSizeX"], rel=1e-3
        )
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    found = _hot_square_l0(pixels[..., 1] < 128, path, phantom)
    np.testing.assert_allclose(found, phantom.square_l0, rtol=1e-5)


def test_equal_maps_give_equal_bytes(phantom: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_probability_tiff(phantom.map_, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("shape", "expected"), [((20, 30), 64), ((60, 75), 16), ((1, 1), 1024), ((1024, 9), 1)]
)
def test_cells_are_enlarged_by_a_power_of_two(shape: tuple[int, int], expected: int) -> None:
    assert pixels_per_cell(shape) == expected


def test_a_map_wider_than_the_shown_side_is_one_pixel_a_cell() -> None:
    assert pixels_per_cell((10, 5000)) == 1


def test_colors_of_another_shape_are_a_programming_error(phantom: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_rendering_tiff(phantom.map_, np.zeros((3, 3, 3), np.uint8), tmp_path / "r")


def test_a_missing_folder_is_a_storage_error(phantom: Any, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_probability_tiff(phantom.map_, tmp_path / "no" / "p.ome.tif")
