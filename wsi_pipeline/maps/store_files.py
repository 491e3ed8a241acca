"""The files of a stored map, taken into memory once and looked through before Zarr sees them.

A Zarr store can name codecs that run code (numcodecs' `pickle`), arrays that need more memory than
the machine has, or metadata for one reader and other metadata for another. Only what this program
writes itself is therefore let through, by name: kinds of values, codecs, shapes; no consolidated
metadata, no filters, no links. What was looked at is what is opened: the store is then in memory.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsi_pipeline.files import parse_json, read_below

OPTIONAL_LAYERS: Final = ("raw", "uncertainty", "quality", "estimated", "patches", "familiarity")
"""Arrays of the map's shape that not every map has."""
MASK: Final = "mask"
"""Array of the tissue mask, finer than the map; how it lies stands in our attributes."""
LAYERS: Final = ("0", "tissue", *OPTIONAL_LAYERS, MASK)
MOST_CELLS: Final = 32 * 2**20
"""Of a layer: a whole-mount slide of 80 x 60 mm in cells of 12 µm."""
MOST_CHUNK_CELLS: Final = 4096 * 4096
MOST_METADATA_BYTES: Final = 16 * 2**20
MOST_STORE_BYTES: Final = 512 * 2**20
_ITEM_BYTES: Final = {"<f4": 4, "|u1": 1, "float32": 4, "uint8": 1}
_V2_TYPES: Final = frozenset({"<f4", "|u1"})
_V3_TYPES: Final = frozenset({"float32", "uint8"})
_COMPRESSORS: Final = frozenset({"blosc", "zstd", "zlib", "gzip"})
_BLOSC_HEADER_BYTES: Final = 16
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_METADATA: Final = (".zgroup", ".zattrs", "zarr.json")
_LAYER_METADATA: Final = (".zarray", ".zattrs", "zarr.json")


