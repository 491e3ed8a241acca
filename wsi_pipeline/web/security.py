"""Who may ask, from where, and how much: one layer around the whole application.

A page of a foreign backend can make a browser send requests to a server on its own machine. Four
things stand against it: the host name asked for must be ours (DNS rebinding), a request that
changes something must come from our own page and carry a header that a foreign page cannot set
(CSRF), no page of ours lets itself be framed (clickjacking), and no page of ours loads or runs
anything that is not a file of ours (CSP).

References
----------
OWASP Cheat Sheets "Cross-Backend Request Forgery Prevention" and "Content Security Policy".
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.web.errors import ForbiddenError, RefusedError, TooLargeError

CSRF_HEADER: Final = "x-wsi-pipeline"
COOKIE: Final = "wsi_pipeline_session"
SHORTEST_TOKEN: Final = 12
MAX_BODY_BYTES: Final = 25 * 2**20
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS: Final = ("/enter", "/static/")
"""What is needed to show the page that asks for the token."""
EMPTY_SHA256: Final = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
"""Of no text: lets in an inline style that is empty, and no other (see slide.html)."""
HEADERS: Final = {
    "content-security-policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' '{EMPTY_SHA256}'; "
        "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not "no-referrer": a browser would then send the form of /enter with the Origin "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=()",
}


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class Access:
    """The token that lets in, and the sessions that it has opened."""

    token: str
    """What a user types in, or a program sends as ``Authorization: Bearer``."""
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    """What the cookie holds; never the token itself. A new one with every start."""
    _tickets: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"a token of {len(self.token)} characters is too easily guessed",
                f"Take {SHORTEST_TOKEN} or more, or leave --token out: one is made",
            )

    def new_ticket(self) -> str:
        """Return a word that lets in once: it may stand in an address, the token must not."""
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            self._tickets.add(ticket)
        return ticket

    def redeem(self, word: str) -> bool:
        """Tell whether a ticket (used up by that) or the token was given."""
        with self._lock:
            used = [t for t in self._tickets if _equal(t, word)]
            self._tickets.difference_update(used)
        return bool(used) or _equal(self.token, word)

    def admits(self, headers: Headers) -> bool:
        """Tell whether a request carries the session's cookie or the token."""
        scheme, _, word = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(self.token, word.strip()):
            return True
        return _equal(self.session, _cookie(headers))

    def welcome(self) -> Response:
        """Return the way in to the archive page, with the session's cookie."""
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(COOKIE, self.session, httponly=True, samesite="strict", path="/")
        return response


class Guard:
    """ASGI layer around the application.

    Parameters
    ----------
    app : ASGI application
    access : Access or None
        None lets everybody in: on a loopback address only.
    """

    def __init__(self, app: ASGIApp, access: Access | None) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, hand it on, and put the headers on the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(scope)
            if scope["method"] not in SAFE_METHODS:
                receive = await _bounded(scope, receive)
        except RefusedError as refusal:
            await refused(refusal)(scope, receive, send_guarded)
            return
        except NeedsToken:
            await RedirectResponse("/enter", status_code=303)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._access is None:
            check_host(headers.get("host", ""))
        elif not scope["path"].startswith(OPEN_PATHS) and not self._access.admits(headers):
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                raise NeedsToken
            raise ForbiddenError(
                "this server asks for a token", "Open /enter in the browser, or send it as a Bearer"
            )
        if scope["method"] not in SAFE_METHODS:
            check_origin(headers, is_form=scope["path"] == "/enter")


class NeedsToken(Exception):  # noqa: N818 - not an error: the browser is shown the way in
    """A page was asked for without the token."""


def check_host(host: str) -> None:
    """Refuse a host name that is not this machine's own (DNS rebinding).

    Raises
    ------
    ForbiddenError
    """
    try:
        is_ours = is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        is_ours = False
    if not is_ours:
        raise ForbiddenError(
            "this server answers to localhost only", "Open the address that it printed"
        )


def check_origin(headers: Headers, *, is_form: bool = False) -> None:
    """Refuse a change that a browser sends on behalf of a foreign page.

    A browser gives itself away by `Origin`, `Sec-Fetch-Backend` or a cookie; it must then be on our
    own page and, unless it sends the form of /enter, carry our header. Programs that are no
    browsers carry none of the three and no user's rights.

    Raises
    ------
    ForbiddenError
    """
    origin, backend = headers.get("origin"), headers.get("sec-fetch-backend")
    is_foreign = backend not in (None, "same-origin", "none") or (
        origin is not None and _netloc(origin) != headers.get("host", "").lower()
    )
    is_browser = origin is not None or backend is not None or "cookie" in headers
    if is_foreign or (is_browser and not is_form and CSRF_HEADER not in headers):
        raise ForbiddenError(
            "this request does not come from a page of this server",
            f"A program that sends cookies or an Origin must send the header {CSRF_HEADER}: 1 too",
        )


def refused(refusal: RefusedError) -> Response:
    """Return a refusal as JSON."""
    return JSONResponse(
        {"error": refusal.problem, "advice": refusal.advice}, status_code=refusal.status
    )


async def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Take in the body up to the limit, and return what hands it on.

    It is counted as it comes: a length that a client states is not believed.
    """
    stated = Headers(scope=scope).get("content-length", "0")
    if stated.isdigit() and int(stated) > MAX_BODY_BYTES:
        raise _too_large()
    chunks, n_bytes = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        chunks.append(message.get("body", b""))
        n_bytes += len(chunks[-1])
        if n_bytes > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            break
    body = b"".join(chunks)
    handed = False

    async def replay() -> Message:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large() -> TooLargeError:
    return TooLargeError(
        f"the request is larger than {MAX_BODY_BYTES // 2**20} MB", "Send a smaller picture"
    )


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _equal(secret: str, word: str) -> bool:
    """Compare in a time that does not tell how much was right."""
    return secrets.compare_digest(secret.encode(), word.encode())
