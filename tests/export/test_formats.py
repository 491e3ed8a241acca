"""Aperio XML, tiles, OME-Zarr 0.5 and the list of formats."""

import gzip
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import shapely

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.export.formats import FORMATS, ExportSource, export_to
from wsi_pipeline.export.xml import write_aperio_xml
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import find_regions

WITHOUT_SLIDE = [name for name in FORMATS if not name.startswith("dicom")]


@pytest.fixture
def source(phantom: Any) -> ExportSource:
    """Return what the formats are made of."""
    rgb = np.zeros((20, 30, 3), np.uint8)
    return ExportSource(phantom.map_, phantom.regions, rgb, Path("phantom.svs"))


def _rings(path: Path) -> list[tuple[str, str, Any]]:
    return [
        (
            region.attrib["NegativeROA"],
            region.attrib["InputRegionId"],
            np.array([[float(v.attrib["X"]), float(v.attrib["Y"])] for v in region.iter("Vertex")]),
        )
        for region in ET.parse(path).iter("Region")
    ]


def test_the_hot_square_in_aperio_xml_lies_in_level_0(phantom: Any, tmp_path: Path) -> None:
    write_aperio_xml(phantom.map_, phantom.regions, tmp_path / "r.xml")
    ((_, _, corners),) = _rings(tmp_path / "r.xml")
    assert len(corners) == 4
    found = (*corners.min(axis=0), *corners.max(axis=0))
    np.testing.assert_allclose(found, phantom.square_l0, atol=0.001)


def test_holes_in_aperio_xml_are_negative_and_name_their_outline(
    phantom: Any, tmp_path: Path
) -> None:
    phantom.map_.values[7, 23] = 0.0
    regions = find_regions(phantom.map_, threshold=0.5, low_threshold=0.4)
    write_aperio_xml(phantom.map_, regions, tmp_path / "r.xml")
    assert [(negative, parent) for negative, parent, _ in _rings(tmp_path / "r.xml")] == [
        ("0", "0"),
        ("1", "1"),
    ]


def test_tiles_carry_their_probability_where_qupath_shows_them(
    source: ExportSource, phantom: Any, tmp_path: Path
) -> None:
    path = export_to("geojson-tiles", source, tmp_path)
    features = json.loads(gzip.decompress(path.read_bytes()))["features"]
    assert len(features) == 20 * 29
    assert {f["properties"]["objectType"] for f in features} == {"tile"}
    assert len({f["id"] for f in features}) == len(features)
    hot = [
        shapely.geometry.shape(f["geometry"])
        for f in features
        if f["properties"]["measurements"]["IDC probability"] > 0.5
    ]
    expected = np.array(phantom.square_l0) - np.tile(phantom.offset_l0, 2)
    np.testing.assert_allclose(shapely.union_all(hot).bounds, expected, atol=0.001)


def test_ome_zarr_0_5_reads_back(source: ExportSource, tmp_path: Path) -> None:
    path = export_to("ome-zarr-0.5", source, tmp_path)
    np.testing.assert_array_equal(ProbabilityMap.open(path).values, source.map_.values)
    assert (path / "zarr.json").is_file()


@pytest.mark.parametrize("name", WITHOUT_SLIDE)
def test_every_format_writes_one_result_of_its_name_twice_alike(
    source: ExportSource, tmp_path: Path, name: str
) -> None:
    contents = []
    for _ in range(2):
        path = export_to(name, source, tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == [FORMATS[name].file_name]
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        contents.append([f.read_bytes() for f in files if f.is_file()])
    assert contents[0] == contents[1]


def test_an_unknown_format_is_refused_with_the_known_ones(
    source: ExportSource, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"'shapefile'.*geojson.*dicom-seg"):
        export_to("shapefile", source, tmp_path)
