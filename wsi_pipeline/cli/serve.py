"""`wsi-pipeline serve`: the review application in the browser."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import logging
import os
import secrets
import shlex
import socket
import stat
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import DEFAULT_MODEL
from wsi_pipeline.cli.invocation import is_in_container
from wsi_pipeline.cli.main import EXIT_DONE
from wsi_pipeline.cli.printing import printable
from wsi_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from wsi_pipeline.web.access import Access
    from wsi_pipeline.web.audit import AuditLog

logger = logging.getLogger(__name__)

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
LAST_PORT = 65_535
PENDING_CONNECTIONS = 1024
OTHERS = 0o077
"""Rights of the group and of everybody."""
TOKEN_VARIABLE = "WSI_PIPELINE_TOKEN"  # noqa: S105 - its name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="output folder of a run")
    add("--port", type=int, default=8000, help="default: 8000; 0 takes a free one")
    add("--host", default="127.0.0.1", help="address to listen on; default: this machine only")
    add("--slides", type=Path, metavar="DIR", help="where the slide files are now, if they moved")
    add("--model", default=DEFAULT_MODEL, metavar="NAME_OR_DIR", help="model of the patch page")
    add("--open", action="store_true", help="open the browser")
    _add_access(parser.add_argument_group("who is let in"))
    _add_proxy(parser.add_argument_group("behind a proxy (see configs/nginx)"))


def _add_access(group: Any) -> None:
    add = group.add_argument
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"holds what users must know; else the variable {TOKEN_VARIABLE}, else one is made",
    )
    add("--token", help="the same on the command line, which others on this machine can read")
    add("--no-token", action="store_true", help="let in everybody who is on this machine")
    add("--users", type=Path, metavar="FILE", help="lines NAME:HASH:ROLE, as `htpasswd -B` makes")
    add("--idle-minutes", type=float, default=240, metavar="N", help="ends a session; default: 240")
    add("--session-hours", type=float, default=12, metavar="N", help="its longest; default: 12")
    add("--audit-log", type=Path, metavar="FILE", help="who did what; default: OUT/audit.jsonl")


def _add_proxy(group: Any) -> None:
    add = group.add_argument
    add("--root-path", default="", metavar="PREFIX", help="below which the proxy serves, as /wsi")
    add(
        "--proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="of the proxy; its X-Forwarded-For is believed (for the log and against guessing)",
    )
    add(
        "--trusted-user-header",
        metavar="NAME",
        help="header with the user's name; believed only where the proxy sends the token too",
    )


def execute(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from wsi_pipeline.execution.memory import give_memory_back
    from wsi_pipeline.web.app import create_app
    from wsi_pipeline.web.proxies import ProxyTrust, checked_prefix
    from wsi_pipeline.web.server import server_of

    give_memory_back()
    if options.slides is not None and not options.slides.is_dir():
        raise ConfigError(f"--slides {options.slides} is no folder", "Give the slides' folder")
    prefix = checked_prefix(options.root_path)
    access, is_made = access_of(options)
    app = create_app(
        options.out,
        slides_dir=options.slides,
        access=access,
        proxies=ProxyTrust(prefix, frozenset(options.proxy)),
        audit=_audit_of(options),
        model=options.model,
    )
    listening = listen(options.host, options.port)
    address = address_of(options.host, listening.getsockname()[1])
    entrance = _say_where(options, address, access, is_made=is_made)
    logger.info("serving", extra={"facts": {"out": str(options.out), "address": address}})
    if options.open:
        threading.Timer(0.5, webbrowser.open, (entrance,)).start()
    server_of(app).run(sockets=[listening])
    return EXIT_DONE


def _say_where(
    options: argparse.Namespace, address: str, access: Access | None, *, is_made: bool
) -> str:
    """Print how to come in and return the address to open."""
    has_ticket = access is not None and access.users is None and not options.trusted_user_header
    entrance = f"{address}enter?ticket={access.new_ticket()}" if access and has_ticket else address
    print(f"Review of {printable(str(options.out))}: {entrance}")
    if access is None:
        print("  Everybody on this machine may look at it and review.")
    elif has_ticket:
        print("  This address works once, for ten minutes; your browser then stays signed in.")
        print(f"  Others open {address}enter   token: {access.token if is_made else 'as given'}")
    print(f"{NOTICE} Stop with Ctrl+C.", flush=True)
    return entrance


def access_of(options: argparse.Namespace) -> tuple[Access | None, bool]:
    """Return what lets in, None for everybody on this machine; and whether a token was made.

    Raises
    ------
    ConfigError
        Where the options contradict each other, the token is too short, or a file is unreadable.
    """
    from wsi_pipeline.web.access import COOKIE, Access
    from wsi_pipeline.web.security import is_loopback
    from wsi_pipeline.web.sessions import Sessions
    from wsi_pipeline.web.users import read_users

    token = _token_of(options)
    if options.no_token:
        if token or options.users or options.trusted_user_header:
            raise ConfigError("--no-token lets everybody in", "Leave it out to ask for something")
        if not is_loopback(options.host):
            raise ConfigError(
                f"--no-token would let in whoever reaches {options.host}",
                "Leave it out, or --host: it is for this machine only",
            )
        return None, False
    if options.trusted_user_header and token is None:
        raise ConfigError(
            "--trusted-user-header needs a token that the proxy sends too",
            "Give --token-file, and let the proxy set `Authorization: Bearer` (configs/nginx)",
        )
    where = hashlib.sha256(str(options.out.resolve()).encode("utf-8", "surrogateescape"))
    return Access(
        token if token is not None else secrets.token_urlsafe(24),
        users=read_users(options.users) if options.users else None,
        user_header=options.trusted_user_header,
        sessions=Sessions(options.idle_minutes * 60, options.session_hours * 3600),
        cookie=f"{COOKIE}_{where.hexdigest()[:8]}",  # two servers of a machine share the cookies
    ), token is None


def _token_of(options: argparse.Namespace) -> str | None:
    if options.token is not None and options.token_file is not None:
        raise ConfigError("--token and --token-file are two tokens", "Give one of them")
    if options.token is not None:
        return str(options.token)
    if options.token_file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        with options.token_file.open(encoding="utf-8") as file:
            token, rights = str(file.read().strip()), os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--token-file {options.token_file} cannot be read ({error})",
            "Make it with: umask 077; openssl rand -hex 24 > FILE",
        ) from error
    if os.name == "posix" and rights & OTHERS:  # elsewhere a mode does not say who may read
        logger.warning(
            "--token-file is open to others on this machine (mode %04o): chmod 600 %s",
            stat.S_IMODE(rights),
            shlex.quote(str(options.token_file)),
        )
    return token


def _audit_of(options: argparse.Namespace) -> AuditLog:
    """Return the audit log; one that is asked for must be writable.

    Raises
    ------
    StorageError
        Where it is not.
    """
    from wsi_pipeline.web.audit import AUDIT_NAME, AuditLog

    if options.audit_log is not None:
        audit = AuditLog(options.audit_log, is_required=True)
    else:
        audit = AuditLog(options.out / AUDIT_NAME, root=options.out)
    if options.out.is_dir():  # else there is nothing to serve
        audit.note("start", _account(), options.host, out=str(options.out))
    return audit


def _account() -> str:
    """Return who runs this; a container may have no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


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
    """Return the address to open in a browser; the host's own where a container is published."""
    name = host
    if host in ANY_ADDRESS:
        name = "127.0.0.1" if is_in_container() else socket.gethostname()
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
