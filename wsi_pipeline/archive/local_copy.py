"""A slide on a drive of this machine while it is done, for shares where every read waits."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

SINGLE_FILE_SUFFIXES: Final = frozenset(
    {".bif", ".czi", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff"}
)
"""The others (MIRAX, DICOM, VMS) have companions, and are read where they are."""
CHUNK_BYTES: Final = 8 * 2**20
LEFT_FREE_BYTES: Final = 2**30
"""Space on the cache's drive that copies leave alone."""


@contextmanager
def local_copy(
    path: Path, cache: Path | None, alive: Callable[[], None] = lambda: None
) -> Iterator[Path | None]:
    """Copy a slide file and yield the copy, which is gone afterwards.

    A cache that cannot be used costs speed, never a slide: what goes wrong is logged and the slide
    is read where it is, where the usual stages say what is wrong with it.

    Parameters
    ----------
    path : Path
        The slide.
    cache : Path or None
        A folder on a fast drive, made where missing; None = no copy.
    alive : callable
        Called with each chunk: a large file may take longer than a stage should.

    Yields
    ------
    Path or None
        None where the slide is to be read where it is.
    """
    if cache is None or path.suffix.lower() not in SINGLE_FILE_SUFFIXES:
        yield None
        return
    folder: Path | None = None
    try:
        copy = None
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _remove_left_behind(cache)
            folder = Path(tempfile.mkdtemp(prefix=f"{copy_prefix()}{os.getpid()}-", dir=cache))
            copy = _copy(path, folder / path.name, alive)
        except OSError as error:
            logger.warning("%s is read where it is: no copy in %s (%s)", path.name, cache, error)
        yield copy
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path, alive: Callable[[], None]) -> Path:
    before = source.stat()
    free = shutil.disk_usage(target.parent).free
    if before.st_size + LEFT_FREE_BYTES > free:
        raise OSError(f"{before.st_size} bytes, and only {free} are free")
    with source.open("rb") as reading, target.open("wb") as writing:
        for _ in range(0, before.st_size, CHUNK_BYTES):  # one that still grows has no end
            writing.write(reading.read(CHUNK_BYTES))
            alive()
    after = source.stat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise OSError("the file changed while it was copied")
    return target


def copy_prefix() -> str:
    """Return how this machine's copies begin: several machines may share a cache by mistake."""
    return f"wsi_pipeline-{platform.node()}-"


def _remove_left_behind(cache: Path) -> None:
    """Remove the copies of processes of this machine that were killed."""
    for folder in cache.glob(f"{copy_prefix()}*"):
        pid = folder.name.removeprefix(copy_prefix()).split("-")[0]
        if pid.isdecimal() and not _began_before(int(pid), folder):
            shutil.rmtree(folder, ignore_errors=True)


def _began_before(pid: int, folder: Path) -> bool:
    """Return whether a process runs that may have made the folder: numbers are given out again."""
    import psutil  # type: ignore[import-untyped]

    try:
        return bool(psutil.Process(pid).create_time() <= folder.stat().st_mtime)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
