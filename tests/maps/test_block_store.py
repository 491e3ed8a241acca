"""The store of a run in progress: what is there is whole, what is torn is done again."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps import BlockStore
from wsi_pipeline.maps.grid import Block

LAYERS = ("probability", "quality")
BLOCK = Block(0, 2, 2, 2)
EDGE = Block(2, 2, 1, 1)


def _store(folder: Path, plan_key: str = "plan") -> BlockStore:
    return BlockStore.create_or_resume(folder / "working", (3, 3), 2, plan_key, LAYERS)


def _layers(block: Block, value: float) -> dict[str, NDArray[Any]]:
    shape = (block.n_rows, block.n_cols)
    return {
        "probability": np.full(shape, value, np.float32),
        "quality": np.full(shape, 7, np.uint8),
    }


def test_blocks_come_back_at_their_place_and_the_rest_is_not_classified(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.write_block(EDGE, _layers(EDGE, 0.5))
    whole = store.read_all()
    assert whole["probability"].dtype == np.float32
    assert whole["probability"][2, 2] == 0.5
    assert np.isnan(whole["probability"]).sum() == 8
    assert whole["quality"].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 7]]


def test_a_block_is_complete_only_once_written(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.write_block(EDGE, _layers(EDGE, 0.5))
    assert store.is_complete(EDGE)
    assert not store.is_complete(BLOCK)


def test_writing_a_block_again_replaces_it(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for value in (0.25, 0.75):
        store.write_block(EDGE, _layers(EDGE, value))
    assert store.read_all()["probability"][2, 2] == 0.75


def test_resuming_the_same_plan_keeps_the_blocks(tmp_path: Path) -> None:
    _store(tmp_path).write_block(EDGE, _layers(EDGE, 0.5))
    assert _store(tmp_path).is_complete(EDGE)


def test_another_plan_discards_the_blocks(tmp_path: Path) -> None:
    _store(tmp_path).write_block(EDGE, _layers(EDGE, 0.5))
    assert not _store(tmp_path, "another model").is_complete(EDGE)


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    _store(tmp_path)
    note = tmp_path / "working" / "note.txt"
    note.write_text("mine")
    _store(tmp_path, "another model")
    assert note.read_text() == "mine"


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_a_torn_block_counts_as_missing(tmp_path: Path, keep: int) -> None:
    store = _store(tmp_path)
    store.write_block(BLOCK, _layers(BLOCK, 0.5))
    (file,) = (tmp_path / "working").glob("block_*")
    file.write_bytes(file.read_bytes()[:keep])
    assert not store.is_complete(BLOCK)
    assert np.isnan(store.read_all()["probability"]).all()


def test_a_flipped_bit_counts_as_missing(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.write_block(BLOCK, _layers(BLOCK, 0.5))
    (file,) = (tmp_path / "working").glob("block_*")
    data = bytearray(file.read_bytes())
    data[data.index(np.float32(0.5).tobytes())] ^= 1
    file.write_bytes(bytes(data))
    assert not store.is_complete(BLOCK)


def test_a_worker_killed_while_writing_leaves_no_block(tmp_path: Path) -> None:
    store = _store(tmp_path)
    script = (
        "import os, pathlib, pickle, sys, numpy as np\n"
        "from wsi_pipeline.maps.grid import Block\n"
        "pathlib.Path.replace = lambda *names: os.kill(os.getpid(), 9)\n"
        "store = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "ones = np.ones((2, 2))\n"
        "store.write_block(Block(0, 2, 2, 2), {'probability': ones, 'quality': ones})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, pickle.dumps(store).hex()],
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -9
    assert not _store(tmp_path).is_complete(BLOCK)
    _store(tmp_path).write_block(BLOCK, _layers(BLOCK, 0.5))
    assert _store(tmp_path).is_complete(BLOCK)


def test_missing_layers_are_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the layers"):
        _store(tmp_path).write_block(EDGE, {"probability": np.zeros((1, 1))})


def test_a_layer_of_another_shape_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has shape"):
        _store(tmp_path).write_block(EDGE, _layers(BLOCK, 0.5))


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "working").write_text("a file in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        _store(tmp_path)


def test_discarding_removes_the_store(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.write_block(EDGE, _layers(EDGE, 0.5))
    store.discard()
    assert list(tmp_path.iterdir()) == []
