"""One way in for all annotation files: unpacked, decoded, and read by what they hold."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from wsi_pipeline.annotations.drawing import DAMAGE, Drawing
from wsi_pipeline.annotations.geojson import read_geojson
from wsi_pipeline.annotations.xml import read_xml
from wsi_pipeline.errors import StorageError

_PLAIN: Final = (".geojson", ".json", ".xml", ".annotations", ".annotation")
ANNOTATION_SUFFIXES: Final = (*(f"{suffix}.gz" for suffix in _PLAIN), *_PLAIN, ".zip", ".gz")
"""Of the files that are read, in small letters, the longest first."""
KNOWN_KINDS: Final = (
    "GeoJSON of QuPath (.geojson, .json), XML of Aperio, HALO or ASAP (.xml, .annotations), plain "
    "or packed (.gz, .zip)"
)
OTHER_PROGRAMS: Final = {
    ".ndpa": "Hamamatsu NDP.view's: open the slide in QuPath with them and export as GeoJSON",
    ".qpdata": "QuPath's own data: in QuPath, File > Export objects as GeoJSON",
    ".qpproj": "a QuPath project: in QuPath, File > Export objects as GeoJSON",
    ".mld": "Visiopharm's: export them as XML or GeoJSON",
    ".roi": "ImageJ's: open them in QuPath and export as GeoJSON",
    ".afi": "a list of images, no annotations",
}
"""What other programs keep annotations in, with what to do about it."""
_LARGEST_BYTES: Final = 128 * 2**20
"""Of a document, unpacked."""
_MOST_VALUES: Final = 8_000_000
"""Numbers, names and elements of a document: each takes a hundred bytes once it is read."""


def read_annotations(path: Path) -> Drawing:
    """Return what is drawn in a file, by what it holds rather than by its name.

    Raises
    ------
    StorageError
        Where the file is missing, of another kind or damaged.
    """
    advice = OTHER_PROGRAMS.get(path.suffix.lower())
    if advice:
        raise StorageError(
            f"{path.name}: not read, since it is {advice}", f"Read are {KNOWN_KINDS}"
        )
    try:
        drawing = Drawing()
        for data in _unpacked(_bytes_of(path)):
            drawing.take(_read(data))
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path}: cannot be read ({reason})", f"Give {KNOWN_KINDS}") from error
    except (*DAMAGE, ET.ParseError, zlib.error, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(
            f"{path}: damaged or not what its name says ({error})", f"Give {KNOWN_KINDS}"
        ) from error
    return drawing


def annotation_stem(name: str) -> str:
    """Return a file's name without the suffixes of an annotation file."""
    for suffix in ANNOTATION_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST_BYTES + 1)


def _unpacked(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yield the documents of a file: itself, or what is packed in it."""
    if data.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            data = packed.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"more than {_LARGEST_BYTES // 2**20} MB unpacked")
    if not data.startswith(b"PK\x03\x04") or depth:  # an archive in an archive is none
        _check_values(data)
        yield data
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [one for one in archive.infolist() if _is_document(one.filename)]
        if not members:
            raise ValueError("an archive without an annotation file")
        if sum(one.file_size for one in members) > _LARGEST_BYTES:
            raise ValueError(f"more than {_LARGEST_BYTES // 2**20} MB unpacked")
        for one in members:
            yield from _unpacked(archive.read(one), depth + 1)


def _check_values(data: bytes) -> None:
    """Refuse a document of more values than can be held, before it is read."""
    if data.count(b",") + data.count(b"[") + data.count(b"<") > _MOST_VALUES:
        raise ValueError(f"more than {_MOST_VALUES // 10**6} million values")


def _is_document(name: str) -> bool:
    """Return whether a member of an archive is one; macOS packs shadows of every file too."""
    parts = name.split("/")
    is_shadow = "__MACOSX" in parts or parts[-1].startswith(".")
    return not is_shadow and parts[-1].lower().endswith(ANNOTATION_SUFFIXES[:-2])


def _read(data: bytes) -> Drawing:
    if not data.strip():
        raise ValueError("an empty file")
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16") if is_utf16 else _decoded(data)
    if text.lstrip().startswith("<"):
        return read_xml(_root(data, text))
    return read_geojson(text)


def _decoded(data: bytes) -> str:
    """Return a text; one of no Unicode encoding is taken for Western European."""
    try:
        return data.decode(json.detect_encoding(data)).lstrip("\ufeff")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _root(data: bytes, text: str) -> ET.Element:
    try:
        return ET.fromstring(data)  # noqa: S314 - expat itself refuses entity bombs
    except (ET.ParseError, ValueError):
        # An encoding that is not the one declared, or one that expat does not know.
        return ET.fromstring(text.lstrip())  # noqa: S314
