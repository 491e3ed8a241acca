"""Stores that this program did not write: none of them runs code or takes the memory."""

import gzip
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.maps.conftest import MakeMap
from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps import ProbabilityMap, write_map
from wsi_pipeline.maps.store_files import UnexpectedStoreError, read_store

MARK = "it_ran"
READ_AND_MEASURE = """
import resource, sys
from pathlib import Path
from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps import ProbabilityMap
import zarr
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    ProbabilityMap.open(Path(sys.argv[1]))
    print("read")
except StorageError as error:
    print("refused:", error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.fixture
def store(make_map: MakeMap, tmp_path: Path) -> Path:
    write_map(make_map(), tmp_path / "probability.zarr")
    return tmp_path / "probability.zarr"


def edit(path: Path, **changes: Any) -> None:
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **changes}))


def read_in_a_process(store: Path) -> tuple[str, int]:
    """Return what was said of a store, and by how many MB the process grew at its largest."""
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, str(store)],
        capture_output=True,
        text=True,
        check=True,
    )
    *words, megabytes = done.stdout.splitlines()
    return "\n".join(words), int(megabytes)


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.place,))


def test_a_store_of_pickled_objects_runs_nothing(store: Path, tmp_path: Path) -> None:
    filters = [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}]
    edit(store / "0" / ".zarray", dtype="|O", filters=filters, compressor=None)
    (store / "0" / "0" / "0").write_bytes(pickle.dumps(Bomb(tmp_path / MARK)))
    with pytest.raises(StorageError, match=r"layer 0 has values '\|O'"):
        ProbabilityMap.open(store)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": [{"id": "pickle", "protocol": 5}]},
        {"compressor": {"id": "pickle", "protocol": 5}},
        {"compressor": {"id": "json2"}},
        {"compressor": "blosc"},
        {"dtype": "<f8"},
        {"dtype": [["a", "<f4"]]},
        {"dtype": None},
        {"order": "K"},
        {"shape": [8]},
        {"shape": [8, 11, 3]},
        {"shape": [-1, 11]},
        {"shape": [8, 11.5]},
        {"shape": [True, 11]},
        {"shape": None},
        {"chunks": [0, 11]},
        {"dimension_separator": "/../"},
        {"shape": [2**31, 0]},
        {"shape": [20_000, 20_000], "chunks": [20_000, 20_000]},
        {"shape": [2_000_000, 2_000_000]},
        {"shape": [5000, 5000], "chunks": [1, 1]},
        {"chunks": [4097, 4096]},
    ],
    ids=str,
)
def test_whatever_we_do_not_write_ourselves_is_refused(
    store: Path, changes: dict[str, Any]
) -> None:
    edit(store / "tissue" / ".zarray", **changes)
    with pytest.raises(StorageError, match=r"no map that this program wrote \(.*layer tissue"):
        ProbabilityMap.open(store)


@pytest.mark.parametrize(
    "changes",
    [
        {"data_type": "string"},
        {"codecs": [{"name": "numcodecs.pickle"}]},
        {"codecs": [{"name": "bytes"}, {"name": "zstd"}, {"name": "zstd"}]},
        {"codecs": [{"name": "bytes"}, {"name": "sharding_indexed"}]},
        {"codecs": "bytes"},
        {"storage_transformers": [{"name": "x"}]},
        {"chunk_grid": {"name": "rectangular"}},
        {"chunk_key_encoding": {"name": "v2"}},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": ".."}}},
    ],
    ids=str,
)
def test_the_same_holds_for_the_newer_format(
    make_map: MakeMap, tmp_path: Path, changes: dict[str, Any]
) -> None:
    write_map(make_map(), tmp_path / "m.zarr", ngff="0.5")
    edit(tmp_path / "m.zarr" / "0" / "zarr.json", **changes)
    with pytest.raises(StorageError, match=r"no map that this program wrote \(.*layer 0"):
        ProbabilityMap.open(tmp_path / "m.zarr")


def test_metadata_for_another_reader_are_not_read(store: Path, make_map: MakeMap) -> None:
    good = json.loads((store / "0" / ".zarray").read_text())
    bad = {**good, "dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]}
    metadata = {".zgroup": {"zarr_format": 2}, "0/.zarray": bad, "tissue/.zarray": good}
    text = json.dumps({"zarr_consolidated_format": 1, "metadata": metadata})
    (store / ".zmetadata").write_text(text)
    np.testing.assert_array_equal(ProbabilityMap.open(store).values, make_map().values)


def test_consolidated_metadata_of_the_newer_format_are_refused(
    make_map: MakeMap, tmp_path: Path
) -> None:
    write_map(make_map(), tmp_path / "m.zarr", ngff="0.5")
    edit(tmp_path / "m.zarr" / "zarr.json", consolidated_metadata={"metadata": {}})
    with pytest.raises(StorageError, match="consolidated metadata"):
        ProbabilityMap.open(tmp_path / "m.zarr")


def test_a_map_of_four_hundred_million_cells_costs_no_memory(store: Path) -> None:
    for layer in ("0", "tissue"):
        edit(store / layer / ".zarray", shape=[20_000, 20_000], chunks=[20_000, 20_000])
    words, megabytes = read_in_a_process(store)
    assert "20000 x 20000 cells" in words
    assert megabytes < 50


@pytest.mark.parametrize("compressor", ["blosc", "zstd", "gzip"])
def test_a_chunk_that_unpacks_to_gigabytes_costs_no_memory(store: Path, compressor: str) -> None:
    import numcodecs

    zeros = np.zeros(512 * 2**20, np.uint8)
    codecs = {"blosc": numcodecs.Blosc("zstd"), "zstd": numcodecs.Zstd(1)}
    packed = (
        gzip.compress(zeros.tobytes(), 1)
        if compressor == "gzip"
        else codecs[compressor].encode(zeros)
    )
    assert len(packed) < 4 * 2**20
    edit(store / "0" / ".zarray", compressor={"id": compressor})
    (store / "0" / "0" / "0").write_bytes(packed)
    words, megabytes = read_in_a_process(store)
    assert "refused" in words
    assert megabytes < 50


@pytest.mark.parametrize("name", [".zgroup", "0/.zarray", "0/0/0"])
def test_a_store_leads_to_no_other_place(store: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (store / name).rename(elsewhere)
    (store / name).symlink_to(elsewhere)
    with pytest.raises(StorageError, match="a link stands in the way"):
        ProbabilityMap.open(store)


def test_a_map_with_a_missing_part_is_not_read_as_a_map_without_tumor(store: Path) -> None:
    (store / "0" / "0" / "0").unlink()
    with pytest.raises(StorageError, match="a part of it is missing"):
        ProbabilityMap.open(store)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "1", "{"])
def test_metadata_that_are_none_are_a_sentence(store: Path, text: str) -> None:
    (store / "0" / ".zarray").write_text(text)
    with pytest.raises(StorageError, match=r"probability\.zarr: (the store is damaged|no map)"):
        ProbabilityMap.open(store)


def test_what_is_read_is_what_was_written(store: Path) -> None:
    files = read_store(store)
    assert {name: (store / name).read_bytes() for name in files} == files
    (store / "0" / ".zarray").unlink()
    with pytest.raises(UnexpectedStoreError, match="no description"):
        read_store(store)
