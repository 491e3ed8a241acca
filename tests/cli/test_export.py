"""`wsi-pipeline export`."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

from tests.phantoms import write_phantom
from wsi_pipeline.config import load_config
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.pipeline.run import run_slide

Command = Callable[..., tuple[int, str]]
MODEL = Path(__file__).parents[1] / "models" / "darkness"
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def test_each_format_lands_in_the_slides_own_folder(finished_run: Path, command: Command) -> None:
    formats = ("csv", "geojson", "geojson-gz", "ome-tiff", "aperio-xml", "sheet", "sheet-pdf")
    status, _ = command(
        "export", finished_run, *(word for name in formats for word in ("--to", name))
    )
    assert status == 0
    names = {path.name for path in (finished_run / "slides/alpha").iterdir()}
    assert names >= {"patches.csv", "regions.geojson", "probability.ome.tif", "regions.xml"}
    assert (finished_run / "slides/alpha/sheet.pdf").read_bytes().startswith(b"%PDF")
    plain = (finished_run / "slides/alpha/regions.geojson").read_bytes()
    packed = (finished_run / "slides/alpha/regions.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == plain


@pytest.mark.parametrize("bounds_l0", [None, Box(3011, 1507, 4096, 3072)], ids=["none", "scn"])
def test_the_hot_box_of_a_run_lies_at_its_place_in_every_format(
    command: Command, tmp_path: Path, bounds_l0: Box | None
) -> None:
    x, y = (bounds_l0.x, bounds_l0.y) if bounds_l0 else (0, 0)
    hot = (x + 1600.0, y + 800.0, x + 2400.0, y + 1600.0)
    write_phantom(
        tmp_path / "slide.scn",
        size_l0=Size(8192, 6144) if bounds_l0 else Size(4096, 3072),
        hot_box_l0=Box(x + 1600, y + 800, 800, 800),
        mpp=1.0,
        bounds_l0=bounds_l0,
    )
    config = load_config(None, {"model": str(MODEL), "execution": {"workers": 1}})
    run_slide(tmp_path / "slide.scn", tmp_path / "out", config)
    formats = ("geojson", "geojson-tiles", "csv", "aperio-xml", "ome-tiff", "ome-zarr-0.5")
    status, said = command(
        *("export", tmp_path / "out", "-o", tmp_path),
        *(word for name in formats for word in ("--to", name)),
    )
    assert status == 0, said
    # QuPath counts from the scanned bounds, all others from level 0.
    offset = np.array((x, y, x, y))
    found = {
        "geojson": _geojson_box(tmp_path / "slide/regions.geojson") + offset,
        "tiles": _geojson_box(tmp_path / "slide/tiles.geojson.gz") + offset,
        "csv": _csv_box(tmp_path / "slide/patches.csv"),
        "aperio": _aperio_box(tmp_path / "slide/regions.xml"),
        "ome-tiff": _ome_tiff_box(tmp_path / "slide/probability.ome.tif"),
        "ome-zarr": _ome_zarr_box(tmp_path / "slide/probability.ome.zarr"),
    }
    for name, box in found.items():
        np.testing.assert_allclose(box, hot, atol=200, err_msg=name)


def _geojson_box(path: Path) -> Any:
    data = path.read_bytes()
    features = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)["features"]
    return shapely.total_bounds(
        [
            shapely.geometry.shape(feature["geometry"])
            for feature in features
            if feature["properties"]["measurements"].get("IDC probability", 1) > 0.5
        ]
    )


def _csv_box(path: Path) -> Any:
    with path.open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if float(row["prob_idc"]) > 0.5]
    near = np.array([[float(row["minx"]), float(row["miny"])] for row in rows])
    sizes = np.array([[float(row["width"]), float(row["height"])] for row in rows])
    return np.r_[near.min(axis=0), (near + sizes).max(axis=0)]


def _aperio_box(path: Path) -> Any:
    vertices = [
        (float(vertex.attrib["X"]), float(vertex.attrib["Y"]))
        for vertex in ET.parse(path).iter("Vertex")
    ]
    return np.r_[np.min(vertices, axis=0), np.max(vertices, axis=0)]


def _box_of_cells(values: Any, place: Any, size: Any) -> Any:
    """Return the box of the hot cells, x and y, from where the first cell lies and its size."""
    rows, cols = np.nonzero(np.nan_to_num(values) > 0.5)
    near, far = np.array([cols.min(), rows.min()]), np.array([cols.max() + 1, rows.max() + 1])
    return np.r_[place + near * size, place + far * size]


def _ome_tiff_box(path: Path) -> Any:
    with tifffile.TiffFile(path) as tiff:
        root = ET.fromstring(tiff.ome_metadata or "")
        values = tiff.series[0].levels[0].asarray()
    stated = {**next(root.iter(f"{OME}Pixels")).attrib, **next(root.iter(f"{OME}Plane")).attrib}
    place, size = (
        np.array([float(stated[name + axis]) for axis in "XY"])
        for name in ("Position", "PhysicalSize")
    )
    return _box_of_cells(values, place, size)


def _ome_zarr_box(path: Path) -> Any:
    reader = pytest.importorskip("ome_zarr.reader")
    node = next(iter(reader.Reader(pytest.importorskip("ome_zarr.io").parse_url(path))()))
    scale, translation = node.metadata["coordinateTransformations"][0]
    place, size = (np.array(t)[::-1] for t in (translation["translation"], scale["scale"]))
    return _box_of_cells(np.asarray(node.data[0]), place, size)


def test_another_folder_leaves_the_run_as_it_is(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")}
    status, said = command("export", finished_run, "--to", "ome-tiff", "-o", tmp_path / "there")
    assert status == 0
    assert (tmp_path / "there/beta/probability.ome.tif").exists()
    assert "3 files written" in said
    assert {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")} == before


def test_regions_are_those_of_the_run_after_a_render_too(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    command("render", finished_run, "--threshold", "0.9", "--smoothing", "0")
    command("export", finished_run, "--to", "geojson", "-o", tmp_path / "there")
    own = (finished_run / "slides/alpha/regions.geojson").read_bytes()
    assert (tmp_path / "there/alpha/regions.geojson").read_bytes() == own
    assert json.loads(own)["wsi_pipeline"]["threshold"] == 0.9


def test_a_threshold_is_taken_elsewhere_and_refused_in_the_runs_folder(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    words = ("export", finished_run, "--to", "geojson", "--threshold", "1")
    status, _ = command(*words, "-o", tmp_path / "there")
    assert status == 0
    assert json.loads((tmp_path / "there/alpha/regions.geojson").read_text())["features"] == []
    own = (finished_run / "slides/alpha/regions.geojson").read_bytes()
    status, said = command(*words)
    assert status == 2
    assert "render OUT --threshold" in said
    assert (finished_run / "slides/alpha/regions.geojson").read_bytes() == own


def test_tiles_come_with_the_option(finished_run: Path, command: Command) -> None:
    command("export", finished_run, "--to", "geojson", "--tiles")
    assert (finished_run / "slides/alpha/tiles.geojson.gz").exists()


def test_what_was_not_classified_is_white_in_the_rendering(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    tifffile = pytest.importorskip("tifffile")
    command("export", finished_run, "--to", "ome-tiff-rgb", "-o", tmp_path / "there")
    assert (tifffile.imread(tmp_path / "there/blank/rendering.ome.tif") == 255).all()
    assert (tifffile.imread(tmp_path / "there/alpha/rendering.ome.tif") < 255).any()


def test_renderings_and_sheets_have_the_colors_of_the_results(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    def exported() -> tuple[set[tuple[int, ...]], bytes]:
        command("export", finished_run, "--to", "ome-tiff-rgb", "--to", "sheet", "-o", tmp_path)
        rgb = tifffile.imread(tmp_path / "alpha/rendering.ome.tif").reshape(-1, 3)
        return set(map(tuple, rgb.tolist())), (tmp_path / "alpha/sheet.png").read_bytes()

    table = mpl.colormaps["magma"](np.linspace(0, 1, 256), bytes=True)[:, :3]
    magma = {(255, 255, 255), *map(tuple, table.tolist())}
    colors, sheet = exported()
    assert not colors <= magma
    command("render", finished_run, "--colormap", "magma")
    colors_now, sheet_now = exported()
    assert colors_now <= magma
    assert sheet_now != sheet


def test_a_slide_that_is_no_dicom_is_said_and_the_rest_goes_on(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    status, said = command(
        "export", finished_run, "--to", "dicom-seg", "--to", "csv", "-o", tmp_path / "there"
    )
    assert status == 1
    assert "alpha: dicom-seg: FAILED: alpha.tif: not a DICOM slide" in said
    assert (tmp_path / "there/beta/patches.csv").exists()


def test_without_highdicom_the_message_says_what_to_install(
    finished_run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    status, said = command("export", finished_run, "--to", "dicom-pm", "-o", tmp_path / "there")
    assert status == 1
    assert "pip install highdicom" in said


def test_an_empty_slide_has_no_sheet_and_that_is_no_failure(
    finished_run: Path, command: Command
) -> None:
    status, said = command("export", finished_run, "--to", "sheet")
    assert status == 0
    assert "blank: sheet: nothing to draw, the slide is empty" in said
    with Image.open(finished_run / "slides/alpha/sheet.png") as sheet:
        assert np.asarray(sheet).std() > 0


def test_a_slide_that_failed_is_said_to_be_left_out(finished_run: Path, command: Command) -> None:
    path = finished_run / "slides/beta/status.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": "failed"}))
    status, said = command("export", finished_run, "--to", "csv")
    assert status == 0
    assert "beta: left out, it failed or is not finished" in said
    assert "2 files written" in said


def test_a_damaged_map_costs_its_slide_alone(finished_run: Path, command: Command) -> None:
    (finished_run / "slides/alpha/probability.zarr/.zattrs").write_text("{")
    status, said = command("export", finished_run, "--to", "ome-tiff")
    assert status == 1
    assert "alpha: FAILED" in said
    assert (finished_run / "slides/beta/probability.ome.tif").exists()


def test_a_missing_thumbnail_is_said_with_what_to_do(finished_run: Path, command: Command) -> None:
    (finished_run / "slides/beta/thumbnail.jpg").unlink()
    status, said = command("export", finished_run, "--to", "sheet")
    assert status == 1
    assert "--outputs all" in said


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, command: Command) -> None:
    status, said = command("export", tmp_path, "--to", "csv")
    assert status == 1
    assert "holds no slides/" in said


def test_an_unknown_format_is_refused_with_those_there_are(
    finished_run: Path, command: Command
) -> None:
    status, said = command("export", finished_run, "--to", "jpeg")
    assert status == 2
    assert "geojson" in said


def test_a_threshold_that_is_none_is_a_usage_error(
    finished_run: Path, command: Command, tmp_path: Path
) -> None:
    status, _ = command(
        "export", finished_run, "--to", "csv", "--threshold", "7", "-o", tmp_path / "there"
    )
    assert status == 2
