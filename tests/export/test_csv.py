"""patches.csv: WSInfer's columns, level-0 px, one row a classified cell."""

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_pipeline.errors import StorageError
from wsi_pipeline.export.csv import write_csv


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_the_hot_square_lies_in_level_0_of_the_whole_slide(phantom: Any, tmp_path: Path) -> None:
    write_csv(phantom.map_, tmp_path / "patches.csv")
    hot = [r for r in _rows(tmp_path / "patches.csv") if float(r["prob_idc"]) > 0.5]
    left = min(int(r["minx"]) for r in hot)
    top = min(int(r["miny"]) for r in hot)
    right = max(int(r["minx"]) + int(r["width"]) for r in hot)
    bottom = max(int(r["miny"]) + int(r["height"]) for r in hot)
    assert len(hot) == 15
    np.testing.assert_allclose((left, top, right, bottom), phantom.square_l0, atol=0.5)


def test_only_classified_cells_have_a_row(phantom: Any, tmp_path: Path) -> None:
    write_csv(phantom.map_, tmp_path / "patches.csv")
    rows = _rows(tmp_path / "patches.csv")
    assert len(rows) == 20 * 29
    assert list(rows[0]) == ["minx", "miny", "width", "height", "tissue", "prob_idc"]
    assert rows[0]["tissue"] == "0.75"
    assert rows[0]["prob_idc"] == "0.0625"


def test_neighbors_share_their_edge(phantom: Any, tmp_path: Path) -> None:
    write_csv(phantom.map_, tmp_path / "patches.csv")
    first_row = _rows(tmp_path / "patches.csv")[:29]
    for left, right in itertools.pairwise(first_row):
        assert int(left["minx"]) + int(left["width"]) == int(right["minx"])


def test_a_map_with_nothing_classified_is_a_header_alone(phantom: Any, tmp_path: Path) -> None:
    phantom.map_.values[...] = np.nan
    write_csv(phantom.map_, tmp_path / "patches.csv")
    assert (tmp_path / "patches.csv").read_text() == "minx,miny,width,height,tissue,prob_idc\n"


def test_a_missing_folder_is_a_storage_error(phantom: Any, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_csv(phantom.map_, tmp_path / "no" / "patches.csv")
