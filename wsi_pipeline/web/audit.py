"""Who did what and when: a line of JSON for each sign-in, wrong word, view, save and export.

Lines are only ever appended. Names and addresses stand in them, tokens and tickets never do.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any, Final, Literal

from wsi_pipeline.errors import StorageError
from wsi_pipeline.files import PRIVATE, open_below

logger = logging.getLogger(__name__)

AUDIT_NAME: Final = "audit.jsonl"
LONGEST_VALUE: Final = 200

Event = Literal[
    "start",
    "sign-in",
    "sign-out",
    "refused",
    "view",
    "save",
    "export",
    "classify",
]


class AuditLog:
    """An append-only file of JSON lines.

    Parameters
    ----------
    path : Path
        The file; made, readable by its owner alone, where there is none.
    root : Path, optional
        A folder above it that others may write to: nothing between may be a link.
    is_required : bool
        True: what cannot be logged is not done. False: it is said once and goes on, as for an
        output folder that may only be read.
    """

    def __init__(self, path: Path, *, root: Path | None = None, is_required: bool = False) -> None:
        self._path, self._root, self._is_required = path, root, is_required
        self._lock = threading.Lock()
        self._has_warned = False

    def note(self, event: Event, who: str | None, address: str, **facts: Any) -> None:
        """Append a line.

        Raises
        ------
        StorageError
            Where it cannot be written and has to be.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "event": event, "who": who, "address": address, **facts}
        short = {name: _short(value) for name, value in line.items()}
        data = (json.dumps(short, ensure_ascii=True) + "\n").encode()
        try:
            with self._lock:
                self._append(data)
        except OSError as error:
            self._failed(error)

    def _append(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = open_below(self._path, flags, root=self._root, mode=PRIVATE)
        try:
            os.write(descriptor, data)  # in one piece: two servers may write to it
        finally:
            os.close(descriptor)

    def _failed(self, error: OSError) -> None:
        if self._is_required:
            raise StorageError(
                f"the audit log {self._path.name} cannot be written ({error.strerror})",
                "Nothing is shown or saved that cannot be logged: tell whoever runs this server",
            ) from error
        if not self._has_warned:
            self._has_warned = True
            logger.warning("%s: cannot be written (%s): nothing is logged", self._path, error)


def _short(value: Any) -> Any:
    return value[:LONGEST_VALUE] if isinstance(value, str) else value
