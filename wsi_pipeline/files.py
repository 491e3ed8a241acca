"""Files of an output folder: whole once they have their name, and no way out of the folder.

Writing: beside the place, under a random name that did not exist before, flushed, then renamed; a
file that has its name is whole, also after a crash or a power cut, and a link that somebody put
there is replaced, never followed.

Reading below a folder that others may write to (`root`): no step of the way may be a link, only
regular files are opened (a pipe would wait for ever), and no more is read than was expected.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from wsi_pipeline.errors import StorageError

PART_SUFFIX = ".part"
"""Of what is being written; may be left by a kill and is removed by the next run."""
MOST_JSON_BYTES: Final = 64 * 2**20
PRIVATE: Final = 0o600
OTHERS: Final = 0o007
_CAN_CLIMB: Final = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
"""Windows can neither open a file relative to an open folder nor refuse to follow a link."""
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)

FLUSHES_AT_ONCE = 8

_ADVICE = {
    errno.ENOSPC: "The disk is full: free space or choose another output folder, then run again",
    errno.EDQUOT: "Your disk quota is used up: free space or choose another output folder",
    errno.EACCES: "Check the permissions of the folder or choose another output folder",
    errno.EPERM: "Check the permissions of the folder or choose another output folder",
    errno.EMFILE: "Raise the limit of open files (ulimit -n) or use fewer workers, then run again",
    errno.EROFS: "The folder is read-only: choose another output folder",
    errno.ELOOP: "Somebody put a link where this program keeps its files: remove it",
    errno.EMLINK: "Somebody put a second name of another file there: remove it",
    errno.ENOENT: "The folder is missing or no longer reachable: create it or reconnect the drive",
}


def write_atomic(
    path: Path, data: bytes, *, flush: bool = True, root: Path | None = None, mode: int = 0o666
) -> None:
    """Write a file beside its place, flush it to the disk and rename it.

    Without `flush` a kill still leaves the old file or the new one; a power cut may take both.

    Parameters
    ----------
    root : Path, optional
        A folder above that others may write to: no folder between it and the file may be a link.
    mode : int
        Of the file, before the user's mask.

    Raises
    ------
    StorageError
        Where the folder cannot be written; what was there before is left untouched.
    """
    part = part_path(path)
    with storing(path):
        check_way(path.parent, root)
        try:
            _write(part, data, flush=flush, mode=mode)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        if flush:
            sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder beside its place, flush it to the disk and give it its name.

    Folders cannot be exchanged in one step on every system. A kill between the two renames leaves
    no folder of that name: the result counts as missing, never as whole while it is not.

    Parameters
    ----------
    path : Path
        The folder; replaced where it exists.
    files : mapping of str to bytes
        Content by the path within the folder.

    Raises
    ------
    StorageError
        Where the folder cannot be written.
    """
    part, old = part_path(path), path.with_name(f"{path.name}.{secrets.token_hex(4)}.old")
    places = {part / name: data for name, data in files.items()}
    folders = {folder for file in places for folder in file.parents if folder.is_relative_to(part)}
    with storing(path):
        _remove_leftovers(path)
        for folder in sorted(folders):
            folder.mkdir()
        # Asked for at once, a drive takes many flushes in the time of one.
        with ThreadPoolExecutor(FLUSHES_AT_ONCE) as pool:
            list(pool.map(_write, places, places.values()))
            list(pool.map(sync_folder, folders))
        if os.path.lexists(path):
            path.rename(old)
        part.rename(path)
        sync_folder(path.parent)
        remove(old)


def part_path(path: Path) -> Path:
    """Return a name, new each time, under which `path` is written before it is whole."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART_SUFFIX}")


def remove(item: Path) -> None:
    """Remove a file, a folder or a link; never what a link points to."""
    if item.is_dir() and not item.is_symlink():
        shutil.rmtree(item, ignore_errors=True)
    else:
        item.unlink(missing_ok=True)


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder below one that others may write to, where it is missing.

    Raises
    ------
    StorageError
        Where it cannot be made, or lies behind a link below `root`.
    """
    with storing(folder):
        check_way(folder, root)
        folder.mkdir(parents=True, exist_ok=True)


