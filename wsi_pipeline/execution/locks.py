"""Who does a slide right now: a lock that knows its owner and dies with it.

The lock is the operating system's on an open file (`flock`, on Windows a locked byte), so that a
process that is killed leaves none behind. What stands in the file tells others who holds it; only
the lock itself counts. Network drives: NFS from version 4 on and SMB pass locks between machines;
where a drive refuses them the run goes on without and says so once: then one run a folder.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from wsi_pipeline.errors import LockedError
from wsi_pipeline.files import check_way, open_below, read_json, storing

logger = logging.getLogger(__name__)

LOCKS_NAME: Final = ".locks"
PATIENCE_SECONDS: Final = 60.0
REVIEW_PATIENCE_SECONDS: Final = 10.0
"""Somebody waits at the page; a save takes milliseconds."""
_REFUSED: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_HELD: Final = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EWOULDBLOCK})
_WINDOWS_BYTE: Final = 1 << 30
"""Windows locks a byte against readers too: one far behind the owner's name."""


class SlideBusyError(Exception):
    """Another process does the slide; its text says who."""


@contextmanager
def slide_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a slide's output folder.

    Raises
    ------
    SlideBusyError
        Where another process or thread holds it.
    StorageError
        Where the output folder cannot be written.
    """
    with _file_lock(folder.parent.parent / LOCKS_NAME / f"{folder.name}.lock"):
        yield


@contextmanager
def shared_files(out: Path) -> Iterator[None]:
    """Hold what runs that share an output folder write in turn: the record and the summary.

    Raises
    ------
    StorageError
        Where another run does not let go of them.
    """
    with _awaited_lock(out / LOCKS_NAME / "run-files", PATIENCE_SECONDS):
        yield


@contextmanager
def review_lock(folder: Path) -> Iterator[None]:
    """Hold the review of a slide: servers that share an output folder change it in turn.

    Raises
    ------
    StorageError
        Where another server does not let go of it, or the output folder cannot be written.
    """
    path = folder.parent.parent / LOCKS_NAME / "reviews" / folder.name
    with _awaited_lock(path, REVIEW_PATIENCE_SECONDS):
        yield


@contextmanager
def _awaited_lock(path: Path, patience_seconds: float) -> Iterator[None]:
    until = time.monotonic() + patience_seconds
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(_file_lock(path))
                break
            except SlideBusyError as error:
                if time.monotonic() > until:
                    raise LockedError(
                        f"{error} holds {path} for more than {patience_seconds:g} s",
                        "Is that process stopped? Let it go on, or end it",
                    ) from None
                time.sleep(0.02)
        yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with storing(path):
        root = _root(path)
        check_way(path.parent, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _take(path, root)
    try:
        yield
    finally:
        _release(handle, path)


def _root(path: Path) -> Path:
    """Return the output folder of a lock: below it nothing may be a link."""
    return next(folder.parent for folder in path.parents if folder.name == LOCKS_NAME)


def _take(path: Path, root: Path) -> IO[str]:
    while True:
        descriptor = open_below(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, root=root)
        handle = os.fdopen(descriptor, "a+", encoding="utf-8")
        try:
            _lock(handle)
        except OSError as error:
            if error.errno in _HELD:
                handle.close()
                raise SlideBusyError(_owner(path)) from None
            if error.errno not in _REFUSED:
                handle.close()
                raise
            _warn_once(str(path.parent), error)
        # The holder before us may have removed the file between our opening and locking it.
        if _is_still(handle, path):
            break
        handle.close()
    handle.truncate(0)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
    handle.write(json.dumps(owner))
    handle.flush()
    return handle


def _owner(path: Path) -> str:
    try:
        owner = read_json(path, root=_root(path), most_bytes=4096)
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _is_still(handle: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _release(handle: IO[str], path: Path) -> None:
    """Remove the file while it is locked, then let go; Windows removes closed files only."""
    try:
        try:
            if os.name != "nt":
                path.unlink(missing_ok=True)
        finally:
            handle.close()
        if os.name == "nt":
            path.unlink(missing_ok=True)
    except OSError as error:  # a drive that went away: the lock went with it
        logger.debug("lock %s: %s", path, error)


def _lock(handle: IO[str]) -> None:
    if os.name == "nt":  # pragma: no cover - not on the systems of the tests
        import msvcrt

        handle.seek(_WINDOWS_BYTE)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        handle.seek(0)
    else:
        import fcntl

        fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


_warned: set[str] = set()


def _warn_once(folder: str, error: OSError) -> None:
    if folder not in _warned:
        _warned.add(folder)
        logger.warning(
            "%s: this drive passes no locks (%s): let one run at a time write to it", folder, error
        )
