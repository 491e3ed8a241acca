"""What a run of this program has left below an input folder: no slides."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wsi_pipeline.results.layout import (
    GALLERY_NAME,
    PAGE_NAME,
    PARQUET_NAME,
    REGISTRY_NAME,
    RUN_RECORD_NAME,
    RUNS_NAME,
    STATUS_NAME,
    SUMMARY_NAME,
)

_HEAD_BYTES: Final = 8192
_OUTPUT_FILES: Final = frozenset(
    {RUN_RECORD_NAME, REGISTRY_NAME, SUMMARY_NAME, PARQUET_NAME, PAGE_NAME}
    | {"drift.csv", "stain_reference.json"}
)


def is_own_folder(path: Path) -> bool:
    """Tell whether a folder holds the results of one slide, or belongs to an output folder."""
    if _begins_with(path / STATUS_NAME, b'"state"'):
        return True
    return path.name in (RUNS_NAME, GALLERY_NAME) and _is_output_folder(path.parent)


def is_own_file(path: Path) -> bool:
    """Tell whether a file is one of those that a run leaves in its output folder."""
    return path.name in _OUTPUT_FILES and _is_output_folder(path.parent)


def _is_output_folder(folder: Path) -> bool:
    return _begins_with(folder / RUN_RECORD_NAME, b'"run_id"')


def _begins_with(path: Path, words: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return words in file.read(_HEAD_BYTES)
    except OSError:
        return False
