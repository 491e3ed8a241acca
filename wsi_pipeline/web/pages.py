"""The pages: files of this package; what they show they fetch from the interface.

Every address in a page is relative, so that it is right below any prefix that a proxy puts before
it: the files say "/static/style.css", the page of a slide gets "../static/style.css".
"""

from __future__ import annotations

import html
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from wsi_pipeline.web.access import Access
from wsi_pipeline.web.api import SlideId, TheService
from wsi_pipeline.web.errors import ForbiddenError, NotFoundError, TooManyAttemptsError
from wsi_pipeline.web.visits import TheVisit, Visit

STATIC: Final = Path(__file__).parent / "static"
SESSION_MARK: Final = "<!--session-->"
"""In a page: where the button to sign out goes."""
MESSAGE_MARK: Final = "<!--message-->"
"""In the pages to sign in: what went wrong."""
TITLE_MARK: Final = "<!--title-->"
BODY_MARK: Final = "<!--body-->"
"""In the shell of the pages that are words and a form: where those go."""
FORM_WORD: Final = 500
"""Longest name, password or token, characters."""

router = APIRouter(include_in_schema=False)


def page(name: str, visit: Visit, status: int = 200, message: str = "") -> Response:
    """Return a page; its own files are asked for anew after an update of the package."""
    text = _file(name)
    for attribute in ("href", "src", "action"):
        text = text.replace(f'{attribute}="/', f'{attribute}="{visit.up}')
    text = text.replace("<html ", f'<html data-root="{visit.up}" ', 1)
    text = text.replace(SESSION_MARK, _session(visit), 1)
    text = text.replace(MESSAGE_MARK, html.escape(message), 1)
    return HTMLResponse(text, status, {"cache-control": "no-cache"})


@router.get("/")
async def archive_page(visit: TheVisit) -> Response:
    """Return the archive at a glance."""
    return page("archive", visit)


@router.get("/slides/{slide_id}")
def slide_page(service: TheService, visit: TheVisit, slide_id: SlideId) -> Response:
    """Return the page to look at a slide and review it."""
    return _page_of_slide(service, visit, slide_id, "slide")


@router.get("/slides/{slide_id}/report")
def report_page(service: TheService, visit: TheVisit, slide_id: SlideId) -> Response:
    """Return the page of a slide for printing."""
    return _page_of_slide(service, visit, slide_id, "report")


@router.get("/classify")
async def classify_page(visit: TheVisit) -> Response:
    """Return the page that classifies a picture."""
    return page("classify", visit)


@router.get("/enter")
async def enter(request: Request, visit: TheVisit, ticket: str = "", wrong: str = "") -> Response:
    """Let in who brings a ticket, else ask for the token or for name and password."""
    access: Access | None = request.app.state.access
    if access is None:
        return RedirectResponse(visit.up, status_code=303)
    if not ticket:
        return _sign_in(access, visit, 200, "That was not right." if wrong else "")
    session = access.enter_by_ticket(ticket)
    if session is None:
        visit.note("refused", path="/enter", why="a ticket that was used, too old or none")
        return _sign_in(access, visit, 403, "This address has been used, or is too old.")
    visit.note("sign-in", by="ticket")
    return _welcome(access, visit, session)


@router.post("/enter")
async def enter_by_word(
    request: Request,
    visit: TheVisit,
    token: Annotated[str, Form(max_length=FORM_WORD)] = "",
    name: Annotated[str, Form(max_length=FORM_WORD)] = "",
    password: Annotated[str, Form(max_length=FORM_WORD)] = "",
) -> Response:
    """Let in who knows the token, or their name and password."""
    access: Access | None = request.app.state.access
    if access is None:
        raise ForbiddenError("this server asks for no token", "Open its first page")
    try:
        if access.users is None:
            session = access.enter_by_token(token.strip(), visit.address)
        else:
            session = await request.app.state.lanes.signing_in.run(
                lambda: access.enter_by_password(name.strip(), password, visit.address)
            )
    except TooManyAttemptsError as error:
        answer = _sign_in(access, visit, error.status, f"{error}.")
        answer.headers["retry-after"] = str(error.wait_seconds)
        return answer
    if session is None:
        visit.note("refused", path="/enter", why="wrong token or password", name=name)
        return RedirectResponse(f"{visit.up}enter?wrong=1", status_code=303)
    visit.note("sign-in", by="token" if access.users is None else "password", name=name or None)
    return _welcome(access, visit, session)


@router.post("/logout")
async def leave(request: Request, visit: TheVisit) -> Response:
    """End the session."""
    access: Access | None = request.app.state.access
    answer = RedirectResponse(f"{visit.up}enter", status_code=303)
    if access is not None:
        person = access.leave(request.headers)
        visit.note("sign-out", name=person.name if person else None)
        answer.delete_cookie(access.cookie, path=f"{visit.prefix}/")
    return answer


def _welcome(access: Access, visit: Visit, session: str) -> Response:
    """Return the way in to the archive page, with the session's cookie."""
    response = RedirectResponse(visit.up, status_code=303)
    response.set_cookie(
        access.cookie,
        session,
        max_age=int(access.sessions.longest_seconds),
        path=f"{visit.prefix}/",
        secure=visit.is_tls,
        httponly=True,
        samesite="strict",
    )
    return response


def _sign_in(access: Access, visit: Visit, status: int, message: str) -> Response:
    return page("enter" if access.users is None else "sign-in", visit, status, message)


def _session(visit: Visit) -> str:
    """Return who is signed in and the button to sign out; nothing where nobody has to sign in."""
    person = visit.person
    if person is None or person.way in ("open", "proxy"):
        return ""
    name = f"<span>{html.escape(person.name)}</span>" if person.name else ""
    return (
        f'{name}<form method="post" action="{visit.up}logout">'
        '<button type="submit">Sign out</button></form>'
    )


@cache
def _file(name: str) -> str:
    """Return a page; one that is a title and a body alone within the shell of such pages."""
    text = (STATIC / f"{name}.html").read_text(encoding="utf-8")
    if not text.startswith("<title>"):
        return text
    title, body = text.rstrip("\n").split("\n", 1)
    return _file("shell").replace(TITLE_MARK, title, 1).replace(BODY_MARK, body, 1)


def _page_of_slide(service: TheService, visit: Visit, slide_id: str, name: str) -> Response:
    try:
        service.catalog.entry(slide_id)
    except NotFoundError:
        return page("missing", visit, 404)
    return page(name, visit)
