"""What the browser's tests share: an application to look at and where things are on its page."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from tests.web.serving import Run
from wsi_pipeline.web import vendor

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")

needs_browser = [
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium: apt install chromium"),
    pytest.mark.skipif(
        not vendor.is_installed(), reason=f"{vendor.PACKAGE} is not here: {vendor.ADVICE}"
    ),
]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def open_slide(page: Any, slide_id: str = "case 1") -> None:
    page.goto(f"/slides/{slide_id}")
    page.wait_for_selector("body[data-ready]")
    page.wait_for_selector("#regions button")


def say_that_it_is_a_duplicate(folder: Path, *, of: str) -> None:
    """Let a slide's record say that it holds the results of another one."""
    told = {"duplicate_of": of, "warnings": [f"the same content as {of}"]}
    place = folder / "status.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | told))


def canvas_color(page: Any, x: float, y: float) -> list[int]:
    """Return the overlay's RGBA at a place of the image."""
    return page.evaluate(
        """([x, y]) => {
          const canvas = document.getElementById("overlay");
          const point = new DOMPoint(x, y).matrixTransform(canvas.getContext("2d").getTransform());
          return [...canvas.getContext("2d").getImageData(point.x, point.y, 1, 1).data];
        }""",
        [x, y],
    )


def screen_point(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return where a place of the image is in the window."""
    point = page.evaluate(
        """([x, y]) => {
          const canvas = document.getElementById("overlay");
          const frame = canvas.getBoundingClientRect();
          const p = new DOMPoint(x, y).matrixTransform(canvas.getContext("2d").getTransform());
          return [frame.left + p.x / devicePixelRatio, frame.top + p.y / devicePixelRatio];
        }""",
        [x, y],
    )
    return (point[0], point[1])


def stored_review(own_run: Run) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((own_run.out / "slides/case 1/review.json").read_text())
    return stored


def until(page: Any, expression: str, seconds: float = 20) -> None:
    """Wait until an expression holds; `wait_for_function` is forbidden by the pages' policy."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"still not: {expression}"
        page.wait_for_timeout(30)
