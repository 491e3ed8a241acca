"""What a file below an input folder is: by its name, and where that tells nothing by its head.

Read of each: nothing where the suffix tells; else the first 4 KiB, of a TIFF the first directory
and 4 KiB of its description, of a DICOM object the header. The size of the file plays no part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from wsi_pipeline.export.dicom import MANUFACTURER
from wsi_pipeline.export.ome_tiff import NAME_START
from wsi_pipeline.slides import SLIDE_SUFFIXES
from wsi_pipeline.slides.dicom_header import read_dicom_header
from wsi_pipeline.slides.formats import (
    HEAD_BYTES,
    is_dicom,
    is_tiff,
    known_by_content,
    known_by_name,
)
from wsi_pipeline.slides.tiff_head import TiffHead, read_tiff_head


class Role(StrEnum):
    """What a file is to a run."""

    SLIDE = "slide"
    PART = "part of a slide"
    OWN = "own result"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file, or a folder with all below it, and what became of it."""

    path: Path
    role: Role
    reason: str = ""
    """Why it is no slide, in the few words that files are counted by."""
    detail: str = ""
    """What it is more exactly."""
    advice: str = ""
    series: str = ""
    """SeriesInstanceUID of a DICOM slide."""


TIFF_SUFFIXES: Final = frozenset({".tif", ".tiff", ".btf", ".tf2", ".tf8", ".qptiff"})
COPYING: Final = frozenset(
    {".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".tmp", ".temp"}
)
PACKED: Final = frozenset(
    {".gz", ".zip", ".7z", ".rar", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".lz4"}
)
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".heic", ".heif", ".avif"})
NO_SLIDES: Final = frozenset(
    {".txt", ".csv", ".tsv", ".xml", ".json", ".geojson", ".jsonl", ".html", ".htm", ".md", ".log"}
    | {".yaml", ".yml", ".ini", ".db", ".xlsx", ".xls", ".docx", ".doc", ".pdf", ".pptx", ".lnk"}
    | {".py", ".sh", ".bat", ".groovy", ".md5", ".sha256", ".qpdata", ".qpproj", ".ndpa", ".keras"}
    | {".opt", ".npy", ".npz", ".h5", ".pt", ".pkl", ".parquet", ".js", ".css", ".svg", ".mp4"}
)
_SLIDES_BY_NAME: Final = SLIDE_SUFFIXES - TIFF_SUFFIXES - {".dcm"}
_MASK_WORDS: Final = frozenset(
    {"mask", "masks", "label", "labels", "labelmap", "annotation", "annotations", "anno", "gt"}
    | {"truth", "groundtruth", "seg", "segmentation", "segmentations"}
)
_BESIDE: Final = re.compile(
    r"(.*[^ _.()-])[ _.()-]+(?:label|macro|overview|preview|thumb|thumbnail)\)?", re.IGNORECASE
)

COPY_ADVICE: Final = "Wait until its copying ends, or copy it again"
PICTURE_ADVICE: Final = "To have it done as a slide, name the file itself"


def judge_by_head(path: Path) -> FoundFile:
    """Return what a regular file is by its first bytes."""
    try:
        return _by_head(path, path.suffix.strip().lower())
    except OSError as error:
        return FoundFile(
            path,
            Role.LEFT_OUT,
            "cannot be read",
            str(error.strerror or error),
            "Check the drive and the file's permissions",
        )


def words_of(path: Path) -> frozenset[str]:
    """Return the words of a file's stem and of its folder's name, in lower case."""
    stem = path.name.split(".", 1)[0]
    split = re.split(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z0-9])", f"{path.parent.name} {stem}")
    return frozenset(word.lower().rstrip("0123456789") for word in split if word)


def pictured_slide(path: Path) -> Path | None:
    """Return the slide, without its suffix, that a file's name says to be the label or macro of."""
    match = _BESIDE.fullmatch(path.stem)
    return path.with_name(match.group(1)) if match else None


def judge_by_name(path: Path) -> FoundFile | None:
    """Return what a regular file is by its name, None where that tells nothing."""
    suffix = path.suffix.strip().lower()
    known = known_by_name(path)
    if known is not None:
        reason = "of a format that is not read"
        return FoundFile(path, Role.LEFT_OUT, reason, known.what, known.advice)
    if suffix in COPYING or path.name.endswith("~"):
        return FoundFile(path, Role.LEFT_OUT, "copy under way", "", COPY_ADVICE)
    if suffix in PACKED:
        return FoundFile(path, Role.LEFT_OUT, "packed", "", "Unpack it first")
    if suffix in PICTURES:
        return FoundFile(path, Role.LEFT_OUT, "plain picture", "", PICTURE_ADVICE)
    if suffix in NO_SLIDES:
        return FoundFile(path, Role.LEFT_OUT, "no slide", f"a {suffix} file")
    if suffix in _SLIDES_BY_NAME:
        return FoundFile(path, Role.SLIDE)
    return None


def _by_head(path: Path, suffix: str) -> FoundFile:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if is_tiff(head):
            file.seek(0)
            return _tiff(path, suffix, read_tiff_head(file))
    if is_dicom(head):
        return _dicom(path, suffix)
    if suffix in TIFF_SUFFIXES or suffix == ".dcm":
        return FoundFile(path, Role.SLIDE)  # what is wrong with it is said when it is opened
    known = known_by_content(head)
    if head.startswith(b"ZISRAWFILE"):
        return FoundFile(path, Role.SLIDE)
    by_suffix = f"a {suffix} file" if suffix else "no suffix, no known content"
    return FoundFile(path, Role.LEFT_OUT, "no slide", known.what if known else by_suffix)


def _tiff(path: Path, suffix: str, head: TiffHead | None) -> FoundFile:
    if head is None:
        role = Role.SLIDE if suffix in TIFF_SUFFIXES else Role.LEFT_OUT
        reason = "" if role is Role.SLIDE else "no slide"
        return FoundFile(path, role, reason, "a damaged TIFF" if reason else "")
    if NAME_START in head.description:
        return FoundFile(path, Role.OWN, "own result", "an exported map")
    if head.is_colorless and words_of(path) & _MASK_WORDS:
        return FoundFile(
            path,
            Role.LEFT_OUT,
            "label mask",
            "gray or of a palette, and named as a mask",
            "Masks of tissue are given with --mask",
        )
    if suffix in TIFF_SUFFIXES or head.is_tiled:
        return FoundFile(path, Role.SLIDE)
    return FoundFile(path, Role.LEFT_OUT, "plain picture", "a TIFF without tiles", PICTURE_ADVICE)


def _dicom(path: Path, suffix: str) -> FoundFile:
    header = read_dicom_header(path)
    if header is None:
        return FoundFile(path, Role.SLIDE if suffix == ".dcm" else Role.LEFT_OUT, "damaged DICOM")
    if header.is_slide:
        return FoundFile(path, Role.SLIDE, series=header.series)
    if header.manufacturer == MANUFACTURER:
        return FoundFile(path, Role.OWN, "own result", "an exported DICOM object")
    kind = header.sop_class_name.removesuffix(" Storage")
    return FoundFile(path, Role.LEFT_OUT, "DICOM object of another kind", kind)


def as_part(found: FoundFile, of: Path) -> FoundFile:
    """Return a file as a part of the slide that is named by another."""
    return replace(found, role=Role.PART, reason="part of a slide", detail=f"of {of.name}")
