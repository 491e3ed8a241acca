"""Whether a list that a scan would replace holds what a person has written into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.inputs.slide_list import SlideEntry
from wsi_pipeline.names import shown
from wsi_pipeline.tables import Table, read_table

_ADVICE: Final = "Give the new list another name, or --overwrite to replace this one"


def check_before_scan(path: Path, columns: Sequence[str], entries: Sequence[SlideEntry]) -> None:
    """Refuse to replace a file that is no list as scans write them, or one of other slides.

    Parameters
    ----------
    path : Path
        Where the list would go; nothing need be there.
    columns : sequence of str
        Those that a scan writes.
    entries : sequence of SlideEntry
        The slides that would be scanned. A row too many or too few may be a person's doing.

    Raises
    ------
    ConfigError
        With what differs.
    """
    if not path.exists():
        return
    table = read_table(path)
    if table.columns != tuple(columns):
        raise ConfigError(f"{path} is there and has other columns than a scan's list", _ADVICE)
    slides = {shown(entry.path): {"id": entry.slide_id, "skip": ""} for entry in entries}
    _refuse_differences(path, table, slides)


def check_after_scan(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to replace a list with other µm/px than a scan has found.

    Raises
    ------
    ConfigError
        With the first that differs.
    """
    if path.exists():
        found = {
            shown(row["slide"]): {name: str(row.get(name, "")) for name in ("mpp_x", "mpp_y")}
            for row in rows
        }
        _refuse_differences(path, read_table(path), found)


def _refuse_differences(path: Path, table: Table, slides: Mapping[str, Mapping[str, str]]) -> None:
    listed = {row.cells["slide"]: row for row in table.rows}
    if set(listed) != set(slides):
        lost, new = len(set(listed) - set(slides)), len(set(slides) - set(listed))
        raise ConfigError(
            f"{path} lists other slides ({lost} that are not found now, {new} that it lacks)",
            _ADVICE,
        )
    for name, row in listed.items():
        for column, value in slides[name].items():
            if row.cells[column] != value:
                raise ConfigError(
                    f"{path}, line {row.line}: {column} is {row.cells[column]!r}, the scan says "
                    f"{value!r}: somebody has edited it",
                    _ADVICE,
                )
