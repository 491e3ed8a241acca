"""The map on disk: a round trip, its place in other people's readers, failures in words."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps import (
    ProbabilityMap,
    TissueRaster,
    copy_map,
    write_map,
    write_threshold,
)
from wsi_pipeline.maps.store import NgffVersion

MakeMap = Callable[..., ProbabilityMap]
OPTIONAL = [f.name for f in fields(ProbabilityMap) if f.default is None and f.name != "mask"]
VERSIONS: tuple[NgffVersion, ...] = ("0.4", "0.5")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("ngff", VERSIONS)
def test_a_map_reads_back_as_it_was_written(
    make_map: MakeMap, tmp_path: Path, ngff: NgffVersion
) -> None:
    base = make_map()
    written = make_map(raw=base.values / 2, quality=np.full((5, 7), 3, np.uint8))
    write_map(written, tmp_path / "probability.zarr", ngff=ngff)

    read = ProbabilityMap.open(tmp_path / "probability.zarr")

    for name in ("values", "tissue", "raw", "quality"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == getattr(written, name).dtype
    assert read.uncertainty is None
    assert read.mask is None
    assert (read.origin_l0, read.step_l0, read.mpp) == ((300, 100), (200.0, 200.5), written.mpp)
    assert read.attributes["slide"] == {"name": "a.svs"}
    assert read.bounds_l0 == (0, 0, 1400, 1000)


@pytest.mark.parametrize("ngff", VERSIONS)
@pytest.mark.parametrize("layer", OPTIONAL)
def test_every_layer_that_a_map_can_have_is_read_back_and_copied(
    make_map: MakeMap, tmp_path: Path, ngff: NgffVersion, layer: str
) -> None:
    kind = np.uint8 if layer in ("quality", "estimated", "patches") else np.float32
    written = make_map(**{layer: np.full((5, 7), 0.5).astype(kind)})
    write_map(written, tmp_path / "m.zarr", ngff=ngff)
    copy_map(tmp_path / "m.zarr", tmp_path / "copy.zarr", {})
    for name in ("m.zarr", "copy.zarr"):
        read = ProbabilityMap.open(tmp_path / name)
        np.testing.assert_array_equal(getattr(read, layer), getattr(written, layer))
        assert read.nbytes == 2 * read.values.nbytes + getattr(read, layer).nbytes


@pytest.mark.parametrize("ngff", VERSIONS)
def test_the_tissue_mask_reads_back_with_its_own_frame(
    make_map: MakeMap, tmp_path: Path, ngff: NgffVersion
) -> None:
    inside = np.arange(40 * 30).reshape(40, 30) % 7 < 3
    write_map(
        make_map(mask=TissueRaster(inside, (300.0, 100.0), (64.0, 32.0))),
        tmp_path / "m.zarr",
        ngff=ngff,
    )
    mask = ProbabilityMap.open(tmp_path / "m.zarr").mask
    assert mask is not None
    np.testing.assert_array_equal(mask.inside, inside)
    assert (mask.origin_l0, mask.step_l0) == ((300.0, 100.0), (64.0, 32.0))


def test_probability_map_open_reads_the_store(make_map: MakeMap, tmp_path: Path) -> None:
    write_map(make_map(), tmp_path / "m.zarr")
    assert ProbabilityMap.open(str(tmp_path / "m.zarr")).threshold == 0.5


@pytest.mark.parametrize("ngff", VERSIONS)
def test_another_threshold_changes_that_attribute_and_no_other_byte(
    make_map: MakeMap, tmp_path: Path, ngff: NgffVersion
) -> None:
    place = tmp_path / "m.zarr"
    write_map(make_map(), place, ngff=ngff)
    before = _bytes(place)
    write_threshold(place, 0.6)
    assert ProbabilityMap.open(place).threshold == 0.6
    changed = {name for name, data in _bytes(place).items() if before[name] != data}
    assert changed == {".zattrs" if ngff == "0.4" else "zarr.json"}
    write_threshold(place, 0.5)
    assert _bytes(place) == before


@pytest.mark.parametrize("ngff", VERSIONS)
def test_a_copy_has_other_attributes_and_the_same_numbers(
    make_map: MakeMap, tmp_path: Path, ngff: NgffVersion
) -> None:
    write_map(make_map(), tmp_path / "m.zarr", ngff=ngff)
    copy_map(tmp_path / "m.zarr", tmp_path / "copy.zarr", {"threshold": 0.25})
    copied, original = _bytes(tmp_path / "copy.zarr"), _bytes(tmp_path / "m.zarr")
    assert ProbabilityMap.open(tmp_path / "copy.zarr").threshold == 0.25
    assert copied.keys() == original.keys()
    changed = {name for name, data in copied.items() if original[name] != data}
    assert changed == {".zattrs" if ngff == "0.4" else "zarr.json"}


def test_a_foreign_store_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "m.zarr").mkdir()
    (tmp_path / "m.zarr" / ".zattrs").write_text("{}")
    with pytest.raises(StorageError, match=r"m\.zarr"):
        copy_map(tmp_path / "m.zarr", tmp_path / "copy.zarr", {})
    assert not (tmp_path / "copy.zarr").exists()


def test_a_foreign_store_gets_no_threshold(tmp_path: Path) -> None:
    (tmp_path / ".zattrs").write_text("{}")
    with pytest.raises(StorageError, match="not the attributes of a map"):
        write_threshold(tmp_path, 0.6)


@pytest.mark.parametrize("ngff", VERSIONS)
def test_equal_maps_give_equal_bytes(make_map: MakeMap, tmp_path: Path, ngff: NgffVersion) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_map(make_map(), tmp_path / name / "probability.zarr", ngff=ngff)
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")


@pytest.mark.parametrize("ngff", VERSIONS)
def test_a_store_has_metadata_of_one_zarr_version_only(
    make_map: MakeMap, tmp_path: Path, ngff: NgffVersion
) -> None:
    path = tmp_path / "probability.zarr"
    for version in (*VERSIONS, ngff):  # also where a store of the other version stood before
        write_map(make_map(), path, ngff=version)
    assert (path / ".zgroup").exists() == (ngff == "0.4")
    assert (path / "zarr.json").exists() == (ngff == "0.5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["probability.zarr"]


def test_chunks_are_separated_by_slashes_and_the_fill_value_is_nan(
    make_map: MakeMap, tmp_path: Path
) -> None:
    write_map(make_map(), tmp_path / "m.zarr")
    header = json.loads((tmp_path / "m.zarr/0/.zarray").read_text())
    assert header["dimension_separator"] == "/"
    assert header["fill_value"] == "NaN"
    assert (tmp_path / "m.zarr/0/0/0").is_file()


def test_a_map_with_nothing_classified_stays_not_a_number(
    make_map: MakeMap, tmp_path: Path
) -> None:
    write_map(make_map(values=np.full((5, 7), np.nan, np.float32)), tmp_path / "m.zarr")
    assert np.isnan(ProbabilityMap.open(tmp_path / "m.zarr").values).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("ngff", VERSIONS)
def test_ome_zarr_py_puts_the_hot_cell_on_its_pixels(
    make_map: MakeMap, tmp_path: Path, ngff: NgffVersion
) -> None:
    reader = pytest.importorskip("ome_zarr.reader")
    parse_url = pytest.importorskip("ome_zarr.io").parse_url
    map_ = make_map()
    write_map(map_, tmp_path / "m.zarr", ngff=ngff)

    node = next(iter(reader.Reader(parse_url(tmp_path / "m.zarr"))()))

    values = np.asarray(node.data[0])
    row, col = np.unravel_index(np.nanargmax(values), values.shape)
    (scale, translation) = node.metadata["coordinateTransformations"][0]
    edge_um = np.array([row, col]) * scale["scale"] + translation["translation"]
    # Cell (2, 3) covers x 900 to 1100 and y 501 to 701.5 px, at 0.25 and 0.5 µm/px.
    np.testing.assert_allclose(edge_um, [501.0 * 0.5, 900.0 * 0.25])
    np.testing.assert_allclose(scale["scale"], [200.5 * 0.5, 200.0 * 0.25])
    assert [axis["unit"] for axis in node.metadata["axes"]] == ["micrometer", "micrometer"]


def test_the_metadata_pass_the_ome_zarr_models(make_map: MakeMap, tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models")
    import zarr

    for ngff in VERSIONS:
        write_map(make_map(), tmp_path / f"{ngff}.zarr", ngff=ngff)
        group = models.open_ome_zarr(zarr.open_group(tmp_path / f"{ngff}.zarr", mode="r"))
        assert group.ome_zarr_version == ngff


def test_a_kill_while_writing_leaves_the_old_map(make_map: MakeMap, tmp_path: Path) -> None:
    path = tmp_path / "probability.zarr"
    write_map(make_map(), path)
    torn = tmp_path / "probability.zarr.part"
    torn.mkdir()
    (torn / ".zgroup").write_text("{")
    assert ProbabilityMap.open(path).threshold == 0.5
    write_map(make_map(attributes={"threshold": 0.25}), path)
    assert ProbabilityMap.open(path).threshold == 0.25
    assert not torn.exists()


def test_a_missing_store_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no probability map here\. Run the slide first"):
        ProbabilityMap.open(tmp_path / "nothing.zarr")


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a Zarr group"):
        ProbabilityMap.open(tmp_path)


def test_a_foreign_store_is_refused(tmp_path: Path) -> None:
    import zarr

    zarr.create_group(tmp_path / "other.zarr", zarr_format=2)
    with pytest.raises(StorageError, match="not a probability map of this program"):
        ProbabilityMap.open(tmp_path / "other.zarr")


@pytest.mark.parametrize("lost", ["0", "tissue"])
def test_a_store_that_lost_an_array_is_damaged(
    make_map: MakeMap, tmp_path: Path, lost: str
) -> None:
    write_map(make_map(), tmp_path / "m.zarr")
    shutil.rmtree(tmp_path / "m.zarr" / lost)
    with pytest.raises(StorageError, match="the map is damaged"):
        ProbabilityMap.open(tmp_path / "m.zarr")


@pytest.mark.parametrize("victim", [".zgroup", ".zattrs", "0/.zarray", "0/0/0"])
def test_a_truncated_file_in_the_store_is_a_storage_error(
    make_map: MakeMap, tmp_path: Path, victim: str
) -> None:
    write_map(make_map(), tmp_path / "m.zarr")
    file = tmp_path / "m.zarr" / victim
    file.write_bytes(file.read_bytes()[:9])
    with pytest.raises(StorageError, match=r"m\.zarr"):
        ProbabilityMap.open(tmp_path / "m.zarr")


def test_writing_below_a_file_is_a_storage_error(make_map: MakeMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_map(make_map(), tmp_path / "file" / "probability.zarr")


def test_attributes_that_are_not_json_are_refused_before_anything_is_written(
    make_map: MakeMap, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_map(make_map(attributes={"model": object()}), tmp_path / "m.zarr")
    assert list(tmp_path.iterdir()) == []
