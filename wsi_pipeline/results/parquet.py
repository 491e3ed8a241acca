"""summary.parquet: the table for programs, with types, which summary.csv cannot have."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Any, Final

from wsi_pipeline.errors import ConfigError

TEXT: Final = frozenset(
    {"slide_id", "state", "slide", "scanner", "scan_date", "scan_date_source", "mpp_source"}
    | {"familiar", "duplicate_of", "notes", "stage", "error", "advice"}
)
COUNTS: Final = frozenset({"regions", "patches", "patches_lost"})
"""All other columns are figures (float64). A column has its type also where nothing is known."""


def check_parquet() -> None:
    """Refuse early what could not be written in the end.

    Raises
    ------
    ConfigError
        Where pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(
            "`parquet: true` needs the package pyarrow", "pip install 'wsi-pipeline[parquet]'"
        )


def parquet_bytes(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    """Return the rows as a Parquet file; what is not known is null."""
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    kinds = {
        **dict.fromkeys(columns, arrow.float64()),
        **dict.fromkeys(COUNTS, arrow.int64()),
        **dict.fromkeys(TEXT, arrow.string()),
    }
    schema = arrow.schema([(name, kinds[name]) for name in columns])
    buffer = io.BytesIO()
    table = arrow.Table.from_pylist(list(rows), schema=schema)
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
