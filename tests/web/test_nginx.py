"""The application behind a real nginx: with the example of configs/nginx, and a bare one."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import bcrypt
import httpx
import pytest

from tests.web.browsing import served
from tests.web.serving import DarknessClassifier, Run
from wsi_pipeline.web.access import Access
from wsi_pipeline.web.app import create_app
from wsi_pipeline.web.proxies import ProxyTrust

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL = shutil.which("openssl")
EXAMPLE = Path(__file__).parents[2] / "configs" / "nginx" / "wsi-pipeline.conf"
TOKEN = "a-token-that-is-long-enough-for-anyone"  # not a secret
OWN_PAGE = {"x-wsi-pipeline": "1", "sec-fetch-site": "same-origin"}

pytestmark = pytest.mark.skipif(
    not (NGINX and OPENSSL), reason="there is no nginx or no openssl: apt install nginx openssl"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with slides.crt and slides.key of this machine."""
    folder = tmp_path_factory.mktemp("tls")
    command = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(folder / "slides.key"), "-out", str(folder / "slides.crt")]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, server: str, port: int) -> Iterator[None]:
    """Run nginx in the foreground with one server block until the end."""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = (
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}\n}}\n"
    )
    (folder / "nginx.conf").write_text(text)
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen([*command, "-e", str(folder / "error.log")])
    try:
        for _ in range(500):
            assert process.poll() is None, (folder / "error.log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(30)


def example(certificate: Path, upstream: str, port: int, **lines: str) -> str:
    """Return the example with this machine's names put in, and lines of it switched on."""
    text = EXAMPLE.read_text(encoding="utf-8")
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "slides.example.org;": "localhost;",
        "/etc/nginx/tls/": f"{certificate}/",
        "http://127.0.0.1:8000": upstream,
        **lines,
    }
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text


def everything_works(browser: httpx.Client, base: str, headers: dict[str, str]) -> None:
    """Open the pages and all that they name, look at a tile, save a review."""
    for page in ("", "classify", "slides/case%201", "slides/case%201/report"):
        answer = browser.get(base + page)
        assert answer.status_code == 200
        for name in re.findall(r'(?:href|src)="([^"#]+)"', answer.text):
            place = urljoin(base + page, name)
            assert urlsplit(place).path.startswith(urlsplit(base).path)
            if "/vendor/" not in place:  # brought when the package is built
                assert browser.get(place).status_code == 200, place
    slide = browser.get(f"{base}api/slides/case%201").json()
    level = slide["image"]["max_level"]
    assert browser.get(f"{base}api/slides/case%201/tiles/{level}/0_0.jpg").status_code == 200
    review = f"{base}api/slides/case%201/review"
    region = browser.get(f"{base}api/slides/case%201/regions").json()["features"][0]["id"]
    update = {
        "revision": browser.get(review).json()["revision"],
        "reviewer": "Dr. A",
        "changes": [{"id": region, "decision": "accepted"}],
    }
    saved = browser.put(review, json=update, headers=headers)
    assert saved.status_code == 200, saved.text


def test_the_example_works_as_it_stands(
    own_run: Run, classifier: DarknessClassifier, certificate: Path, tmp_path: Path
) -> None:
    trust = ProxyTrust("/wsi", frozenset({"127.0.0.1"}))
    app = create_app(own_run.out, model=classifier, access=Access(TOKEN), proxies=trust)
    port = free_port()
    base, origin = f"https://localhost:{port}/wsi/", {"origin": f"https://localhost:{port}"}
    verify = ssl.create_default_context(cafile=str(certificate / "slides.crt"))
    with (
        served(app) as upstream,
        nginx(tmp_path, example(certificate, upstream, port), port),
        httpx.Client(verify=verify, timeout=60, follow_redirects=True) as browser,
    ):
        way_in = browser.get(f"{base}slides/case%201", headers={"accept": "text/html"})
        assert way_in.url.path == "/wsi/enter"
        foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        assert (
            browser.post(f"{base}enter", data={"token": TOKEN}, headers=foreign).status_code == 403
        )
        entered = browser.post(f"{base}enter", data={"token": TOKEN}, headers=origin)
        assert entered.url.path == "/wsi/"
        [cookie] = browser.cookies.jar
        assert (cookie.secure, cookie.path) == (True, "/wsi/")
        everything_works(browser, base, {**origin, **OWN_PAGE})
        foreign |= {"x-wsi-pipeline": "1"}
        assert browser.put(f"{base}api/slides/case%201/review", headers=foreign).status_code == 403
        assert browser.post(f"{base}logout", headers=origin).url.path == "/wsi/enter"
        assert browser.get(f"{base}api/archive").status_code == 403


