"""The notebook runs from its first cell to its last, and is kept without what it printed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "scripts/notebook.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs(notebook: nbformat.NotebookNode) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's own event loop
def test_every_cell_runs_and_the_last_compares_two_models(
    notebook: nbformat.NotebookNode, tmp_path: Path
) -> None:
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": tmp_path}})
    client.execute()
    printed = str(notebook.cells[-1].outputs)
    assert "idc-compact" in printed
    assert "sample" in printed
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
