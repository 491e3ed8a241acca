"""The map in napari: where its cells are, in the colors of the overlay, with its layers."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import wsi_pipeline
from wsi_pipeline.export.napari import get_reader
from wsi_pipeline.maps import write_map
from wsi_pipeline.maps.store import NgffVersion


@pytest.fixture(params=["0.4", "0.5"])
def stored(phantom: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Write the map with all of its layers."""
    ngff: NgffVersion = request.param
    path, values = tmp_path / "probability.zarr", phantom.map_.values
    flags = np.where(values > 0.5, 2, 0).astype(np.uint8)
    write_map(replace(phantom.map_, raw=values / 2, quality=flags), path, ngff=ngff)
    return path


def test_every_layer_is_offered_and_the_map_is_seen_first(stored: Path) -> None:
    read = get_reader(str(stored))
    assert read is not None
    layers = read(str(stored))
    assert [(options["name"], kind) for _, options, kind in layers] == [
        ("quality flags", "labels"),
        ("tissue share", "image"),
        ("IDC probability without neighbors", "image"),
        ("IDC probability", "image"),
    ]
    assert [options["name"] for _, options, _ in layers if options["visible"]] == [
        "IDC probability"
    ]
    values, options, _ = layers[3]
    assert options["colormap"] == "viridis"
    assert options["contrast_limits"] == (0.0, 1.0)
    assert np.isnan(values[:, 0]).all()  # not classified stays so
    assert set(np.unique(layers[0][0])) == {0, 2}


def test_no_layer_is_half_a_cell_off(stored: Path, phantom: Any) -> None:
    read = get_reader(str(stored))
    assert read is not None
    for values, options, _ in read(str(stored)):
        # napari draws pixel i from translate + (i - 1/2) * scale to translate + (i + 1/2) * scale
        hot = np.argwhere(np.nan_to_num(values) == np.nanmax(values))
        first, last = hot.min(axis=0), hot.max(axis=0)
        if options["name"] == "tissue share":
            continue  # it has no hot square
        scale, translate = np.array(options["scale"]), np.array(options["translate"])
        top, left = translate + (first - 0.5) * scale
        bottom, right = translate + (last + 0.5) * scale
        mpp = phantom.map_.mpp
        expected = np.array(phantom.square_l0) * [mpp.x, mpp.y, mpp.x, mpp.y]
        np.testing.assert_allclose([left, top, right, bottom], expected, rtol=1e-9)
        assert options["units"] == ("um", "um")


@pytest.mark.parametrize("content", [None, "{}", "not json", json.dumps({"multiscales": []})])
def test_what_is_no_map_of_ours_is_left_to_others(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "other.zarr"
    folder.mkdir()
    if content is not None:
        (folder / ".zattrs").write_text(content)
    assert get_reader(str(folder)) is None
    assert get_reader(str(tmp_path / "picture.tif")) is None
    assert get_reader([str(folder), str(folder)]) is None


def test_napari_finds_the_reader_by_the_package_s_manifest() -> None:
    manifest = yaml.safe_load(Path(wsi_pipeline.__file__).with_name("napari.yaml").read_text())
    command = manifest["contributions"]["commands"][0]
    assert command["python_name"] == "wsi_pipeline.export.napari:get_reader"
    assert manifest["contributions"]["readers"][0]["command"] == command["id"]
    found = [e for e in entry_points(group="napari.manifest") if e.name == manifest["name"]]
    if found:  # an installation made before there was a manifest does not know of it
        assert found[0].value == "wsi_pipeline:napari.yaml"
