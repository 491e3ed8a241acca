from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from starlette.datastructures import Headers

from tests.web.serving import Client
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.web import bodies
from wsi_pipeline.web.access import Access
from wsi_pipeline.web.errors import ForbiddenError
from wsi_pipeline.web.security import check_host, check_origin, is_loopback

TOKEN = "a-token-that-is-long"  # not a secret
CHANGE = {"revision": 0, "reviewer": "Dr. A", "changes": []}


@pytest.mark.parametrize("path", ["/", "/api/archive", "/api/slides/none", "/static/style.css"])
def test_every_answer_carries_the_headers_that_protect_it(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "[", "127.0.0.1.nip.io"])
def test_a_foreign_host_name_is_refused(client: Client, host: str) -> None:
    answer = client.get("/api/archive", headers={"host": host})
    assert answer.status_code == 403
    assert "localhost" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_this_machines_own_names_are_good(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example", "x-wsi-pipeline": "1"},
        {"origin": "null", "x-wsi-pipeline": "1"},
        {"origin": "http://[", "x-wsi-pipeline": "1"},
        {"origin": "http://127.0.0.1:9999", "x-wsi-pipeline": "1"},
        {"sec-fetch-site": "cross-site", "x-wsi-pipeline": "1"},
        {"sec-fetch-site": "same-site", "x-wsi-pipeline": "1"},
        {"origin": "http://127.0.0.1:8000"},
        {"sec-fetch-site": "same-origin"},
        {"cookie": "a=b"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/api/slides/case 1/review"), ("POST", "/api/classify")]
)
def test_a_foreign_page_can_change_nothing(
    client: Client, headers: dict[str, str], method: str, path: str
) -> None:
    answer = client.ask(method, path, headers=headers, json=CHANGE)
    assert answer.status_code == 403
    assert "page of this server" in answer.json()["error"]


def test_our_own_page_and_plain_programs_may_ask() -> None:
    own = {"host": "a:1", "origin": "http://a:1", "sec-fetch-site": "same-origin"}
    check_origin(Headers({**own, "x-wsi-pipeline": "1"}))
    check_origin(Headers({"host": "a:1"}))
    with pytest.raises(ForbiddenError):
        check_origin(Headers(own))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"cookie": f"wsi_pipeline_session={TOKEN}"},
        {"cookie": "wsi_pipeline_session="},
        {"cookie": "=;=;\x7f"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/api/archive", "/", "/openapi.json", "/api/slides/case 1"])
def test_without_the_token_nothing_is_shown(
    open_to: Callable[..., Client], headers: dict[str, str], path: str
) -> None:
    answer = open_to(Access(TOKEN)).get(path, headers=headers)
    assert answer.status_code == 403
    assert "token" in answer.json()["error"]


def test_the_token_lets_a_program_in(open_to: Callable[..., Client]) -> None:
    client = open_to(Access(TOKEN))
    assert (
        client.get("/api/archive", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    )


def test_a_browser_without_the_token_is_shown_the_way_in(open_to: Callable[..., Client]) -> None:
    client = open_to(Access(TOKEN))
    answer = client.get("/slides/case 1", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "../enter")
    assert "asks for a token" in client.get("/enter").text
    assert client.get("/static/style.css").status_code == 200


def test_a_ticket_opens_once_and_the_cookie_never_holds_the_token(
    open_to: Callable[..., Client],
) -> None:
    access = Access(TOKEN)
    client = open_to(access)
    ticket = access.new_ticket()
    entered = client.get("/enter", params={"ticket": ticket})
    cookie = entered.headers["set-cookie"]
    assert entered.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    session = {"cookie": cookie.split(";")[0]}
    assert client.get("/api/archive", headers=session).status_code == 200
    again = client.get("/enter", params={"ticket": ticket})
    assert again.status_code == 403
    assert "set-cookie" not in again.headers


def test_the_token_can_be_typed_in(open_to: Callable[..., Client]) -> None:
    client = open_to(Access(TOKEN))
    assert client.post("/enter", data={"token": f" {TOKEN} "}).status_code == 303
    wrong = client.post("/enter", data={"token": "something else"})
    assert wrong.headers["location"] == "./enter?wrong=1"
    assert "set-cookie" not in wrong.headers
    foreign = client.post(
        "/enter", data={"token": TOKEN}, headers={"origin": "http://evil.example"}
    )
    assert foreign.status_code == 403


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="too easily guessed"):
        Access("short")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_body_is_counted_as_it_comes(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_ROUTES", ())
    monkeypatch.setattr(bodies, "SMALL", bodies.BodyLimit(1000))

    def endless() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 100

    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in endless():
                yield chunk

    stated = client.post("/api/classify", content=b"x" * 1001)
    streamed = client.post("/api/classify", content=Stream())
    assert stated.status_code == streamed.status_code == 413
    assert "larger than 0 kB" in stated.json()["error"]


def test_a_defect_shows_no_stack_trace(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object) -> None:
        raise RuntimeError("secret inner words")

    monkeypatch.setattr("wsi_pipeline.web.service.ReviewService.archive", broken)
    answer = client.get("/api/archive")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
