"""index.html: the archive at a glance, from the disk, without a network.

The page is the same for every archive. It takes the rows from script files beside it, because a
page from the disk may load scripts but not fetch data. It shows fifty slides at a time, so that
100,000 are as quick to look through as ten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from wsi_pipeline.render.templates import page

FIELDS: Final = (
    "slide_id",
    "state",
    "idc_mm2",
    "idc_share",
    "tissue_mm2",
    "regions",
    "max_probability",
    "uncertainty",
    "flagged_share",
    "patches",
    "patches_lost",
    "seconds",
    "notes",
    "stage",
    "error",
    "advice",
)
"""Columns of the rows that the page is given, in this order (the page has the same list)."""
DIGITS: Final = 5
"""Significant ones of the figures in the page: it has 100,000 rows to load."""


@cache
def gallery_page() -> str:
    """Return the page."""
    return page("gallery", fields=FIELDS)


def rows_script(number: int, rows: Iterable[dict[str, Any]]) -> str:
    """Return the script file that brings some of the rows."""
    lines = ",\n".join(json.dumps([_short(row.get(name)) for name in FIELDS]) for row in rows)
    return f"addRows({number}, [\n{lines}\n]);\n"


def manifest_script(n_files: int, n_slides: int) -> str:
    """Return the script file that says how many files of rows there are."""
    return f"manifest({n_files}, {n_slides});\n"


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return None if value == "" else value
