"""A CSV list of slides: what a person or a spreadsheet made of the list that `scan` wrote.

A row that makes no sense becomes a slide that cannot be opened, with the line and the reason: it
fails by its name when its turn comes, and the others are done.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Final

from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.names import find_named, folder_name, is_there, is_windows_path
from wsi_pipeline.slides import SlideSource
from wsi_pipeline.tables import Row, Table, is_unknown, is_yes, number, read_tables

logger = logging.getLogger(__name__)

LIST_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt"})
WORKBOOK_SUFFIXES: Final = frozenset({".xlsx", ".xls", ".xlsm", ".ods", ".numbers"})
_WINDOWS: Final = (
    "{} is a path of Windows, and this is another system; write it as this machine sees the file"
)
_EXTRA: Final = (
    "{} cells more than columns: is there a comma in a number or a name? Put such cells in quotes, "
    "or save the list with semicolons"
)
_MPP_RANGE: Final = (0.01, 100.0)


@dataclass(frozen=True, slots=True)
class SlideEntry:
    """One slide that the user asked for."""

    slide_id: str
    """Unique in the run; a file's stem where that is unique and can be a folder's name."""
    path: Path
    mpp_override: Mpp | None = None
    """From the slide list, µm/px."""
    problem: str = ""
    """Why the row of a list cannot be used; such a slide fails when its turn comes."""
    origin: str = ""
    """The list and line that name it; empty where no list does."""
    has_own_id: bool = False
    """The list gives the id."""

    def source(self, config: Config) -> SlideSource:
        """Return how to open it."""
        return SlideSource(
            self.path,
            config.slide.mpp,
            self.mpp_override,
            config.slide.apply_icc,
            problem=self.problem,
        )


def read_slide_list(path: Path) -> list[SlideEntry]:
    """Read a list: columns `slide`, optional `mpp_x`, `mpp_y`, `id`, `skip`.

    Relative paths count from the list's folder. Other columns (those of `scan`) are ignored. A row
    whose `skip` holds a word is left out, unless it is a word for no. See `wsi_pipeline.tables` for
    the dialects that are read.

    Raises
    ------
    ConfigError
        Where the file cannot be read, or has no column `slide`.
    """
    table = _likeliest(path)
    if "slide" not in table.columns:
        raise ConfigError(
            f"{path} has no column 'slide' (columns: {', '.join(table.columns) or 'none'})",
            "The first line names the columns: slide, mpp_x, mpp_y, id, skip",
        )
    return [
        _entry(path, row)
        for row in table.rows
        if not is_unknown(row.cells["slide"]) and not is_yes(row.cells.get("skip", ""))
    ]


def _likeliest(path: Path) -> Table:
    """Return the table in the encoding in which most of its slides are there."""
    tables = list(read_tables(path))
    if len(tables) == 1:
        return tables[0]

    def n_found(table: Table) -> int:
        texts = (row.cells.get("slide", "") for row in table.rows)
        return sum(is_there(find_named(path.parent, text)) for text in texts if text)

    return max(tables, key=n_found)


def _entry(path: Path, row: Row) -> SlideEntry:
    text, origin = row.cells["slide"], f"{path.name}, line {row.line}"
    slide = find_named(path.parent, text)
    stem = PureWindowsPath(text).stem if is_windows_path(text) else slide.stem
    stated = row.cells.get("id", "")
    has_own_id = not is_unknown(stated)
    slide_id = folder_name(stated if has_own_id else stem)
    if has_own_id and slide_id != stated:
        logger.warning("%s: the id %r cannot be a folder's name: %r", origin, stated, slide_id)
    problems = [_WINDOWS.format(text)] if is_windows_path(text) else []
    override = _override(row.cells, problems)
    if row.n_extra:  # then no cell is surely of its column
        problems = [_EXTRA.format(row.n_extra)]
    problem = f"{origin}: {'; '.join(problems)}" if problems else ""
    return SlideEntry(slide_id, slide.absolute(), override, problem, origin, has_own_id)


def _override(cells: Mapping[str, str], problems: list[str]) -> Mpp | None:
    x, y = (_mpp(cells, name, problems) for name in ("mpp_x", "mpp_y"))
    return Mpp(x or y or 1.0, y or x or 1.0) if x or y else None


def _mpp(cells: Mapping[str, str], name: str, problems: list[str]) -> float | None:
    text = cells.get(name, "")
    if is_unknown(text):
        return None
    try:
        value = number(text)
    except ValueError:
        value = 0.0
    if not _MPP_RANGE[0] <= value <= _MPP_RANGE[1]:
        problems.append(f"{name} is {text!r}; give µm/px, e.g. 0.25")
        return None
    return value
