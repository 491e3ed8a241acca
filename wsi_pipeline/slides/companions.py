"""The files that a slide's index names: beside it, nowhere else.

A MIRAX slide is a folder of files listed in its Slidedat.ini, a Hamamatsu VMS or VMU slide the JPEG
files that its index names. An index that names a file elsewhere would show that one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from wsi_pipeline.errors import SlideOpenError

MOST_INDEX_BYTES: Final = 16 * 2**20
_FLAGS: Final = re.IGNORECASE | re.MULTILINE
_MIRAX_FILE: Final = re.compile(r"^[ \t]*(?:FILE_\d+|INDEXFILE)[ \t]*=([^\r\n]*)", _FLAGS)
_HAMAMATSU_FILE: Final = re.compile(
    r"^[ \t]*\w*(?:Image|Map|Macro|Optimisation)File[^=\r\n]*=([^\r\n]*)", _FLAGS
)


def check_companions(path: Path) -> None:
    """Refuse a slide whose index names files outside its own folder.

    Raises
    ------
    SlideOpenError
        With the name that leads elsewhere.
    """
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        _check_names(path, path.with_suffix(""), _MIRAX_FILE, path.with_suffix("") / "Slidedat.ini")
    elif suffix in {".vms", ".vmu"}:
        _check_names(path, path.parent, _HAMAMATSU_FILE, path)


def _check_names(path: Path, folder: Path, names: re.Pattern[str], index: Path) -> None:
    try:
        with index.open("rb") as file:
            text = file.read(MOST_INDEX_BYTES + 1).decode("utf-8", "replace")
    except OSError:  # the reader says what is missing
        return
    if len(text) > MOST_INDEX_BYTES:
        raise SlideOpenError(f"{path.name}: its index {index.name} is too large", "Copy it again")
    for found in names.finditer(text):
        name = found.group(1).strip()
        if name and not _is_beside(folder, name):
            raise SlideOpenError(
                f"{path.name}: its index names {name[:80]!r}, which is outside its folder",
                "Copy the slide again, with all files that belong to it",
            )


def _is_beside(folder: Path, name: str) -> bool:
    """Tell whether a name is that of a file in a folder, links included."""
    if re.search(r"[/\\:\0]", name) or name in (".", ".."):
        return False
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False
