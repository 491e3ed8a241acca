"""Labelled patches as users have them: the folder layout of the public IDC archive."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsi_pipeline.errors import DatasetError
from wsi_pipeline.geometry import RgbArray

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
ARCHIVE_NAME = re.compile(r"_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>[01])\.", re.IGNORECASE)
"""Names of the archive: 1-based pixel position on the slide at 8 µm/px, and the label again."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchDataset:
    """Patches in memory with their labels and where they come from."""

    images: RgbArray
    """uint8, shape (N, side, side, 3)."""
    labels: NDArray[np.int8]
    """int8, shape (N,): 1 = IDC."""
    patients: NDArray[np.str_]
    """Shape (N,)."""
    files: tuple[str, ...]
    """Relative to the data set's folder."""
    positions: NDArray[np.int32]
    """int32, shape (N, 2): x, y as in the name (1-based pixels at 8 µm/px), -1 where unknown."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """What was met on the way, by kind: the files concerned."""

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, keep: NDArray[np.bool_]) -> PatchDataset:
        """Return the patches where `keep` is true."""
        indices = np.flatnonzero(keep)
        return PatchDataset(
            self.images[indices],
            self.labels[indices],
            self.patients[indices],
            tuple(self.files[i] for i in indices),
            self.positions[indices],
            self.problems,
        )

    def of_patients(self, patients: Sequence[str]) -> PatchDataset:
        """Return the patches of these patients."""
        return self.subset(np.isin(self.patients, list(patients)))


def read_archive_folder(folder: Path, patch_px: int) -> PatchDataset:
    """Read every patch of ``PATIENT/0|1/*.png``, at any depth below `folder`.

    Smaller patches (the archive has some at slide edges) are padded with white glass at the right
    and the bottom. Files that cannot be used are listed in `problems`, never dropped in silence.

    Raises
    ------
    DatasetError
        Where the folder holds no labelled patch at all.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.parent.name in ("0", "1") and path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not paths:
        raise DatasetError(
            f"{folder} holds no patches in the layout PATIENT/0|1/*.png",
            "Point to the folder that holds the patient folders of the IDC archive",
        )
    problems: dict[str, list[str]] = {}
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda path: _read_patch(path, patch_px), paths))
    rows = []
    for path, (image, problem) in zip(paths, pictures, strict=True):
        name = path.relative_to(folder).as_posix()
        if problem:
            problems.setdefault(problem, []).append(name)
        if image is not None:
            rows.append((image, *_facts(path, problems, name), path.parent.parent.name, name))
    if not rows:
        raise DatasetError(
            f"none of the {len(paths)} patches of {folder} can be read", str(problems)
        )
    _report_duplicates(rows, problems)
    for kind, names in problems.items():
        logger.warning("%s: %d patches, e.g. %s", kind, len(names), names[0])
    images, labels, positions, patients, files = zip(*rows, strict=True)
    return PatchDataset(
        np.stack(images),
        np.array(labels, np.int8),
        np.array(patients),
        tuple(files),
        np.array(positions, np.int32),
        problems,
    )


def _read_patch(path: Path, patch_px: int) -> tuple[RgbArray | None, str]:
    """Return the patch (None where unusable) and the problem met, if any."""
    try:
        with Image.open(path) as picture:
            image = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None, "unreadable, left out"
    height, width = image.shape[:2]
    if (height, width) == (patch_px, patch_px):
        return image, ""
    if height > patch_px or width > patch_px:
        return None, f"larger than {patch_px} px, left out"
    margin = ((0, patch_px - height), (0, patch_px - width), (0, 0))
    return np.pad(image, margin, constant_values=255), "smaller, padded with white"


def _facts(path: Path, problems: dict[str, list[str]], name: str) -> tuple[int, tuple[int, int]]:
    """Return the label (the folder's) and the position (the name's)."""
    label = int(path.parent.name)
    match = ARCHIVE_NAME.search(path.name)
    if match is None:
        return label, (-1, -1)
    if int(match["label"]) != label:
        problems.setdefault("folder and name contradict each other (folder taken)", []).append(name)
    return label, (int(match["x"]), int(match["y"]))


def _report_duplicates(rows: Sequence[tuple[object, ...]], problems: dict[str, list[str]]) -> None:
    stems = Counter(Path(str(row[-1])).name for row in rows)
    twice = sorted(name for name, n in stems.items() if n > 1)
    if twice:
        problems["the same name more than once (all kept)"] = twice
