"""Why a file cannot be opened, in words that fit: what it is, and which tool converts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import tifffile

from wsi_pipeline.errors import SlideOpenError
from wsi_pipeline.slides.dicom_header import read_dicom_header
from wsi_pipeline.slides.formats import (
    TO_TIFF,
    VIPS,
    Known,
    codec_name,
    is_dicom,
    is_tiff,
    known_by_content,
    known_by_name,
    read_head,
)

_UNSUPPORTED: Final = re.compile(
    r"unsupported|not supported|unrecogni[sz]ed|unknown comp", re.IGNORECASE
)
_NEEDS_COMPANIONS: Final = frozenset({".mrxs", ".vms", ".vmu", ".dcm"})


def is_unsupported(error: Exception) -> bool:
    """Tell whether OpenSlide says that it does not know a variant, rather than met damage."""
    return bool(_UNSUPPORTED.search(str(error)))


def unopened(path: Path, error: Exception) -> SlideOpenError:
    """Return the refusal of a file that OpenSlide recognizes but cannot open."""
    known = what_is(path)
    if known is not None:
        return _refusal(path, known, str(error))
    if is_unsupported(error):
        return SlideOpenError(f"{path.name} is of a variant that is not read ({error})", TO_TIFF)
    if path.suffix.lower() in _NEEDS_COMPANIONS:
        return SlideOpenError(
            f"{path.name} cannot be opened ({error})",
            "The file may be truncated or damaged, or a part of the slide missing: copy it again, "
            "with the files and folders that belong to it",
        )
    return SlideOpenError(
        f"{path.name} cannot be opened ({error})",
        "The file may be truncated or damaged: copy it again",
    )


def refuse_what_is_known(path: Path) -> None:
    """Refuse a file that is neither a slide nor a picture, by what it is.

    Raises
    ------
    SlideOpenError
        Where its first bytes or its name tell of a kind that is not read here.
    """
    known = what_is(path)
    if known is not None:
        raise _refusal(path, known)
    if path.suffix.lower() == ".mrxs":  # itself a picture of a few hundred px
        raise SlideOpenError(
            f"{path.name} is alone: the folder {path.stem} with the slide's data is missing or "
            "incomplete",
            "Copy the folder beside it, whole",
        )
    if path.suffix.lower() in (".vms", ".vmu"):
        raise SlideOpenError(
            f"{path.name} is alone: pictures that it names are missing",
            "Copy all files of the slide into one folder",
        )


def what_is(path: Path) -> Known | None:
    """Return what a file is that cannot be read here, None where nothing tells."""
    try:
        head = read_head(path)
    except OSError:
        return None
    if is_dicom(head):
        header = read_dicom_header(path)
        return header.obstacle if header else None
    if is_tiff(head):
        return _tiff_obstacle(path) or known_by_name(path)
    return known_by_content(head) or known_by_name(path)


def _refusal(path: Path, known: Known, error: str = "") -> SlideOpenError:
    said = f" ({error})" if error else ""
    return SlideOpenError(f"{path.name} is {known.what}: it cannot be opened{said}", known.advice)


def _tiff_obstacle(path: Path) -> Known | None:
    """Return what speaks against the tiles of a TIFF where its directories can be read."""
    try:
        with tifffile.TiffFile(path) as tiff:
            codes = {int(page.compression) for page in tiff.pages if page.is_tiled}
    # a damaged TIFF surfaces as any of a dozen exceptions
    except Exception:  # noqa: BLE001
        return None
    names = sorted({name for name in map(codec_name, codes) if name is not None})
    if not names:
        return None
    return Known(f"a TIFF whose tiles are {', '.join(names)}", VIPS)
