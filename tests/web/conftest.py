"""Runs to serve and clients to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.web.browsing import CHROMIUM, served
from tests.web.serving import Client, DarknessClassifier, Run, make_run
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.web.access import Access
from wsi_pipeline.web.app import create_app


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> DarknessClassifier:
    return DarknessClassifier(
        ModelCard(
            folder=tmp_path_factory.mktemp("model"),
            name="darkness",
            patch_size_px=50,
            spacing_um_px=8.0,
            class_names=("IDC",),
            input_range=(0.0, 255.0),
            sha256="0" * 64,
            threshold=0.5,
            record={"operating_points": {"balanced": 0.5, "high_sensitivity": 0.25}},
        )
    )


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run to look at, which no test changes."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def own_run(tmp_path: Path) -> Run:
    """Return a run of the test's own."""
    return make_run(tmp_path)


@pytest.fixture(scope="session")
def client(run: Run, classifier: DarknessClassifier) -> Client:
    return Client(create_app(run.out, model=classifier))


@pytest.fixture
def own_client(own_run: Run, classifier: DarknessClassifier) -> Client:
    return Client(create_app(own_run.out, model=classifier))


@pytest.fixture
def open_to(run: Run, classifier: DarknessClassifier) -> Callable[..., Client]:
    """Return a maker of clients of an application that asks for a token."""

    def make(access: Access, host: str = "10.0.0.7:8000") -> Client:
        return Client(create_app(run.out, model=classifier, access=access), host)

    return make


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Return a maker of picture files of one color."""

    def make(
        width: int = 50,
        height: int = 50,
        color: tuple[int, ...] = (51, 51, 51),
        form: str = "PNG",
        mode: str = "RGB",
    ) -> bytes:
        buffer = BytesIO()
        Image.new(mode, (width, height), color).save(buffer, form)
        return buffer.getvalue()

    return make


@pytest.fixture
def address(own_run: Run, classifier: DarknessClassifier) -> Iterator[str]:
    """Serve the test's own run and return the server's address."""
    with served(create_app(own_run.out, model=classifier)) as place:
        yield place


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    with playwright_api.sync_playwright() as tool:
        options = ["--no-sandbox", "--disable-gpu"]
        started = tool.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """Return a page; afterwards nothing may have failed in it or been asked of another host."""
    context = browser.new_context(
        base_url=address,
        viewport={"width": 1280, "height": 800},
        reduced_motion="reduce",  # flights end at once
    )
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    wrong: list[str] = []

    def logged(line: Any) -> None:
        if line.type == "error":
            wrong.append(line.text)

    def asked(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            wrong.append(f"asked {request.url}")

    opened.on("pageerror", lambda error: wrong.append(f"error {error}"))
    opened.on("console", logged)
    opened.on("request", asked)
    opened.wrong = wrong
    yield opened
    context.close()
    assert [line for line in wrong if "409" not in line and "422" not in line] == []
