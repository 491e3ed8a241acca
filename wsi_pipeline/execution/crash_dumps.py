"""Last words of a process: where it was when it crashed or stood still.

Python's faulthandler writes the stack of every thread into a file of the slide at a fatal signal,
and ends the process where it is not reset in time. Both work from C, whatever holds the
interpreter, which no thread of Python's could. It belongs to the process: in one that does several
slides at a time a hang shows when all of them stand still.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from wsi_pipeline.files import create_file, read_below

CRASH_NAME: Final = "crash.txt"
MOST_DUMP_BYTES: Final = 2**20


@contextmanager
def crash_dump(folder: Path, stall_seconds: float) -> Iterator[Callable[[], None]]:
    """Watch over the work of this process; give the function to call at each sign of progress.

    The file is empty, and removed, where nothing happened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CRASH_NAME
    with create_file(path) as file:

        def alive() -> None:
            faulthandler.dump_traceback_later(stall_seconds, exit=True, file=file)

        faulthandler.enable(file=file)
        alive()
        try:
            yield alive
        finally:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
    path.unlink(missing_ok=True)


def note_where_it_hangs(folder: Path) -> None:
    """Write the stack of every thread of this process into the slide's file."""
    with create_file(folder / CRASH_NAME) as file:
        faulthandler.dump_traceback(file=file)


def read_crash_dump(folder: Path) -> str:
    """Return what a process that died over a slide has left, "" where it left nothing."""
    try:
        data = read_below(folder / CRASH_NAME, root=folder, most_bytes=MOST_DUMP_BYTES)
        return data.decode("utf-8", "replace")
    except OSError:
        return ""


def is_stall(dump: str) -> bool:
    """Return whether the process was ended because it stood still: so faulthandler begins then."""
    return dump.startswith("Timeout (")


def remove_crash_dump(folder: Path) -> None:
    """Remove what a process left, once it stands in the record."""
    (folder / CRASH_NAME).unlink(missing_ok=True)
