"""Print every situation of this folder: its row, the situation, the commands, what they say now.

python -m tests.cases.table                  all of them, as a table in Markdown
python -m tests.cases.table -k 52            and whatever else pytest takes
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

HERE: Final = Path(__file__).parent
SAID_CHARS: Final = 220
"""Of what a command said; the end, where its outcome stands, and its first complaint."""
TELLING: Final = ("error", "FAILED", "WARNING", "note:", "left out", ": IDC", ": empty", "pooled")


@dataclass(slots=True)
class Table:
    """A plugin of pytest that notes what each situation said."""

    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Row and situation, by the test's id."""
    lines: list[tuple[str, ...]] = field(default_factory=list)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note what a test is about."""
        mark = item.get_closest_marker("row")
        words = (getattr(item.function, "__doc__", None) or item.name).strip()  # type: ignore[attr-defined]
        callspec = getattr(item, "callspec", None)
        of_many = f" [{callspec.id}]" if callspec else ""
        self.rows[item.nodeid] = (
            str(mark.args[0]) if mark else "",
            words.splitlines()[0] + of_many,
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what came of it."""
        if report.when != "call" and not (report.when == "setup" and not report.passed):
            return
        known: dict[str, Any] = dict(report.user_properties)
        folder = str(known.get("folder", ""))
        steps = known.get("steps", [])
        commands = " ; ".join(line for line, *_ in steps)
        said = " ; ".join(f"{_told(text, folder)} (exit {status})" for _, status, text in steps)
        outcome = {"passed": "as it should", "failed": "WRONG"}.get(report.outcome, report.outcome)
        self.lines.append((*self.rows[report.nodeid], commands, said, outcome))


def table(lines: Iterable[tuple[str, ...]]) -> str:
    """Return the situations as a table in Markdown, by their rows."""
    head = ("row", "situation", "commands (wsi-pipeline ...)", "says now", "")
    cells = [head, ("---",) * len(head), *sorted(lines, key=_place)]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in cells)


def main(arguments: Sequence[str]) -> int:
    """Do the situations and print the table; exit as pytest does."""
    plugin = Table()
    status = pytest.main([str(HERE), "-q", "--no-header", "--durations=0", *arguments], [plugin])
    sys.stdout.write(table(plugin.lines) + "\n")
    return int(status)


def _place(line: tuple[str, ...]) -> tuple[int, str, str]:
    number = re.match(r"\d+", line[0])
    return (int(number[0]) if number else 999, line[0], line[1])


def _told(text: str, folder: str) -> str:
    """Return the lines that tell how it went, else the last one."""
    lines = [line.strip() for line in text.replace(folder + "/", "").splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in TELLING)]
    words = " / ".join(telling or lines[-1:])
    return words if len(words) <= SAID_CHARS else f"{words[:SAID_CHARS]} ..."


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
