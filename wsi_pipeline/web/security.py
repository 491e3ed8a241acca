"""Who may ask, from where, and how much: one layer around the whole application.

A page of a foreign site can make a browser send requests to a server on its own machine. Four
things stand against it: the host name asked for must be ours (DNS rebinding), a request that
changes something must come from our own page and carry a header that a foreign page cannot set
(CSRF), no page of ours lets itself be framed (clickjacking), and no page of ours loads or runs
anything that is not a file of ours (CSP).

References
----------
OWASP Cheat Sheets "Cross-Site Request Forgery Prevention" and "Content Security Policy".
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wsi_pipeline.web.access import Access
from wsi_pipeline.web.audit import AuditLog
from wsi_pipeline.web.bodies import UploadSlots, limit_of, take_in
from wsi_pipeline.web.errors import (
    BusyError,
    ForbiddenError,
    RefusedError,
    TimeoutRefusedError,
    TooLargeError,
    TooManyAttemptsError,
)
from wsi_pipeline.web.proxies import NO_PROXY, ProxyTrust
from wsi_pipeline.web.sessions import Person
from wsi_pipeline.web.visits import Visit

CSRF_HEADER: Final = "x-wsi-pipeline"
BUSY_SECONDS: Final = 5
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_PATHS: Final = ("/enter", "/logout")
"""Forms, which cannot carry our header; and shown to everybody, as is /static/."""
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


class Guard:
    """ASGI layer around the application.

    Parameters
    ----------
    app : ASGI application
    access : Access or None
        None lets everybody in: on a loopback address only.
    proxies : ProxyTrust
        What is believed of a proxy in front.
    audit : AuditLog, optional
        Where wrong tokens are noted, and what the pages note.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access | None,
        proxies: ProxyTrust = NO_PROXY,
        audit: AuditLog | None = None,
    ) -> None:
        self._app, self._access = app, access
        self._proxies, self._audit = proxies, audit
        self._uploads = UploadSlots()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, hand it on, and put the headers on the answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":  # there are no web sockets here
            await self._answer(scope, receive, _with_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope, prefix = self._proxies.without_prefix(scope)
        up = up_from(scope["path"])
        try:
            visit = self._visit(scope, prefix, up)
            scope.setdefault("state", {})["visit"] = visit
            limit = limit_of(scope["method"], scope["path"])
            with self._uploads.slot(limit):
                if scope["method"] not in SAFE_METHODS:
                    receive = await take_in(scope, receive, limit)
                await self._app(scope, receive, send)
        except RefusedError as refusal:
            await refused(refusal)(scope, receive, send)
        except NeedsToken:
            await RedirectResponse(f"{up}enter", status_code=303)(scope, receive, send)

    def _visit(self, scope: Scope, prefix: str, up: str) -> Visit:
        headers = Headers(scope=scope)
        address = self._proxies.address(scope, headers)
        visit = Visit(None, address, up, prefix, is_tls(scope, headers), self._audit)
        is_open = is_open_path(scope["path"])
        try:
            visit = replace(visit, person=self._person(headers, address, is_open=is_open))
        except ForbiddenError as error:
            visit.note("refused", path=scope["path"], why=error.problem)
            raise
        if visit.person is None and not is_open:
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                raise NeedsToken
            raise ForbiddenError(
                "this server asks for a token", "Open /enter in the browser, or send it as a Bearer"
            )
        if scope["method"] not in SAFE_METHODS:
            check_origin(headers, is_form=scope["path"] in FORM_PATHS)
        return visit

    def _person(self, headers: Headers, address: str, *, is_open: bool) -> Person | None:
        if self._access is None:
            check_host(headers.get("host", ""))
            return Person(None)
        return None if is_open else self._access.who(headers, address)


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

    A browser gives itself away by `Origin`, `Sec-Fetch-Site` or a cookie; it must then be on our
    own page and, unless it sends one of the forms, carry our header. Behind a proxy that changes
    the host's name, X-Forwarded-Host stands for it: a page cannot set that header either.
    Programs that are no browsers carry none of the three and no user's rights.

    Raises
    ------
    ForbiddenError
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    ours = {headers[name].lower() for name in ("host", "x-forwarded-host") if name in headers}
    is_elsewhere = origin is not None and _netloc(origin) not in ours
    # A browser that says "same-origin" knows: it is a proxy that has changed the host's name.
    is_foreign = site not in (None, "same-origin", "none") or (
        is_elsewhere and site != "same-origin"
    )
    is_browser = origin is not None or site is not None or "cookie" in headers
    if is_foreign or (is_browser and not is_form and CSRF_HEADER not in headers):
        raise ForbiddenError(
            "this request does not come from a page of this server",
            f"A program that sends cookies or an Origin must send the header {CSRF_HEADER}: 1 too; "
            "a proxy must pass the browser's Host on (nginx: proxy_set_header Host $http_host)",
        )


def refused(refusal: RefusedError) -> Response:
    """Return a refusal as JSON."""
    answer = JSONResponse(
        {"error": refusal.problem, "advice": refusal.advice}, status_code=refusal.status
    )
    if isinstance(refusal, TooManyAttemptsError):
        answer.headers["retry-after"] = str(refusal.wait_seconds)
    elif isinstance(refusal, BusyError):
        answer.headers["retry-after"] = str(BUSY_SECONDS)
    elif isinstance(refusal, TimeoutRefusedError | TooLargeError):
        answer.headers["connection"] = "close"  # the rest of the body is not waited for
    return answer


def up_from(path: str) -> str:
    """Return the relative address of the first page, seen from a page.

    Relative, so that pages are right below whatever prefix a proxy serves them.
    """
    return "../" * (path.count("/") - 1) or "./"


def is_open_path(path: str) -> bool:
    """Tell whether a path is shown to everybody: what is needed to sign in."""
    return path in FORM_PATHS or path.startswith("/static/")


def is_tls(scope: Scope, headers: Headers) -> bool:
    """Tell whether the browser speaks TLS: its own word counts more than a proxy's."""
    proto = headers.get("x-forwarded-proto", scope.get("scheme", "http"))
    return proto == "https" and not headers.get("origin", "").startswith("http:")


def _with_headers(send: Send) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return send_guarded


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
