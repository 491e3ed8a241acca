"""The review application of one output folder."""

from __future__ import annotations

import logging
import os
import re
from functools import partial
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import wsi_pipeline
from wsi_pipeline import NOTICE
from wsi_pipeline.classifier import DEFAULT_MODEL, PatchClassifier, find_model, load_classifier
from wsi_pipeline.errors import LockedError, WsiPipelineError
from wsi_pipeline.web import api, pages
from wsi_pipeline.web.access import Access
from wsi_pipeline.web.audit import AuditLog
from wsi_pipeline.web.classify import UploadClassifier
from wsi_pipeline.web.errors import RefusedError
from wsi_pipeline.web.proxies import NO_PROXY, ProxyTrust
from wsi_pipeline.web.security import Guard, refused
from wsi_pipeline.web.service import open_service

logger = logging.getLogger(__name__)

_PLACE: Final = re.compile(r"(^|[\s('\"])(/|[A-Za-z]:[\\/]|\\\\)[^\s]")
"""A path of this machine in a sentence."""


def create_app(
    out: Path,
    *,
    slides_dir: Path | None = None,
    access: Access | None = None,
    proxies: ProxyTrust = NO_PROXY,
    audit: AuditLog | None = None,
    model: str | PatchClassifier = DEFAULT_MODEL,
) -> FastAPI:
    """Return the review application of an output folder.

    Parameters
    ----------
    out : Path
        What `run -o` wrote.
    slides_dir : Path, optional
        Where the slide files are now, if not where the run found them.
    access : Access, optional
        What lets in. None lets everybody in who reaches the server under a loopback name: the
        caller binds to a loopback address only.
    proxies : ProxyTrust
        What is believed of a proxy in front.
    audit : AuditLog, optional
        Where it is noted who did what.
    model : str or PatchClassifier
        Of the patch page: a bundled name, a model folder, or a loaded classifier.

    Raises
    ------
    IncompleteRunError
        Where `out` is not the output of a run.
    ModelError
        Where there is no such model.
    """
    app = FastAPI(
        title="wsi_pipeline",
        version=wsi_pipeline.__version__,
        description=f"Review of probability maps of invasive ductal carcinoma. {NOTICE}",
        docs_url=None,  # FastAPI's documentation pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # they would name the host as a proxy passes it
    )
    service = open_service(out, slides_dir, _uploads(model))
    app.state.service, app.state.lanes, app.state.access = service, service.lanes, access
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")
    app.add_exception_handler(RefusedError, _refuse)
    app.add_exception_handler(WsiPipelineError, _apologize)
    app.add_exception_handler(RequestValidationError, _explain)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, _broken)
    app.add_middleware(Guard, access=access, proxies=proxies, audit=audit)
    return app


def _uploads(model: str | PatchClassifier) -> UploadClassifier:
    if not isinstance(model, str):
        return UploadClassifier(model.card, lambda: model)
    card = find_model(model)
    # On the CPU: a patch takes milliseconds, and a GPU may be at work on a run.
    return UploadClassifier(card, partial(load_classifier, card, device="cpu"))


def _answer(status: int, error: str, advice: str = "") -> JSONResponse:
    return JSONResponse({"error": error, "advice": advice}, status_code=status)


async def _refuse(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedError):
        raise error
    return refused(error)


async def _apologize(request: Request, error: Exception) -> Response:
    """Say that results cannot be read or written: not the asker's fault.

    The log gets all of it; a visitor does not hear of places, processes and hosts.
    """
    if not isinstance(error, WsiPipelineError):
        raise error
    logger.warning("%s", error)
    if isinstance(error, LockedError):
        return _answer(503, "another server is saving this", "Try again; else tell who runs it")
    out = request.app.state.service.catalog.out
    return _answer(503, without_places(error.problem, out), without_places(error.advice, out))


def without_places(text: str, out: Path) -> str:
    """Return a sentence without the places of files: what lies below `out` by its place there."""
    for folder in {str(out), str(out.resolve())}:
        text = text.replace(f"{folder}{os.sep}", "")
    return "the results cannot be read or written" if _PLACE.search(text) else text


async def _explain(_request: Request, error: Exception) -> Response:
    """Name the first value that was not as expected."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return _answer(422, f"{place}: {first['msg']}", "See /openapi.json for what is expected")


async def _plain(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse(
        {"error": str(error.detail), "advice": ""}, error.status_code, headers=error.headers
    )


async def _broken(_request: Request, _error: Exception) -> Response:
    return _answer(
        500, "the program failed at this", "This is a defect: please report it with the log"
    )