@pytest.mark.parametrize("prefix", ["/", "/wsi/"])
def test_nginx_without_any_header_of_its_own_works_where_the_browser_vouches(
    own_run: Run, classifier: DarknessClassifier, tmp_path: Path, prefix: str
) -> None:
    app = create_app(own_run.out, model=classifier, access=Access(TOKEN))
    port = free_port()
    base = f"http://localhost:{port}{prefix}"
    origin = {"origin": f"http://localhost:{port}"}
    with served(app) as upstream:
        server = (
            f"server {{ listen 127.0.0.1:{port}; location {prefix} {{ proxy_pass {upstream}/; }} }}"
        )
        with (
            nginx(tmp_path, server, port),
            httpx.Client(timeout=60, follow_redirects=True) as browser,
        ):
            told = browser.post(f"{base}enter", data={"token": TOKEN}, headers=origin)
            assert told.status_code == 403
            assert "proxy_set_header Host" in told.json()["advice"]
            vouched = {**origin, **OWN_PAGE}
            entered = browser.post(f"{base}enter", data={"token": TOKEN}, headers=vouched)
            assert entered.url.path == prefix
            everything_works(browser, base, vouched)


def test_nginx_asks_for_the_name_and_nobody_else_can_give_it(
    own_run: Run, classifier: DarknessClassifier, certificate: Path, tmp_path: Path
) -> None:
    access = Access(TOKEN, user_header="X-Remote-User")
    app = create_app(own_run.out, model=classifier, access=access, proxies=ProxyTrust("/wsi"))
    (tmp_path / "token").write_text(f'proxy_set_header Authorization "Bearer {TOKEN}";')
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    (tmp_path / "htpasswd").write_text(f"anna:{hashed}\n")
    port = free_port()
    base = f"https://localhost:{port}/wsi/"
    lines = {
        "#auth_basic ": "auth_basic ",
        "#auth_basic_user_file /etc/nginx/slides.htpasswd": (
            f"auth_basic_user_file {tmp_path}/htpasswd"
        ),
        "#include              /etc/nginx/wsi-pipeline-token.conf": f"include {tmp_path}/token",
        "#proxy_set_header     X-Remote-User": "proxy_set_header X-Remote-User",
    }
    verify = ssl.create_default_context(cafile=str(certificate / "slides.crt"))
    forged = {"x-remote-user": "Prof. Dr. Chief"}
    with (
        served(app) as upstream,
        nginx(tmp_path, example(certificate, upstream, port, **lines), port),
        httpx.Client(verify=verify, timeout=60) as browser,
    ):
        assert browser.get(f"{base}api/session", headers=forged).status_code == 401
        assert httpx.get(f"{upstream}/api/session", headers=forged).status_code == 403
        anna = ("anna", "correct horse")
        seen = browser.get(f"{base}api/session", headers=forged, auth=anna)
        assert seen.json() == {"name": "anna", "role": "reviewer", "can_review": True}
        browser.auth = httpx.BasicAuth(*anna)
        everything_works(browser, base, {"origin": f"https://localhost:{port}", **OWN_PAGE})
        history = browser.get(f"{base}api/slides/case%201/review").json()["history"]
        assert [entry["reviewer"] for entry in history] == ["anna"]
