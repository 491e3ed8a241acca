"""Writing so that a file that has its name is whole, also after a crash or a power cut."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
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


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file beside its place, flush it to the disk and rename it.

    Raises
    ------
    StorageError
        Where the folder cannot be written; what was there before is left untouched.
    """
    part = part_path(path)
    with storing(path):
        try:
            with part.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def replace_folder(part: Path, path: Path) -> None:
    """Flush a finished folder to the disk and give it its name, replacing what had it.

    Folders cannot be exchanged in one step on every system. A kill between the two renames leaves
    no folder of that name: the result counts as missing, never as whole while it is not.
    """
    walked = [(Path(folder), files) for folder, _, files in os.walk(part)]
    # Asked for at once, a drive takes many flushes in the time of one.
    with ThreadPoolExecutor(FLUSHES_AT_ONCE) as pool:
        list(pool.map(_sync, (folder / name for folder, files in walked for name in files)))
        list(pool.map(sync_folder, (folder for folder, _ in walked)))
    old = path.with_name(path.name + ".old")
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
        _sync(folder)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an operating system's error into a `StorageError` that names the file and a way out."""
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        advice = _ADVICE.get(exc.errno or 0, "Check the output folder and run again")
        raise StorageError(f"{path}: cannot be written ({reason})", advice) from exc


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
