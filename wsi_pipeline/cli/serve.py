"""`wsi-pipeline serve`: the review application in the browser."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import DEFAULT_MODEL
from wsi_pipeline.cli.main import EXIT_DONE
from wsi_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from wsi_pipeline.web.security import Access

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
LAST_PORT = 65_535
PENDING_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 60  # a reader who looks at one place for a while keeps the connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="output folder of a run")
    add("--port", type=int, default=8000, help="default: 8000; 0 takes a free one")
    add("--host", default="127.0.0.1", help="address to listen on; default: this machine only")
    add("--token", help="what users must know; with --host one is made where none is given")
    add("--slides", type=Path, metavar="DIR", help="where the slide files are now, if they moved")
    add("--model", default=DEFAULT_MODEL, metavar="NAME_OR_DIR", help="model of the patch page")
    add("--open", action="store_true", help="open the browser")


def execute(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    import uvicorn

    from wsi_pipeline.execution.memory import give_memory_back
    from wsi_pipeline.web.app import create_app

    give_memory_back()
    if options.slides is not None and not options.slides.is_dir():
        raise ConfigError(f"--slides {options.slides} is no folder", "Give the slides' folder")
    access = access_of(options.host, options.token)
    app = create_app(options.out, slides_dir=options.slides, access=access, model=options.model)
    listening = listen(options.host, options.port)
    address = address_of(options.host, listening.getsockname()[1])
    entrance = f"{address}enter?ticket={access.new_ticket()}" if access else address
    print(f"Review of {options.out}: {entrance}")
    if access is not None:
        print("  This address works once. Others open the one below and type in the token.")
        print(f"  {address}enter   token: {access.token if options.token is None else 'as given'}")
    print(f"{NOTICE} Stop with Ctrl+C.", flush=True)
    if options.open:
        threading.Timer(0.5, webbrowser.open, (entrance,)).start()
    # No access log: addresses hold tickets. Server and date headers tell a visitor nothing.
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening])
    return EXIT_DONE


def access_of(host: str, token: str | None) -> Access | None:
    """Return who is let in: everybody on this machine, elsewhere who has the token.

    Raises
    ------
    ConfigError
        Where the token is too short.
    """
    from wsi_pipeline.web.security import Access, is_loopback

    if token is None and is_loopback(host):
        return None
    return Access(token if token is not None else secrets.token_urlsafe(24))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises
    ------
    ConfigError
        Where the address is not this machine's or the port is taken.
    """
    if not 0 <= port <= LAST_PORT:
        raise ConfigError(f"cannot listen on port {port}", f"Ports are 0 to {LAST_PORT}")
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        return _listening(place[0][0], place[0][4])
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port} ({error})",
            "Another program may use the port: choose one with --port, or --port 0 for a free one",
        ) from error


def _listening(family: int, address: Any) -> socket.socket:
    # The protocol is named: of a socket of protocol 0 asyncio does not take TCP_NODELAY, and each
    # small answer then waits 40 ms for the browser's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(PENDING_CONNECTIONS)
    except OSError:
        listening.close()
        raise
    return listening


def address_of(host: str, port: int) -> str:
    """Return the address to open in a browser."""
    name = socket.gethostname() if host in ANY_ADDRESS else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
