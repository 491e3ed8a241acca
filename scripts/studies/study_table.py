"""A study's table, in the Markdown file beside its script: the script writes it, people read it.

What stands outside the two marks, such as what the figures say, is written by hand and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from wsi_pipeline.files import write_atomic

BEGIN = "<!-- measured: written by the script, do not edit -->"
END = "<!-- measured: end -->"


def beside(script: str) -> Path:
    """Return the Markdown file of a study's script."""
    return Path(script).resolve().with_suffix(".md")


def measured_today(facts: str) -> str:
    """Return the line above a table: when it was measured, and on what."""
    return f"Measured {datetime.now(UTC):%Y-%m-%d}: {facts}."


def write_table(path: Path, lines: Sequence[str]) -> None:
    """Replace what stands between the marks of a file, or begin a file that does not exist.

    Raises
    ------
    SystemExit
        Where the file has not exactly one such place: nothing that was written by hand is lost.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(
            f"{path} has no place for the table. Put these two lines where it belongs:\n"
            f"{BEGIN}\n{END}"
        )
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    table = "\n".join(lines)
    write_atomic(path, f"{before}{BEGIN}\n\n{table}\n\n{END}{after}".encode())
    print(f"table written to {path}")
