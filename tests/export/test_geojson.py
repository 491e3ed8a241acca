"""GeoJSON as QuPath reads it: place, dialect, same bytes again."""

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from wsi_pipeline.errors import StorageError
from wsi_pipeline.export.geojson import write_geojson
from wsi_pipeline.maps.regions import find_regions


def _written(phantom: Any, folder: Path) -> dict[str, Any]:
    write_geojson(phantom.map_, phantom.regions, folder / "regions.geojson")
    collection: dict[str, Any] = json.loads((folder / "regions.geojson").read_text())
    return collection


def test_the_hot_square_lies_where_qupath_shows_it(phantom: Any, tmp_path: Path) -> None:
    (feature,) = _written(phantom, tmp_path)["features"]
    outline = shapely.geometry.shape(feature["geometry"])
    expected = np.array(phantom.square_l0) - np.tile(phantom.offset_l0, 2)
    np.testing.assert_allclose(outline.bounds, expected, atol=0.001)


def test_the_frame_is_stated(phantom: Any, tmp_path: Path) -> None:
    assert _written(phantom, tmp_path)["wsi_pipeline"]["offset_l0"] == list(phantom.offset_l0)


def test_a_feature_speaks_qupaths_dialect(phantom: Any, tmp_path: Path) -> None:
    collection = _written(phantom, tmp_path)
    (feature,) = collection["features"]
    assert collection["type"] == "FeatureCollection"
    assert str(uuid.UUID(feature["id"])) == feature["id"]
    properties = feature["properties"]
    assert properties["objectType"] == "annotation"
    assert properties["classification"] == {"name": "IDC", "color": [200, 0, 0]}
    assert properties["measurements"] == {
        "Area mm^2": pytest.approx(15 * 0.16 * 0.75),  # three quarters of each cell are tissue
        "Outline area mm^2": pytest.approx(15 * 0.16),
        "Perimeter mm": pytest.approx(16 * 0.4),
        "Mean probability": 0.9375,
        "Max probability": 0.9375,
        "Patches": 15,
    }


def test_the_same_regions_give_the_same_bytes(phantom: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_geojson(phantom.map_, phantom.regions, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_slide_gets_other_ids(phantom: Any, tmp_path: Path) -> None:
    other = replace(phantom.map_, attributes={**phantom.map_.attributes, "slide": {"name": "b"}})
    write_geojson(other, phantom.regions, tmp_path / "other")
    ids = {_written(phantom, tmp_path)["features"][0]["id"]}
    ids.add(json.loads((tmp_path / "other").read_text())["features"][0]["id"])
    assert len(ids) == 2


def test_holes_are_kept(phantom: Any, tmp_path: Path) -> None:
    phantom.map_.values[7, 23] = np.nan
    regions = find_regions(phantom.map_, threshold=0.5, low_threshold=0.4)
    write_geojson(phantom.map_, regions, tmp_path / "r")
    (feature,) = json.loads((tmp_path / "r").read_text())["features"]
    assert len(feature["geometry"]["coordinates"]) == 2
    cell_l0 = phantom.map_.step_l0[0] * phantom.map_.step_l0[1]
    area = shapely.geometry.shape(feature["geometry"]).area
    assert area == pytest.approx(14 * cell_l0, rel=1e-4)


def test_no_regions_is_an_empty_collection(phantom: Any, tmp_path: Path) -> None:
    none = find_regions(phantom.map_, threshold=0.99, low_threshold=0.99)
    write_geojson(phantom.map_, none, tmp_path / "r")
    assert json.loads((tmp_path / "r").read_text())["features"] == []


def test_a_missing_folder_is_a_storage_error(phantom: Any, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_geojson(phantom.map_, phantom.regions, tmp_path / "no" / "r")
