"""The review server behind a proxy, as hospitals put it there."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.cases.conftest import MODEL
from tests.web.browsing import served
from tests.web.serving import DarknessClassifier, Run, make_run
from wsi_pipeline.classifier import find_model
from wsi_pipeline.web.access import Access
from wsi_pipeline.web.app import create_app

TOKEN = "a-token-that-is-long-enough"  # not a secret


@contextmanager
def proxy(upstream: str, prefix: str, *, keeps_host: bool) -> Iterator[str]:
    """Pass requests on as nginx's proxy_pass does; say the rest in X-Forwarded headers."""
    target = urlsplit(upstream)

    class Handler(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            headers |= {"X-Forwarded-Host": self.headers["Host"], "X-Forwarded-Proto": "https"}
            headers["X-Forwarded-Prefix"] = prefix
            if not keeps_host:
                headers["Host"] = target.netloc
            onward = http.client.HTTPConnection(target.netloc)
            onward.request(self.command, self.path[len(prefix) :], body or None, headers)
            answer = onward.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            onward.close()

        do_GET = do_POST = do_PUT = forward  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}{prefix}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def run(tmp_path: Any) -> Run:
    return make_run(tmp_path)


@pytest.mark.row("73")
def test_serve_below_a_prefix(run: Run) -> None:
    """`serve` behind a proxy under /wsi/: style, pictures, tiles and saving work."""
    app = create_app(run.out, model=DarknessClassifier(find_model(str(MODEL))))
    with (
        served(app) as upstream,
        proxy(upstream, "/wsi", keeps_host=False) as base,
        httpx.Client(timeout=60) as browser,
    ):
        for page in ("", "slides/case%201"):
            text = browser.get(base + page).text
            for name in re.findall(r'(?:href|src)="([^"#]+)"', text):
                place = urljoin(base + page, name)
                assert place.startswith(base)
                assert "vendor" in place or browser.get(place).status_code == 200, place
        assert browser.get(f"{base}api/slides/case%201/pictures/overlay").status_code == 200
        assert browser.get(f"{base}api/slides/case%201/tiles/12/0_0.jpg").status_code == 200
        assert save(browser, base).status_code == 200


@pytest.mark.row("74")
@pytest.mark.parametrize("keeps_host", [False, True], ids=["default Host", "browser's Host"])
def test_a_token_behind_a_proxy(run: Run, keeps_host: bool) -> None:
    """`serve` with a token behind a proxy: signing in and saving work, foreign pages do not."""
    model = DarknessClassifier(find_model(str(MODEL)))
    app = create_app(run.out, model=model, access=Access(TOKEN))
    with (
        served(app) as upstream,
        proxy(upstream, "", keeps_host=keeps_host) as base,
        httpx.Client(timeout=60) as browser,
    ):
        assert browser.get(f"{base}api/archive").status_code == 403
        own = {"origin": base.rstrip("/"), "sec-fetch-site": "same-origin"}
        entered = browser.post(f"{base}enter", data={"token": TOKEN}, headers=own)
        assert entered.status_code == 303
        assert save(browser, base).status_code == 200
        foreign = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
        assert save(browser, base, foreign).status_code == 403


def save(browser: httpx.Client, base: str, changes: dict[str, str] | None = None) -> httpx.Response:
    """Save as the page does, or as a foreign one would."""
    own = {"origin": base.split("/wsi")[0].rstrip("/"), "sec-fetch-site": "same-origin"}
    place = f"{base}api/slides/case%201"
    region = json.loads(browser.get(f"{place}/regions").text)["features"][0]["id"]
    revision = browser.get(f"{place}/review").json()["revision"]
    change = {"id": region, "decision": "accepted"}
    update = {"revision": revision, "reviewer": "Dr. A", "changes": [change]}
    return browser.put(
        f"{place}/review", json=update, headers={**own, "x-wsi-pipeline": "1", **(changes or {})}
    )
