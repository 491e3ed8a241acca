"""Tables as CSV: read as people's programs write them, written so that they open without harm.

Read are commas, semicolons, tabs and bars, Excel's ``sep=`` line, UTF-8 with and without a byte
order mark, UTF-16 and the code pages of Windows. Written is UTF-8 with commas. A cell that a
spreadsheet would take for a formula is written with an apostrophe before it and read without.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.names import VISIBLE, printable

DELIMITERS: Final = ",;\t|"
CODE_PAGES: Final = ("cp1252", "gb18030", "cp932", "cp949", "cp1251", "mac_roman")
"""What Excel saves in: on Windows of Western Europe, China, Japan, Korea, Russia; on old Macs."""
UNKNOWN_WORDS: Final = frozenset(
    {"", "nan", "na", "n/a", "#n/a", "none", "null", "nil", "-", "–", "?", "unknown"}
)
"""What people and programs write where they know nothing."""
NO_WORDS: Final = UNKNOWN_WORDS | {
    *("0", "0.0", "0,0", "no", "n", "false", "f", "off"),
    *("nein", "falsch", "non", "faux", "falso", "nee", "não", "нет", "否", "いいえ"),
}
_FORMULA_SIGNS: Final = "=+-@\t\r\n＝＋－＠"
"""A cell that begins so is a formula, or hides one (OWASP, CSV injection)."""
_FORMULA_AFTER: Final = re.compile(r"(?<=[;\t\r\n])(?=[=+@＝＋＠]|-\D)")
"""Where a spreadsheet of another delimiter would begin a cell."""
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_SEEN: Final = {code: sign for code, sign in VISIBLE.items() if chr(code) not in "\t\n"}
_TEXT_CONTROL: Final = b"\x00\t\n\r\x1a"
_MOST_CONTROL: Final = 0.05
"""Share of control characters from which a file is no text."""
_UTF16_SHARE: Final = 0.3
"""Of NUL among the bytes from which a text without a byte order mark is UTF-16."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    line: int
    """Where it ends in the file; the first line is 1."""
    cells: Mapping[str, str]
    """By the column's name; stripped, "" where the row has none."""
    n_extra: int = 0
    """Cells beyond the last column that hold something."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds."""

    columns: tuple[str, ...]
    """Names in small letters, with ``_`` between words."""
    rows: tuple[Row, ...]
    """Those that hold something."""
    encoding: str


def read_tables(path: Path) -> Iterator[Table]:
    """Yield a table as it reads in each encoding that it may be in, the likeliest first.

    A text that is UTF-8 or UTF-16 is yielded once. Any bytes are text in several code pages: who
    knows what the cells should be may choose.

    Raises
    ------
    ConfigError
        Where the file cannot be read or is no table.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path} cannot be read ({reason})", "Check its permissions") from error
    _refuse_what_is_no_text(path, data)
    for encoding, text in _texts(data):
        try:
            yield _parsed(text, encoding)
        except csv.Error as error:
            raise ConfigError(
                f"{path} cannot be read as a table ({error})", "Save it as CSV again"
            ) from error


def read_table(path: Path) -> Table:
    """Return a table in its likeliest encoding, see `read_tables`."""
    return next(read_tables(path))


def number(text: str) -> float:
    """Return a number written with a decimal point or comma.

    Raises
    ------
    ValueError
        Where it is no number, or both signs stand in it: nobody can know which is which.
    """
    if "," in text and ("." in text or text.count(",") > 1):
        raise ValueError(f"{text!r} may be two numbers")
    return float(text.replace(",", "."))


def is_unknown(text: str) -> bool:
    """Return whether a cell says that nothing is known."""
    return text.strip().casefold() in UNKNOWN_WORDS


def is_yes(text: str) -> bool:
    """Return whether a cell says yes; any word does that does not say no."""
    return text.strip().casefold() not in NO_WORDS


def csv_bytes(
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any] | Sequence[Any]],
    *,
    for_excel: bool = False,
) -> bytes:
    """Return a table as CSV in UTF-8.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of mappings by column, or of sequences in their order
        What a mapping lacks is empty, and so is None.
    for_excel : bool
        Begin with a byte order mark, without which Excel takes the text for the system's own code
        page. For lists that people edit: other programs' readers may take it for part of the first
        column's name.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [row.get(name) for name in columns] if isinstance(row, Mapping) else row
        writer.writerow([_written(cell) for cell in cells])
    mark = b"\xef\xbb\xbf" if for_excel else b""
    return mark + printable(text.getvalue()).encode()


def safe_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if not isinstance(value, str) or not value or _is_number(value):
        return value
    if value[0] in _FORMULA_SIGNS:
        value = f"'{value}"
    return _FORMULA_AFTER.sub("'", value)


def plain_cell(text: str) -> str:
    """Return what `safe_cell` has made safe."""
    is_safe = len(text) > 1 and text[0] == "'" and text[1] in _FORMULA_SIGNS
    return text[1:] if is_safe else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()


def _written(cell: Any) -> Any:
    """Return a cell as it is written: a lone carriage return would end the row for many readers."""
    cell = safe_cell(cell)
    return cell.translate(_SEEN) if isinstance(cell, str) else cell


def _refuse_what_is_no_text(path: Path, data: bytes) -> None:
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ConfigError(f"{path} is a workbook, no list", "Save it as CSV and give that")
    n_control = sum(data.count(code) for code in range(0x20) if code not in _TEXT_CONTROL)
    if n_control > _MOST_CONTROL * len(data):
        raise ConfigError(f"{path} is no text", "Give a list as CSV")


def _texts(data: bytes) -> Iterator[tuple[str, str]]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield "utf-16", data.decode("utf-16", "replace")
        return
    n_null = data.count(0)
    if n_null > _UTF16_SHARE * len(data):
        little = data[1::2].count(0) >= data[::2].count(0)
        yield "utf-16", data.decode("utf-16-le" if little else "utf-16-be", "replace")
        return
    readings = [(page, _decoded(data, page)) for page in ("utf-8-sig", *CODE_PAGES)]
    known = [(page, text) for page, text in readings if text is not None]
    if known and known[0][0] == "utf-8-sig":
        known = known[:1]
    yield from known or [("utf-8", data.decode("utf-8", "replace"))]


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _parsed(text: str, encoding: str) -> Table:
    lines = text.split("\n", 1)
    skipped, delimiter = 0, ""
    sep = _SEP_LINE.fullmatch(lines[0].strip("\r"))
    if sep:
        skipped, delimiter, text = 1, sep[1], lines[1] if len(lines) > 1 else ""
    delimiter = delimiter or _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = tuple(_column(name) for name in next(reader, []))
    rows = []
    for cells in reader:
        values = [_cell(cell) for cell in cells]
        if any(values):
            named = dict.fromkeys(columns, "") | dict(zip(columns, values, strict=False))
            n_extra = sum(map(bool, values[len(columns) :]))
            rows.append(Row(reader.line_num + skipped, named, n_extra))
    return Table(columns, tuple(rows), encoding)


def _delimiter(text: str) -> str:
    """Return what parts the first line into most cells."""

    def n_cells(delimiter: str) -> int:
        return len(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), []))

    return max(DELIMITERS, key=n_cells)


def _column(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", _cell(name).casefold())


def _cell(text: str) -> str:
    """Return a cell without what surrounds it; control characters within become visible signs."""
    inner = text.strip("\x00\x1a \t\r\n\ufeff\u00a0")
    return plain_cell(inner).translate(VISIBLE)
