"""Labelled patches in memory; the folder layout of the public IDC archive."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsi_pipeline.errors import DatasetError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.names import is_hidden
from wsi_pipeline.slides import IMAGE_FORMATS, IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

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
    sides: NDArray[np.str_] | None = None
    """Shape (N,): "train", "validation" or "test" where the data set's own folders say so."""
    targets: NDArray[np.float32] | None = None
    """float32, shape (N,): what training aims at, 0 to 1; None = the labels."""

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, keep: NDArray[np.bool_]) -> PatchDataset:
        """Return the patches where `keep` is true."""
        indices = np.flatnonzero(keep)
        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            patients=self.patients[indices],
            files=tuple(self.files[i] for i in indices),
            positions=self.positions[indices],
            sides=None if self.sides is None else self.sides[indices],
            targets=None if self.targets is None else self.targets[indices],
        )

    def of_patients(self, patients: Sequence[str]) -> PatchDataset:
        """Return the patches of these patients."""
        return self.subset(np.isin(self.patients, list(patients)))

    def sample(self, per_patient: int, rng: np.random.Generator) -> PatchDataset:
        """Return at most so many patches of each patient, drawn at random; 0 = all."""
        keep = np.zeros(len(self), bool)
        for patient in np.unique(self.patients):
            members = rng.permutation(np.flatnonzero(self.patients == patient))
            keep[members[: per_patient or len(members)]] = True
        return self.subset(keep)


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An image file with what its place, its name or a table says of it."""

    path: Path
    name: str
    """Relative to the data set's folder."""
    label: int
    patient: str
    """"" where unknown."""
    position: tuple[int, int] = (-1, -1)
    side: str = ""


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
        if path.parent.name in ("0", "1")
        and path.suffix.lower() in IMAGE_SUFFIXES
        and not is_hidden(path.relative_to(folder))
    )
    if not paths:
        raise DatasetError(
            f"{folder} holds no patches in the layout PATIENT/0|1/*.png",
            "Point to the folder that holds the patient folders of the IDC archive",
        )
    problems: dict[str, list[str]] = {}
    entries = [_archive_file(path, folder, problems) for path in paths]
    return load_patches(folder, entries, patch_px, problems)


def load_patches(
    folder: Path,
    entries: Sequence[LabelledFile],
    patch_px: int,
    problems: dict[str, list[str]],
    *,
    reduce_larger: bool = False,
) -> PatchDataset:
    """Read the files of a data set, each as a patch of `patch_px`.

    Parameters
    ----------
    folder : Path
        The data set, for messages.
    entries : sequence of LabelledFile
    patch_px : int
        Side of the patches.
    problems : dict
        What was met so far, by kind; what is met here is added.
    reduce_larger : bool
        Reduce larger images to the side by area averaging; otherwise they are left out.

    Raises
    ------
    DatasetError
        Where none of the files can be read.
    """
    with ThreadPoolExecutor() as pool:
        pictures = list(
            pool.map(lambda e: _read_patch(e.path, patch_px, reduce_larger=reduce_larger), entries)
        )
    kept = []
    for entry, (image, problem) in zip(entries, pictures, strict=True):
        if problem:
            problems.setdefault(problem, []).append(entry.name)
        if image is not None:
            kept.append((entry, image))
    if not kept:
        raise DatasetError(
            f"none of the {len(entries)} patches of {folder} can be read",
            "; ".join(f"{kind}: {len(names)}" for kind, names in problems.items()),
        )
    files = [entry for entry, _ in kept]
    _report_duplicates(files, problems)
    _report_contradictions(kept, problems)
    for kind, names in problems.items():
        logger.warning("%s: %d patches, e.g. %s", kind, len(names), names[0])
    sides = np.array([entry.side for entry in files])
    return PatchDataset(
        np.stack([image for _, image in kept]),
        np.array([entry.label for entry in files], np.int8),
        np.array([entry.patient for entry in files]),
        tuple(entry.name for entry in files),
        np.array([entry.position for entry in files], np.int32),
        problems,
        sides if (sides != "").all() else None,
    )


def _archive_file(path: Path, folder: Path, problems: dict[str, list[str]]) -> LabelledFile:
    """Take the label from the folder and the position from the name."""
    label, patient = int(path.parent.name), path.parent.parent.name
    name = path.relative_to(folder).as_posix()
    match = ARCHIVE_NAME.search(path.name)
    if match is None:
        return LabelledFile(path, name, label, patient)
    if int(match["label"]) != label:
        problems.setdefault("folder and name contradict each other (folder taken)", []).append(name)
    return LabelledFile(path, name, label, patient, (int(match["x"]), int(match["y"])))


def _read_patch(path: Path, patch_px: int, *, reduce_larger: bool) -> tuple[RgbArray | None, str]:
    """Return the patch (None where unusable) and the problem met, if any."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as picture:
            rgb = picture.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None, "unreadable, left out"
    if rgb.size == (patch_px, patch_px):
        return np.asarray(rgb), ""
    problem = ""
    if max(rgb.size) > patch_px:
        if not reduce_larger:
            return None, f"larger than {patch_px} px, left out"
        rgb, problem = _reduced(rgb, patch_px), f"larger, reduced to {patch_px} px"
    if rgb.size != (patch_px, patch_px):
        problem = "smaller, padded with white"
    margin = ((0, patch_px - rgb.height), (0, patch_px - rgb.width), (0, 0))
    return np.pad(np.asarray(rgb), margin, constant_values=255), problem


def _reduced(rgb: Image.Image, patch_px: int) -> Image.Image:
    """Cut the central square out and reduce it by area averaging."""
    side = max(patch_px, min(rgb.size))
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    box = (max(left, 0), max(top, 0), min(left + side, rgb.width), min(top + side, rgb.height))
    square = rgb.crop(box)
    return square if side == patch_px else square.resize((patch_px, patch_px), Image.Resampling.BOX)


def _report_contradictions(
    kept: Sequence[tuple[LabelledFile, RgbArray]], problems: dict[str, list[str]]
) -> None:
    """Name the pictures that stand under both labels, pixel for pixel the same."""
    labels: dict[bytes, set[int]] = {}
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for _, image in kept]
    for (entry, _), digest in zip(kept, digests, strict=True):
        labels.setdefault(digest, set()).add(entry.label)
    both = [
        entry.name
        for (entry, _), digest in zip(kept, digests, strict=True)
        if len(labels[digest]) > 1
    ]
    if both:
        problems["the same picture under both labels (all kept)"] = both


def _report_duplicates(files: Sequence[LabelledFile], problems: dict[str, list[str]]) -> None:
    names = Counter(Path(entry.name).name for entry in files)
    twice = sorted(name for name, n in names.items() if n > 1)
    if twice:
        problems["the same name more than once (all kept)"] = twice
