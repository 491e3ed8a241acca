"""The pages: files of this package; what they show they fetch from the interface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from wsi_pipeline.web.api import SlideId, TheService
from wsi_pipeline.web.errors import ForbiddenError, NotFoundError
from wsi_pipeline.web.security import Access

STATIC: Final = Path(__file__).parent / "static"

router = APIRouter(include_in_schema=False)


def page(name: str, status: int = 200) -> FileResponse:
    """Return a page; its own files are asked for anew after an update of the package."""
    headers = {"cache-control": "no-cache"}
    return FileResponse(STATIC / f"{name}.html", status, headers, media_type="text/html")


@router.get("/")
async def archive_page() -> Response:
    """Return the archive at a glance."""
    return page("archive")


@router.get("/slides/{slide_id}")
def slide_page(service: TheService, slide_id: SlideId) -> Response:
    """Return the page to look at a slide and review it."""
    return _page_of_slide(service, slide_id, "slide")


@router.get("/slides/{slide_id}/report")
def report_page(service: TheService, slide_id: SlideId) -> Response:
    """Return the page of a slide for printing."""
    return _page_of_slide(service, slide_id, "report")


@router.get("/classify")
async def classify_page() -> Response:
    """Return the page that classifies a picture."""
    return page("classify")


@router.get("/enter")
async def enter(request: Request, ticket: str = "") -> Response:
    """Let in who brings a ticket, else ask for the token."""
    access: Access | None = request.app.state.access
    if access is None or (ticket and access.redeem(ticket)):
        return access.welcome() if access else page("archive")
    return page("enter", 200 if not ticket else 403)


@router.post("/enter")
async def enter_with_token(
    request: Request, token: Annotated[str, Form(max_length=500)]
) -> Response:
    """Let in who knows the token."""
    access: Access | None = request.app.state.access
    if access is None:
        raise ForbiddenError("this server asks for no token", "Open its first page")
    if await run_in_threadpool(access.redeem, token.strip()):
        return access.welcome()
    return RedirectResponse("/enter?wrong=1", status_code=303)


def _page_of_slide(service: TheService, slide_id: str, name: str) -> Response:
    try:
        service.catalog.entry(slide_id)
    except NotFoundError:
        return page("missing", 404)
    return page(name)
