"""How much a request may send, and how long that may take.

A body is taken in before the application sees the request: counted as it comes, up to what its
route needs, and in time. Uploads are few at once, since each is held in memory.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from wsi_pipeline.web.errors import BusyError, TimeoutRefusedError, TooLargeError

UPLOADS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """What a route takes."""

    n_bytes: int
    pause_seconds: float = 10.0
    """Between two pieces."""
    whole_seconds: float = 20.0
    """For all of it."""
    is_upload: bool = False


UPLOAD: Final = BodyLimit(25 * 2**20, whole_seconds=120.0, is_upload=True)
REVIEW: Final = BodyLimit(8 * 2**20, whole_seconds=60.0)
"""500 changes with comments, or 20,000 corners."""
SMALL: Final = BodyLimit(8 * 2**10)
"""A token, a name and a password; and what no route takes."""

_ROUTES: Final = (
    ("POST", re.compile(r"/api/classify"), UPLOAD),
    ("PUT", re.compile(r"/api/slides/[^/]+/review"), REVIEW),
)


def limit_of(method: str, path: str) -> BodyLimit:
    """Return what a request may send."""
    found = (limit for verb, at, limit in _ROUTES if verb == method and at.fullmatch(path))
    return next(found, SMALL)


class UploadSlots:
    """Counts the uploads that are being taken in or worked on. Safe between threads."""

    def __init__(self, at_once: int = UPLOADS_AT_ONCE) -> None:
        self._left, self._lock = at_once, threading.Lock()

    @contextmanager
    def slot(self, limit: BodyLimit) -> Iterator[None]:
        """Hold a slot while an upload is in memory.

        Raises
        ------
        BusyError
            Where all are taken.
        """
        if not limit.is_upload:
            yield
            return
        with self._lock:
            if self._left == 0:
                raise BusyError("others are sending pictures", "Try again in a few seconds")
            self._left -= 1
        try:
            yield
        finally:
            with self._lock:
                self._left += 1


async def take_in(scope: Scope, receive: Receive, limit: BodyLimit) -> Receive:
    """Take in the body up to the limit, and return what hands it on.

    It is counted as it comes: a length that a client states is not believed.

    Raises
    ------
    TooLargeError, TimeoutRefusedError
    """
    stated = Headers(scope=scope).get("content-length", "0")
    if stated.isdecimal() and len(stated) < 20 and int(stated) > limit.n_bytes:
        raise _too_large(limit)
    until = time.monotonic() + limit.whole_seconds
    body = bytearray()
    while True:
        message = await _next(receive, min(limit.pause_seconds, until - time.monotonic()))
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        if len(body) > limit.n_bytes:
            raise _too_large(limit)
        if not message.get("more_body", False):
            break
    return _replay(bytes(body), receive)


async def _next(receive: Receive, seconds: float) -> Message:
    try:
        return await asyncio.wait_for(receive(), max(seconds, 0.0))
    except TimeoutError:
        raise TimeoutRefusedError(
            "the request did not arrive in time", "Send it again over a better connection"
        ) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    left: list[bytes] = [body]

    async def replay() -> Message:
        if not left:
            return await receive()
        return {"type": "http.request", "body": left.pop(), "more_body": False}

    return replay


def _too_large(limit: BodyLimit) -> TooLargeError:
    megabytes, kilobytes = limit.n_bytes // 2**20, limit.n_bytes // 2**10
    size = f"{megabytes} MB" if megabytes else f"{kilobytes} kB"
    return TooLargeError(f"the request is larger than {size}", "Send less at a time")
