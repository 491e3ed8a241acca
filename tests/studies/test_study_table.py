"""A study's table lies beside its script, and what people wrote around it stays."""

from pathlib import Path

import pytest
from study_table import BEGIN, END, beside, write_table

STUDIES = Path(__file__).parents[2] / "scripts/studies"


def test_the_table_is_replaced_and_the_words_around_it_stay(tmp_path: Path) -> None:
    path = tmp_path / "study.md"
    path.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\n## What it says\n\nMuch.\n")
    write_table(path, ["| a |", "|---|"])
    once = path.read_text()
    assert once.startswith("# Title\n")
    assert once.endswith("## What it says\n\nMuch.\n")
    assert "| a |\n|---|" in once
    assert "old" not in once
    write_table(path, ["| a |", "|---|"])
    assert path.read_text() == once


def test_a_new_file_is_begun(tmp_path: Path) -> None:
    write_table(tmp_path / "new.md", ["| a |"])
    assert (tmp_path / "new.md").read_text() == f"{BEGIN}\n\n| a |\n\n{END}\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("all by hand", id="no place"),
        pytest.param(f"{BEGIN}\n{END}\n{BEGIN}\n{END}", id="two places"),
        pytest.param(f"{END}\n{BEGIN}", id="marks the wrong way round"),
    ],
)
def test_a_file_without_one_place_for_the_table_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.md"
    path.write_text(text)
    with pytest.raises(SystemExit, match="has no place for the table"):
        write_table(path, ["| a |"])
    assert path.read_text() == text


@pytest.mark.parametrize("study", ["ablation", "compare_context", "measure_robustness"])
def test_each_study_has_its_page_with_a_place_for_the_table(study: str) -> None:
    text = beside(str(STUDIES / f"{study}.py")).read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)
    assert text.count(BEGIN) == text.count(END) == 1
