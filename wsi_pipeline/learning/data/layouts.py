"""Which files a data set holds and what they are: archive, class folders, table of labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from wsi_pipeline import tables
from wsi_pipeline.errors import ConfigError, DatasetError
from wsi_pipeline.learning.data.datasets import (
    LabelledFile,
    PatchDataset,
    load_patches,
    read_archive_folder,
)
from wsi_pipeline.names import is_hidden
from wsi_pipeline.slides import IMAGE_SUFFIXES

POSITIVE_NAMES: Final = frozenset(
    {"1", "idc", "malignant", "invasive", "tumor", "tumour", "cancer", "carcinoma", "positive"}
)
NEGATIVE_NAMES: Final = frozenset(
    {"0", "benign", "normal", "negative", "healthy", "non-idc", "non_idc", "non-tumor", "non_tumor"}
)
SIDES: Final = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Sub-folders that say on which side their images are."""
BREAKHIS_NAME: Final = re.compile(r"^SOB_[BM]_[A-Z]+-(?P<patient>\d+-\w+)-\d+-\d+$", re.IGNORECASE)
"""BreakHis (Spanhol et al. 2016): class, tumor type, year and slide, magnification, number."""

LAYOUTS: Final = (
    "PATIENT/0|1/*.png; class folders such as benign/ and malignant/, also below train/, "
    "validation/, test/; or images with a CSV table of the columns id, label"
)


def read_dataset(source: Path, patch_px: int) -> PatchDataset:
    """Read labelled patches in any of the known layouts.

    Parameters
    ----------
    source : Path
        A folder, or a CSV table beside its images.
    patch_px : int
        Side of the patches. Smaller images are padded with white, larger ones (outside the IDC
        archive's layout) are reduced; both are counted in `problems`.

    Raises
    ------
    DatasetError
        Where the folder holds no labelled patches, or a table or class name makes no sense.
    """
    if source.is_file() and source.suffix.lower() == ".csv":
        return read_table(source, patch_px)
    if not source.is_dir():
        raise DatasetError(f"there is no data set {source}", f"Known layouts: {LAYOUTS}")
    if _is_archive(source):
        return read_archive_folder(source, patch_px)
    tables = sorted(source.glob("*.csv"))
    if len(tables) == 1:
        return read_table(tables[0], patch_px)
    return read_class_folders(source, patch_px)


def read_class_folders(folder: Path, patch_px: int) -> PatchDataset:
    """Read images whose nearest folder of a class name says what they are.

    A patient is known from BreakHis file names only; elsewhere `patients` is "".
    """
    problems: dict[str, list[str]] = {}
    entries = []
    for path in _images(folder):
        name = path.relative_to(folder)
        label = _class_of(name.parts[:-1])
        if label is None:
            problems.setdefault("in no class folder, left out", []).append(name.as_posix())
            continue
        match = BREAKHIS_NAME.match(path.stem)
        patient = match["patient"] if match else ""
        side = next((SIDES[part.lower()] for part in name.parts if part.lower() in SIDES), "")
        entries.append(LabelledFile(path, name.as_posix(), label, patient, side=side))
    if len({entry.label for entry in entries}) < 2:
        found = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise DatasetError(
            f"{folder} holds no two classes of images (folders: {', '.join(found[:8]) or 'none'})",
            f"Known layouts: {LAYOUTS}",
        )
    return load_patches(folder, entries, patch_px, problems, reduce_larger=True)


def read_table(table: Path, patch_px: int) -> PatchDataset:
    """Read images by a CSV of `id`, `label` and perhaps `patient` (Kaggle, PatchCamelyon).

    An id is a file name, with or without its suffix, anywhere below the table's folder.
    """
    rows = _table_rows(table)
    by_name: dict[str, Path] = {}
    for path in _images(table.parent):
        by_name[path.name] = by_name[path.stem] = path
    problems: dict[str, list[str]] = {}
    entries: list[LabelledFile] = []
    labels: dict[str, int] = {}
    for row in rows:
        identity, label = row["id"].strip(), int(row["label"])
        image = by_name.get(Path(identity).name)
        if image is None:
            problems.setdefault("in the table without an image, left out", []).append(identity)
        elif identity in labels:
            contradicts = labels[identity] != label
            kind = "labelled twice and differently" if contradicts else "listed twice"
            problems.setdefault(f"{kind} (first label taken)", []).append(identity)
        else:
            labels[identity] = label
            name = image.relative_to(table.parent).as_posix()
            entries.append(LabelledFile(image, name, label, (row.get("patient") or "").strip()))
    unlisted = {path.name for path in by_name.values()} - {entry.path.name for entry in entries}
    if unlisted:
        problems["image without a row in the table, left out"] = sorted(unlisted)
    if not entries:
        raise DatasetError(
            f"none of the {len(rows)} rows of {table} names an image below {table.parent}",
            "Put the table beside its images; column id is the file name",
        )
    return load_patches(table.parent, entries, patch_px, problems, reduce_larger=True)


def _table_rows(table: Path) -> list[dict[str, str]]:
    try:
        read = tables.read_table(table)
    except ConfigError as error:
        raise DatasetError(f"{table} cannot be read as a table: {error}") from error
    missing = {"id", "label"} - set(read.columns)
    if missing:
        raise DatasetError(
            f"{table} lacks the columns {', '.join(sorted(missing))}",
            "A table of labels has the columns id (file name) and label (0 or 1)",
        )
    for row in read.rows:
        if row.cells["label"] not in ("0", "1"):
            raise DatasetError(
                f"{table}, line {row.line}: label is {row.cells['label']!r}",
                "Labels are 0 or 1 (1 = IDC)",
            )
    return [dict(row.cells) for row in read.rows]


def _is_archive(folder: Path) -> bool:
    """Return whether images lie in folders 0 and 1 of patients, and not of train/ or test/."""
    return any(
        path.parent.name in ("0", "1")
        and path.parent.parent != folder
        and path.parent.parent.name.lower() not in SIDES
        for path in _images(folder)
    )


def _images(folder: Path) -> Iterable[Path]:
    return (
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.relative_to(folder))
    )


def _class_of(parts: tuple[str, ...]) -> int | None:
    for part in reversed(parts):
        if part.lower() in POSITIVE_NAMES:
            return 1
        if part.lower() in NEGATIVE_NAMES:
            return 0
    return None
