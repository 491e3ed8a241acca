"""Writing so that a file that has its name is whole, also after a crash or a power cut."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from wsi_pipeline.errors import StorageError

PART_SUFFIX = ".part"
"""Of what is being written; may be left by a kill and is replaced by the next run."""

FLUSHES_AT_ONCE = 8

_ADVICE = {
    errno.ENOSPC: "The disk is full: free space or choose another output folder, then run again",
    errno.EDQUOT: "Your disk quota is used up: free space or choose another output folder",
    errno.EACCES: "Check the permissions of the folder or choose another output folder",
    errno.EPERM: "Check the permissions of the folder or choose another output folder",
    errno.EMFILE: "Raise the limit of open files (ulimit -n) or use fewer workers, then run again",
    errno.EROFS: "The folder is read-only: choose another output folder",
    errno.ENOENT: "The folder is missing or no longer reachable: create it or reconnect the drive",
}


def write_atomic(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Write a file beside its place, flush it to the disk and rename it.

    Without `flush` a kill still leaves the old file or the new one; a power cut may take both.

    Raises
    ------
    StorageError
        Where the folder cannot be written; what was there before is left untouched.
    """
    part = part_path(path)
    with storing(path):
        try:
            _write(part, data, flush=flush)
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
    part, old = part_path(path), path.with_name(path.name + ".old")
    places = {part / name: data for name, data in files.items()}
    folders = {folder for file in places for folder in file.parents if folder.is_relative_to(part)}
    with storing(path):
        shutil.rmtree(part, ignore_errors=True)
        for folder in sorted(folders):
            folder.mkdir()
        # Asked for at once, a drive takes many flushes in the time of one.
        with ThreadPoolExecutor(FLUSHES_AT_ONCE) as pool:
            list(pool.map(_write, places, places.values()))
            list(pool.map(sync_folder, folders))
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        part.rename(path)
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)


def part_path(path: Path) -> Path:
    """Return the name under which `path` is written before it is whole."""
    return path.with_name(path.name + PART_SUFFIX)


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


def _write(path: Path, data: bytes, *, flush: bool = True) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        if flush:
            handle.flush()
            os.fsync(handle.fileno())
