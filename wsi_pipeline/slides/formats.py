"""What a file that is no readable slide is, and which tool converts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEAD_BYTES: Final = 4096
"""As much of a file is read to tell what it is."""

TO_TIFF: Final = "Convert it to a tiled pyramidal TIFF with QuPath or Bio-Formats (bfconvert)"
VIPS: Final = (
    "Convert it: vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg (QuPath does it too)"
)
_BY_SCANNER: Final = "Export it as SVS or pyramidal TIFF with the scanner's own software"


@dataclass(frozen=True, slots=True)
class Known:
    """A kind of file by its name, with what to do about it."""

    what: str
    """With its article: "a PDF document"."""
    advice: str


UNREADABLE: Final[Mapping[str, Known]] = {
    ".afi": Known("an Aperio fluorescence index", "The classifier needs a slide in bright field"),
    ".dzi": Known("a Deep Zoom picture", VIPS),
    ".ecw": Known("an ECW picture", VIPS),
    ".eslide": Known("an eSlide file", _BY_SCANNER),
    ".ets": Known("a part of an Olympus/Evident VSI slide", TO_TIFF),
    ".i2syntax": Known("a Philips iSyntax slide", "Export it as TIFF from the Philips software"),
    ".ims": Known("an Imaris file", TO_TIFF),
    ".isyntax": Known(
        "a Philips iSyntax slide",
        "Export it as TIFF from the Philips software, or use isyntax2raw and raw2ometiff",
    ),
    ".j2k": Known("a JPEG 2000 picture", VIPS),
    ".jp2": Known("a JPEG 2000 picture", VIPS),
    ".jpf": Known("a JPEG 2000 picture", VIPS),
    ".jpx": Known("a JPEG 2000 picture", VIPS),
    ".jxl": Known("a JPEG XL picture", VIPS),
    ".jxr": Known("a JPEG XR picture", TO_TIFF),
    ".kfb": Known("a KFBIO slide", "Export it as SVS or TIFF with KFBIO's own converter"),
    ".kfbf": Known("a KFBIO slide", "Export it as SVS or TIFF with KFBIO's own converter"),
    ".lif": Known("a Leica LAS file", TO_TIFF),
    ".lof": Known("a Leica LAS file", TO_TIFF),
    ".lsm": Known("a Zeiss LSM file", "It is of a confocal microscope, not in bright field"),
    ".mds": Known("a Motic slide", "Export it as SVS or TIFF with Motic's DSAssistant"),
    ".mdsx": Known("a Motic slide", "Export it as SVS or TIFF with Motic's DSAssistant"),
    ".nd2": Known("a Nikon ND2 file", TO_TIFF),
    ".oib": Known("an Olympus file", TO_TIFF),
    ".oif": Known("an Olympus file", TO_TIFF),
    ".oir": Known("an Olympus file", TO_TIFF),
    ".rts": Known("a slide of another scanner", _BY_SCANNER),
    ".sdpc": Known("a Sqray (TEKSQRAY) slide", "Export it as SVS or TIFF with Sqray's software"),
    ".szi": Known("a Smart Zoom picture", VIPS),
    ".tmap": Known("a UNIC slide", _BY_SCANNER),
    ".tron": Known("a 3DHISTECH/Triton slide", _BY_SCANNER),
    ".vmic": Known("a PreciPoint slide", _BY_SCANNER),
    ".vsi": Known("an Olympus/Evident VSI slide", TO_TIFF),
    ".webp": Known("a WebP picture", VIPS),
    ".zvi": Known("a Zeiss ZVI slide", TO_TIFF),
}
"""By the suffix, in lower case: slides and large pictures that nothing here reads."""

_UNPACK: Final = "Unpack it first"
_COPY_AGAIN: Final = "Copy it again"
_MAGIC: Final[tuple[tuple[int, bytes, Known], ...]] = (
    (0, b"%PDF", Known("a PDF document", "Name the slide that belongs to it")),
    (0, b"PK\x03\x04", Known("a ZIP archive", _UNPACK)),
    (0, b"\x1f\x8b", Known("a gzip archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Known("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Known("a RAR archive", _UNPACK)),
    (0, b"\xfd7zXZ\x00", Known("an XZ archive", _UNPACK)),
    (0, b"BZh", Known("a bzip2 archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Known("a Zstandard archive", _UNPACK)),
    (257, b"ustar", Known("a TAR archive", _UNPACK)),
    (0, b"ZISRAWFILE", Known("a Zeiss CZI of a kind that OpenSlide does not read", TO_TIFF)),
    (4, b"jP  ", UNREADABLE[".jp2"]),
    (0, b"\xff\x4f\xff\x51", UNREADABLE[".j2k"]),
    (4, b"JXL ", UNREADABLE[".jxl"]),
    (0, b"\xff\x0a", UNREADABLE[".jxl"]),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Known("an OLE file (Zeiss ZVI, Office ...)", TO_TIFF)),
    (0, b"\x89HDF\r\n\x1a\n", Known("an HDF5 file", TO_TIFF)),
    (0, b"SQLite format 3\0", Known("an SQLite database that is no slide", _BY_SCANNER)),
    (0, b"version https://git-lfs", Known("a Git LFS pointer", "Fetch the file: git lfs pull")),
    (0, b"<!DOCTYPE html", Known("a web page, as a failed download leaves", "Download it again")),
    (0, b"<!doctype html", Known("a web page, as a failed download leaves", "Download it again")),
    (0, b"<html", Known("a web page, as a failed download leaves", "Download it again")),
)
_TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_CODECS: Final[Mapping[int, str]] = {
    22610: "JPEG XR",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34927: "WebP",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


def read_head(path: Path) -> bytes:
    """Return the first 4 KiB of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def is_tiff(head: bytes) -> bool:
    """Tell whether a file begins as a TIFF or BigTIFF does."""
    return head[:4] in _TIFF_MAGIC


def is_dicom(head: bytes) -> bool:
    """Tell whether a file begins as a DICOM object does (PS3.10: "DICM" after 128 bytes)."""
    return head[128:132] == b"DICM"


def known_by_content(head: bytes) -> Known | None:
    """Return what a file is by its first bytes, None where they tell nothing."""
    for start, magic, known in _MAGIC:
        if head[start : start + len(magic)] == magic:
            return known
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return UNREADABLE[".webp"]
    if head[4:8] == b"ftyp":
        return Known("an HEIC, AVIF or video file", "Export it as PNG or TIFF")
    if head and not head.strip(b"\0"):
        return Known("filled with zeros, as a copy that was never finished", _COPY_AGAIN)
    return None


def known_by_name(path: Path) -> Known | None:
    """Return which unreadable format a file is of by its suffix, None for others."""
    return UNREADABLE.get(path.suffix.strip().lower())


def codec_name(compression: int) -> str | None:
    """Return what the tiles of a TIFF are packed with where OpenSlide does not unpack it."""
    return _TIFF_CODECS.get(compression)