class UnexpectedStoreError(ValueError):
    """A store that this program would not have written; the text says what is in it."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """How one array lies in the store."""

    stem: str
    """Before the indices of a chunk's name."""
    separator: str
    """Between them."""
    shape: list[int]
    chunks: list[int]
    item_bytes: int
    compressor: str | None

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk, unpacked; those at the edges are as large."""
        return math.prod(self.chunks) * self.item_bytes

    @property
    def chunk_names(self) -> list[str]:
        """Where the chunks lie in the store."""
        rows, cols = (math.ceil(s / c) for s, c in zip(self.shape, self.chunks, strict=True))
        return [f"{self.stem}{r}{self.separator}{c}" for r in range(rows) for c in range(cols)]


def read_store(path: Path, root: Path | None = None) -> dict[str, bytes]:
    """Return the files of a stored map by their place in it, checked.

    Parameters
    ----------
    path : Path
        The `probability.zarr` folder.
    root : Path, optional
        A folder above it that others may write to: nothing between may be a link.

    Raises
    ------
    UnexpectedStoreError
        Where the store holds anything but arrays of numbers in two dimensions of a plain codec, or
        more than a map can have.
    OSError
        Where a file cannot be read, or is a link.
    """
    root = path if root is None else root
    files = _present(path, _METADATA, root)
    _check_group(files)
    for layer in LAYERS:
        found = _present(path, [f"{layer}/{name}" for name in _LAYER_METADATA], root)
        if found:
            files |= found
            _take_chunks(path, _layer(layer, found), files, root)
    return files


def _present(path: Path, names: Any, root: Path) -> dict[str, bytes]:
    """Return those of the metadata files that are there."""
    found = {}
    for name in names:
        try:
            found[name] = read_below(path / name, root=root, most_bytes=MOST_METADATA_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return found


def _take_chunks(path: Path, layer: _Layer, files: dict[str, bytes], root: Path) -> None:
    left = MOST_STORE_BYTES - sum(map(len, files.values()))
    for name in layer.chunk_names:
        try:
            data = read_below(path / name, root=root, most_bytes=left)
        except FileNotFoundError:
            raise UnexpectedStoreError(f"a part of it is missing ({name})") from None
        unpacked = _unpacked_bytes(data, layer.compressor, layer.chunk_bytes)
        if unpacked is not None and unpacked != layer.chunk_bytes:
            raise UnexpectedStoreError(
                f"{name} states {unpacked} bytes, a chunk of its layer has {layer.chunk_bytes}"
            )
        files[name] = data
        left -= len(data)


def _unpacked_bytes(data: bytes, compressor: str | None, most: int) -> int | None:
    """Return the bytes that a chunk says it unpacks to; None where a decoder will refuse it."""
    if compressor is None:
        return len(data)
    if compressor == "blosc":
        is_whole = len(data) >= _BLOSC_HEADER_BYTES
        return int.from_bytes(data[4:8], "little") if is_whole else None
    if compressor == "zstd":
        return _zstd_bytes(data)
    try:
        return len(zlib.decompressobj(wbits=47).decompress(data, most + 1))
    except zlib.error:
        return None


def _zstd_bytes(data: bytes) -> int | None:
    """Return the content size of a Zstandard frame (RFC 8878, 3.1.1.1), -1 where it states none."""
    if data[:4] != _ZSTD_MAGIC or len(data) < 6:
        return None
    descriptor = data[4]
    is_single, size_flag = bool(descriptor & 0x20), descriptor >> 6
    start = 5 + (not is_single) + (0, 1, 2, 4)[descriptor & 3]
    n_bytes = (int(is_single), 2, 4, 8)[size_flag]
    if not n_bytes:
        return -1
    stated = int.from_bytes(data[start : start + n_bytes], "little")
    return stated + 256 if size_flag == 1 else stated


def _check_group(files: Mapping[str, bytes]) -> None:
    if "zarr.json" in files and _record("the group", files["zarr.json"]).get(
        "consolidated_metadata"
    ):
        raise UnexpectedStoreError("the group holds consolidated metadata")


def _layer(name: str, found: Mapping[str, bytes]) -> _Layer:
    """Return how a layer is stored; refuse one that this program did not write."""
    if f"{name}/zarr.json" in found:
        return _layer_v3(name, _record(name, found[f"{name}/zarr.json"]))
    if f"{name}/.zarray" in found:
        return _layer_v2(name, _record(name, found[f"{name}/.zarray"]))
    raise UnexpectedStoreError(f"layer {name} has no description")


def _layer_v2(name: str, record: dict[str, Any]) -> _Layer:
    compressor = record.get("compressor")
    codec = None if compressor is None else _member(compressor, "id")
    _allow(name, "values", record.get("dtype"), _V2_TYPES)
    if compressor is not None:
        _allow(name, "compressor", codec, _COMPRESSORS)
    if record.get("filters"):
        raise UnexpectedStoreError(f"layer {name} has filters: {_short(record['filters'])}")
    _allow(name, "order", record.get("order"), frozenset({"C", "F"}))
    separator = record.get("dimension_separator", ".")
    _allow(name, "separator", separator, frozenset({".", "/"}))
    shape, chunks = _checked_shape(name, record.get("shape"), record.get("chunks"))
    item_bytes = _ITEM_BYTES[record["dtype"]]
    return _Layer(f"{name}/", separator, shape, chunks, item_bytes, codec)


def _layer_v3(name: str, record: dict[str, Any]) -> _Layer:
    _allow(name, "values", record.get("data_type"), _V3_TYPES)
    codecs = record.get("codecs")
    codecs = [_member(c, "name") for c in codecs] if isinstance(codecs, list) else []
    if codecs[:1] != ["bytes"] or len(codecs) > 2:
        raise UnexpectedStoreError(f"layer {name} has the codecs {_short(codecs)}")
    for codec in codecs[1:]:
        _allow(name, "codec", codec, _COMPRESSORS)
    if record.get("storage_transformers"):
        raise UnexpectedStoreError(f"layer {name} has storage transformers")
    grid, key = record.get("chunk_grid"), record.get("chunk_key_encoding")
    _allow(name, "grid", _member(grid, "name"), frozenset({"regular"}))
    _allow(name, "chunk key", _member(key, "name"), frozenset({"default"}))
    separator = _member(_member(key, "configuration"), "separator") or "/"
    _allow(name, "separator", separator, frozenset({"/"}))
    chunks = _member(_member(grid, "configuration"), "chunk_shape")
    shape, chunks = _checked_shape(name, record.get("shape"), chunks)
    codec = codecs[1] if len(codecs) > 1 else None
    return _Layer(f"{name}/c/", "/", shape, chunks, _ITEM_BYTES[record["data_type"]], codec)


def _checked_shape(layer: str, shape: Any, chunks: Any) -> tuple[list[int], list[int]]:
    for name, sides, least in (("shape", shape, 0), ("chunks", chunks, 1)):
        is_plain = isinstance(sides, list) and len(sides) == 2
        if not is_plain or not all(type(side) is int and side >= least for side in sides):
            raise UnexpectedStoreError(f"layer {layer} has {name} {_short(sides)}")
    if math.prod(shape) > MOST_CELLS or max(shape) > MOST_CELLS:
        raise UnexpectedStoreError(
            f"layer {layer} has {shape[0]} x {shape[1]} cells, at most {MOST_CELLS} are read"
        )
    if math.prod(chunks) > MOST_CHUNK_CELLS:
        raise UnexpectedStoreError(
            f"layer {layer} has chunks of {chunks[0]} x {chunks[1]} cells, "
            f"at most {MOST_CHUNK_CELLS} are read"
        )
    if math.prod(math.ceil(s / c) for s, c in zip(shape, chunks, strict=True)) > MOST_CELLS // 1024:
        raise UnexpectedStoreError(f"layer {layer} has too many chunks")
    return shape, chunks


def _record(what: str, data: bytes) -> dict[str, Any]:  # unchecked: its callers check it
    record = parse_json(data)
    if not isinstance(record, dict):
        raise UnexpectedStoreError(f"the metadata of {what} are no record")
    return record


def _allow(layer: str, what: str, value: Any, allowed: frozenset[Any]) -> None:
    if not isinstance(value, str | None) or value not in allowed:
        known = ", ".join(sorted(str(name) for name in allowed if name))
        raise UnexpectedStoreError(f"layer {layer} has {what} {_short(value)}, not {known}")


def _member(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, dict) else None


def _short(value: Any) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", repr(value))[:60]