def create_file(path: Path) -> TextIO:
    """Open a new text file in the place of whatever is there; a link goes, its target stays."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
    return os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8")


def check_way(folder: Path, root: Path | None) -> None:
    """Refuse a folder that lies behind a link below `root`.

    Raises
    ------
    OSError
        ELOOP, where a folder between `root` and `folder`, or that itself, is a link.
    """
    if root is None:
        return
    way = root
    for name in folder.relative_to(root).parts:
        way = way / name
        if way.is_symlink():
            raise _is_link(way)


def open_below(path: Path, flags: int, *, root: Path | None, mode: int = 0o666) -> int:
    """Open a regular file and return its descriptor; nothing below `root` may be a link.

    Parameters
    ----------
    path : Path
        The file, below `root`.
    flags : int
        As those of `os.open`.
    root : Path or None
        None: links are followed on the way to the file, but it may not be one itself.
    mode : int
        Of a file that is made, before the user's mask.

    Raises
    ------
    OSError
        ELOOP for a link, EMLINK for a file with a second name that would be written to, EINVAL for
        a pipe or a device.
    """
    flags |= _NO_LINK | _NO_WAIT | _BINARY
    if not _CAN_CLIMB:  # pragma: no cover - Windows
        check_way(path, root)
        return _regular(path, os.open(path, flags, mode), flags)
    folder = _descend(path.parent, root)
    try:
        return _regular(path, os.open(path.name, flags, mode, dir_fd=folder), flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _is_link(path) from None
        raise
    finally:
        os.close(folder)


def read_below(path: Path, *, root: Path | None, most_bytes: int) -> bytes:
    """Return the content of a file below a folder that others may write to.

    Raises
    ------
    OSError
        As `open_below`; EFBIG where the file has more than `most_bytes`.
    """
    with os.fdopen(open_below(path, os.O_RDONLY, root=root), "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes // 2**20} MB", str(path))
    return data


def read_json(path: Path, *, root: Path | None = None, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """Return what a JSON file below a folder that others may write to holds.

    Raises
    ------
    OSError
        As `read_below`.
    ValueError
        Where it is no JSON, or nested too deep.
    """
    return parse_json(read_below(path, root=root, most_bytes=most_bytes))


def parse_json(data: bytes | str) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    ValueError
        Where it is no JSON, or nested too deep.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None


def json_bytes(value: Any, *, indent: int | None = 2) -> bytes:
    r"""Return JSON in UTF-8. A name that is no UTF-8 is escaped (``\udce4``), and read back so."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent).encode()


def keep_from_others() -> None:
    """Make what this process writes from now on unreadable to everybody but the user and the group.

    Results are a patient's. What the user's own mask takes from the group stays taken.
    """
    os.umask(os.umask(OTHERS) | OTHERS)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk; Windows neither needs nor allows it."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an operating system's error into a `StorageError` that names the file and a way out."""
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        advice = _ADVICE.get(exc.errno or 0, "Check the output folder and run again")
        raise StorageError(f"{path}: cannot be written ({reason})", advice) from exc


def _write(path: Path, data: bytes, *, flush: bool = True, mode: int = 0o666) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
    with os.fdopen(os.open(path, flags, mode), "wb") as handle:
        handle.write(data)
        if flush:
            handle.flush()
            os.fsync(handle.fileno())


def _remove_leftovers(path: Path) -> None:
    """Remove what a kill has left of a folder that is about to be written again."""
    for item in path.parent.glob("*"):
        rest = item.name.removeprefix(path.name)
        if rest != item.name and rest.endswith((PART_SUFFIX, ".old")):
            remove(item)


def _descend(folder: Path, root: Path | None) -> int:
    """Return a descriptor of a folder that no link below `root` led to."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root or folder, flags)
    for name in folder.relative_to(root).parts if root else ():
        try:
            deeper = os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise _is_link(folder) from None
            raise
        finally:
            os.close(descriptor)
        descriptor = deeper
    return descriptor


def _regular(path: Path, descriptor: int, flags: int) -> int:
    found = os.fstat(descriptor)
    is_shared = found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR)
    if stat.S_ISREG(found.st_mode) and not is_shared:
        return descriptor
    os.close(descriptor)
    if is_shared:
        raise OSError(errno.EMLINK, "another name of the same file exists", str(path))
    raise OSError(errno.EINVAL, "no regular file", str(path))


def _is_link(path: Path) -> OSError:
    return OSError(errno.ELOOP, "a link stands in the way", str(path))


def write_json(path: Path, value: Any, *, flush: bool = True) -> None:
    """Write a value as JSON in one step, NaN and infinity as null, see `write_atomic`."""
    write_atomic(path, json_bytes(finite(value)), flush=flush)


def finite(value: Any) -> Any:
    """Return the value with NaN as None: JSON knows no NaN, and no data is not zero."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    numpy = sys.modules.get("numpy")  # not imported for `--help`: who has its numbers has it
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
