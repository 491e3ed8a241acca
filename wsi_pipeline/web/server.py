"""The server itself: connections that cannot be held for ever, and an end that always comes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

HEADER_SECONDS: Final = 15.0
"""Within which a request's first lines have to come."""
KEEP_ALIVE_SECONDS: Final = 60
"""A reader who looks at one place for a while keeps the connection."""
MOST_CONNECTIONS: Final = 600
SPARED_SECONDS: Final = 30.0
"""A request that is being answered keeps its connection at least so long."""
FAREWELL_SECONDS: Final = 2
"""For answers on their way when the server is told to stop."""
LAST_SECONDS: Final = 3.5
"""After which it stops, whatever its threads are doing."""
EXIT_STOPPED: Final = 130


class PatientProtocol(H11Protocol):
    """A connection that is closed where no request comes, and makes room where there are too many.

    uvicorn waits for ever for a request's first lines, so that who opens connections and says
    nothing takes them all. Here they have some seconds; and where the most are open, the one that
    has said nothing for longest goes, so that whoever comes next is answered.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since = time.monotonic()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """True while a request is being answered."""
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    @property
    def idle_seconds(self) -> float:
        """How long nothing has begun or ended."""
        return time.monotonic() - self._since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; make room first."""
        make_room(self.connections)
        super().connection_made(transport)
        self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take data; where they are no whole request yet, the rest must come in time."""
        was_answering = self.is_answering
        super().data_received(data)
        if self.is_answering:
            if not was_answering:
                self._since = time.monotonic()
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._wait_for_header()

    def on_response_complete(self) -> None:
        """Note when the connection fell idle; uvicorn closes it after a while."""
        self._since = time.monotonic()
        super().on_response_complete()

    def _wait_for_header(self) -> None:
        self._since = time.monotonic()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if not self.is_answering:
            self.transport.abort()


def make_room(connections: set[Any], most: int = MOST_CONNECTIONS) -> None:
    """Close the connection that can be spared best where the most are open."""
    ours = [one for one in connections if isinstance(one, PatientProtocol)]
    if len(ours) < most:
        return
    spared = [one for one in ours if not one.is_answering or one.idle_seconds > SPARED_SECONDS]
    for one in sorted(spared or ours, key=lambda c: (c.is_answering, -c.idle_seconds))[:1]:
        connections.discard(one)
        one.transport.abort()


class PunctualServer(uvicorn.Server):
    """Ends some seconds after it is told to, whatever its threads are doing."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, and see to it that it comes to an end."""
        last = threading.Timer(LAST_SECONDS, _stop_now)
        last.daemon = True
        last.start()
        super().handle_exit(sig, frame)


def server_of(app: FastAPI) -> PunctualServer:
    """Return the server of an application, not started yet."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_level="warning",
        access_log=False,  # addresses hold tickets
        server_header=False,
        proxy_headers=False,  # what is believed of a proxy is the application's affair
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
        backlog=2048,
    )
    return PunctualServer(config)


def _stop_now() -> None:  # pragma: no cover - ends the process
    logger.warning("work that was going on is given up")
    logging.shutdown()
    os._exit(EXIT_STOPPED)
