"""Who is let in, under which name, and what is written down about it."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest

from tests.web.serving import Client, DarknessClassifier, Run
from wsi_pipeline.errors import ConfigError, StorageError
from wsi_pipeline.web.access import UNGUESSABLE, Access
from wsi_pipeline.web.app import create_app
from wsi_pipeline.web.audit import AuditLog
from wsi_pipeline.web.proxies import ProxyTrust, checked_prefix
from wsi_pipeline.web.users import Users, main, read_users

TOKEN = "a-token-that-is-long"  # not a secret
PASSWORD = "correct horse battery"  # not a secret
REVIEW = "/api/slides/case 1/review"
BEARER = {"authorization": f"Bearer {TOKEN}"}
HOST = "10.0.0.7:8000"
Serve = Callable[..., tuple[Client, Path]]


def hashed(password: str = PASSWORD) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def users(tmp_path: Path) -> Users:
    lines = [
        "# people of the ward",
        f"Dr. A:{hashed()}",
        f"Müller:{hashed().replace('$2b$', '$2y$')}:reviewer",  # as htpasswd writes it
        f"guest:{hashed()}:viewer",
        "by proxy:*:viewer",
        "",
    ]
    path = tmp_path / "users"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_users(path)


@pytest.fixture
def serve(own_run: Run, classifier: DarknessClassifier) -> Serve:
    """Return a maker of clients of an application with an audit log."""

    def make(access: Access, **options: Any) -> tuple[Client, Path]:
        path = own_run.out / "audit.jsonl"
        app = create_app(
            own_run.out, model=classifier, access=access, audit=AuditLog(path), **options
        )
        return Client(app, HOST), path

    return make


def cookie_of(answer: httpx.Response) -> dict[str, str]:
    return {"cookie": answer.headers["set-cookie"].split(";")[0], "x-wsi-pipeline": "1"}


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def region_change(client: Client, headers: dict[str, str], reviewer: str) -> dict[str, Any]:
    regions = client.get("/api/slides/case 1/regions", headers=headers).json()["features"]
    change = {"id": regions[0]["id"], "decision": "accepted"}
    return {"revision": 0, "reviewer": reviewer, "changes": [change]}


def test_a_named_reviewer_saves_under_no_other_name(serve: Serve, users: Users) -> None:
    client, log = serve(Access(TOKEN, users=users))
    entered = client.post("/enter", data={"name": "Müller", "password": PASSWORD})
    session = cookie_of(entered)
    assert client.get("/api/session", headers=session).json() == {
        "name": "Müller",
        "role": "reviewer",
        "can_review": True,
    }
    update = region_change(client, session, reviewer="Prof. Dr. Chief")
    saved = client.put(REVIEW, json=update, headers=session).json()
    assert saved["history"][0]["reviewer"] == "Müller"
    last = events(log)[-1]
    assert (last["event"], last["who"], last["slide"]) == ("save", "Müller", "case 1")
    assert last["sha256"] == saved["history"][0]["sha256"]


def test_a_viewer_looks_and_saves_nothing(serve: Serve, users: Users, own_run: Run) -> None:
    client, _ = serve(Access(TOKEN, users=users))
    session = cookie_of(client.post("/enter", data={"name": "guest", "password": PASSWORD}))
    assert client.get("/api/archive", headers=session).status_code == 200
    update = region_change(client, session, reviewer="guest")
    answer = client.put(REVIEW, json=update, headers=session)
    assert answer.status_code == 403
    assert "not review them" in answer.json()["error"]
    assert not (own_run.out / "slides/case 1/review.json").exists()


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Dr. A", "wrong horse battery"),
        ("nobody", PASSWORD),
        ("by proxy", "*"),
        ("by proxy", ""),
        ("Dr. A", PASSWORD + "x" * 80),
        ("", ""),
    ],
)
def test_a_wrong_name_or_password_lets_nobody_in(
    serve: Serve, users: Users, name: str, password: str
) -> None:
    client, log = serve(Access(TOKEN, users=users))
    answer = client.post("/enter", data={"name": name, "password": password})
    assert answer.headers["location"] == "./enter?wrong=1"
    assert "set-cookie" not in answer.headers
    assert events(log)[-1]["event"] == "refused"
    assert password == "" or password not in log.read_text()


def test_where_people_have_names_neither_token_nor_ticket_opens_a_session(
    serve: Serve, users: Users
) -> None:
    access = Access(TOKEN, users=users)
    client, _ = serve(access)
    assert "set-cookie" not in client.post("/enter", data={"token": TOKEN}).headers
    ticket = client.get("/enter", params={"ticket": access.new_ticket()})
    assert (ticket.status_code, "set-cookie" in ticket.headers) == (403, False)
    assert 'name="password"' in ticket.text


def test_who_signs_out_is_out_and_others_stay(serve: Serve) -> None:
    client, log = serve(Access(TOKEN))
    one, other = (cookie_of(client.post("/enter", data={"token": TOKEN})) for _ in range(2))
    assert one["cookie"] != other["cookie"]
    assert "Sign out" in client.get("/", headers=one).text
    foreign = {**one, "origin": "http://evil.example"}
    assert client.post("/logout", headers=foreign).status_code == 403
    left = client.post("/logout", headers={**one, "origin": f"http://{HOST}"})
    assert left.headers["location"] == "./enter"
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert client.get("/api/archive", headers=one).status_code == 403
    assert client.get("/api/archive", headers=other).status_code == 200
    assert "sign-out" in {event["event"] for event in events(log)}


def test_a_restart_ends_all_sessions(serve: Serve) -> None:
    session = cookie_of(serve(Access(TOKEN))[0].post("/enter", data={"token": TOKEN}))
    assert serve(Access(TOKEN))[0].get("/api/archive", headers=session).status_code == 403


@pytest.mark.parametrize("way", ["form", "bearer"])
def test_guessing_is_slowed_down_and_written_down(serve: Serve, way: str) -> None:
    client, log = serve(Access(TOKEN))

    def guess(word: str) -> httpx.Response:
        if way == "form":
            return client.post("/enter", data={"token": word})
        return client.get("/api/archive", headers={"authorization": f"Bearer {word}"})

    answers = [guess(f"guess {n}") for n in range(8)]
    assert [answer.status_code for answer in answers[5:]] == [429] * 3
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "wrong attempts" in answers[-1].text
    assert guess(TOKEN).status_code == 429  # else a guess that is right would be told
    refused = [event for event in events(log) if event["event"] == "refused"]
    assert len(refused) == 5
    assert TOKEN not in log.read_text()
    assert "guess" not in log.read_text()


def test_a_program_with_a_token_that_nobody_guesses_is_not_kept_out_by_who_tries(
    serve: Serve,
) -> None:
    token = "x" * UNGUESSABLE
    client, _ = serve(Access(token))
    for n in range(8):
        client.get("/api/archive", headers={"authorization": f"Bearer guess {n}"})
    right = client.get("/api/archive", headers={"authorization": f"Bearer {token}"})
    assert right.status_code == 200


def test_who_is_in_stays_in_while_others_guess(serve: Serve) -> None:
    access = Access(TOKEN)
    client, _ = serve(access)
    session = cookie_of(client.post("/enter", data={"token": TOKEN}))
    for n in range(8):
        client.post("/enter", data={"token": f"guess {n}"})
    assert client.get("/api/archive", headers=session).status_code == 200
    entered = client.get("/enter", params={"ticket": access.new_ticket()})
    assert "set-cookie" in entered.headers


def test_a_proxy_passes_the_name_and_only_with_the_token(serve: Serve) -> None:
    client, _ = serve(Access(TOKEN, user_header="X-Remote-User"))
    forged = {"x-remote-user": "Prof. Dr. Chief"}
    assert client.get("/api/session", headers=forged).status_code == 403
    seen = client.get("/api/session", headers={**forged, **BEARER}).json()
    assert seen["name"] == "Prof. Dr. Chief"
    nameless = client.get("/api/session", headers=BEARER)
    assert nameless.status_code == 403
    assert "no name" in nameless.json()["error"]
    long = client.get("/api/session", headers={"x-remote-user": "x" * 81, **BEARER})
    assert long.status_code == 403


def test_the_users_file_gives_roles_to_the_names_of_a_proxy(serve: Serve, users: Users) -> None:
    client, _ = serve(Access(TOKEN, users=users, user_header="X-Remote-User"))
    known = client.get("/api/session", headers={"x-remote-user": "by proxy", **BEARER}).json()
    assert known["role"] == "viewer"
    unknown = client.get("/api/session", headers={"x-remote-user": "mallory", **BEARER})
    assert unknown.status_code == 403


def test_the_cookie_is_secure_behind_tls(serve: Serve) -> None:
    client, _ = serve(Access(TOKEN), proxies=ProxyTrust("/wsi"))
    tls = {"x-forwarded-proto": "https", "origin": f"https://{HOST}"}
    cookie = client.post("/enter", data={"token": TOKEN}, headers=tls).headers["set-cookie"]
    assert "Secure" in cookie
    assert "Path=/wsi/" in cookie
    assert "Max-Age=43200" in cookie
    plain = client.post("/enter", data={"token": TOKEN}).headers["set-cookie"]
    assert "Secure" not in plain
    wrong = {"x-forwarded-proto": "https", "origin": f"http://{HOST}"}
    told = client.post("/enter", data={"token": TOKEN}, headers=wrong).headers["set-cookie"]
    assert "Secure" not in told  # the browser would not send it back


@pytest.mark.parametrize("stripped", [True, False])
@pytest.mark.parametrize("stated", [True, False])
def test_below_a_prefix_everything_is_where_it_is(
    serve: Serve, stripped: bool, stated: bool
) -> None:
    client, _ = serve(Access(TOKEN), proxies=ProxyTrust("/wsi" if stated else ""))
    headers = {**BEARER, "x-forwarded-prefix": "" if stated else "/wsi"}
    before = "" if stripped else "/wsi"
    assert client.get(f"{before}/api/archive", headers=headers).status_code == 200
    page = client.get(f"{before}/slides/case 1", headers=headers).text
    assert 'href="../static/style.css"' in page
    assert 'data-root="../"' in page
    assert not re.search(r'(href|src|action)="/', page)
    nobody = {"accept": "text/html", "x-forwarded-prefix": "/wsi"}
    way_in = client.get(f"{before}/slides/case 1", headers=nobody)
    assert way_in.headers["location"] == "../enter"


@pytest.mark.parametrize("path", ["/", "/classify", "/enter", "/slides/case 1/report"])
def test_no_page_names_an_absolute_address(serve: Serve, path: str) -> None:
    client, _ = serve(Access(TOKEN))
    text = client.get(path, headers=BEARER).text
    up = "../" * (path.count("/") - 1) or "./"
    assert f'href="{up}static/style.css"' in text
    assert not re.search(r'(href|src|action)="/', text)


@pytest.mark.parametrize(
    "prefix", ["/api", "/slides/x", "/a b", "/../x", "//evil.example", '/"><x']
)
def test_a_prefix_that_is_none_is_refused(serve: Serve, prefix: str) -> None:
    with pytest.raises(ConfigError, match="--root-path"):
        checked_prefix(prefix if not prefix.startswith("//") else "/" + prefix.strip("/") + "/ x")
    client, _ = serve(Access(TOKEN))
    cookie = client.post(
        "/enter", data={"token": TOKEN}, headers={"x-forwarded-prefix": prefix}
    ).headers["set-cookie"]
    assert "Path=/;" in cookie


def test_the_address_behind_a_trusted_proxy_is_the_visitors(serve: Serve) -> None:
    for trusted, expected in ((frozenset({"127.0.0.1"}), "192.0.2.1"), (frozenset(), "127.0.0.1")):
        client, log = serve(Access(TOKEN), proxies=ProxyTrust(addresses=trusted))
        headers = {"x-forwarded-for": "203.0.113.9, 192.0.2.1"}
        client.post("/enter", data={"token": "no, not this"}, headers=headers)
        assert events(log)[-1]["address"] == expected


def test_the_log_tells_who_looked_and_who_took_something_away(serve: Serve) -> None:
    client, log = serve(Access(TOKEN))
    client.get("/api/slides/case 1", headers=BEARER)
    client.get(f"{REVIEW}.geojson", headers=BEARER)
    seen = [(event["event"], event["who"], event.get("slide")) for event in events(log)]
    assert seen == [("view", "(token)", "case 1"), ("export", "(token)", "case 1")]


def test_words_in_a_name_make_no_lines_in_the_log(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "a.jsonl")
    log.note("refused", 'x"}\n{"event": "save', "::1", name="\x1b[2J\u202e\udcff" + "y" * 9999)
    [line] = (tmp_path / "a.jsonl").read_text().splitlines()
    assert line.isprintable()
    assert len(line) < 1000
    assert json.loads(line)["event"] == "refused"


def test_what_has_to_be_logged_and_cannot_be_is_not_shown(
    own_run: Run, classifier: DarknessClassifier, tmp_path: Path
) -> None:
    log = AuditLog(tmp_path / "none" / "a.jsonl", is_required=True)
    with pytest.raises(StorageError, match="audit log"):
        log.note("view", None, "::1")
    client = Client(
        create_app(own_run.out, model=classifier, access=Access(TOKEN), audit=log), HOST
    )
    answer = client.get("/api/slides/case 1", headers=BEARER)
    assert answer.status_code == 503
    assert "audit log" in answer.json()["error"]
    assert str(tmp_path) not in answer.text


def test_a_link_in_the_place_of_the_log_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "a.jsonl").symlink_to(victim)
    AuditLog(tmp_path / "a.jsonl", root=tmp_path).note("view", None, "::1")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("name", "Invalid salt|salt"),
        ("name:plain-password", "line 1"),
        (f":{hashed()}", "1 to 80"),
        (f"{'x' * 81}:{hashed()}", "1 to 80"),
        (f"name:{hashed()}:chief", "the role is 'chief'"),
        ("# nobody", "names nobody"),
    ],
    ids=["no-colon", "no-hash", "no-name", "long-name", "no-role-of-ours", "comment-alone"],
)
def test_a_users_file_that_is_none_is_told_with_the_line(
    tmp_path: Path, line: str, match: str
) -> None:
    (tmp_path / "users").write_text(line)
    with pytest.raises(ConfigError, match=match):
        read_users(tmp_path / "users")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let passwords be typed at a terminal."""

    def type_in(*passwords: str) -> None:
        following = iter(passwords)
        monkeypatch.setattr("getpass.getpass", lambda _prompt: next(following))

    monkeypatch.setattr("wsi_pipeline.web.users.ROUNDS", 4)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    return type_in


def test_a_line_for_the_file_can_be_made_here(
    tmp_path: Path, typed: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    typed(PASSWORD, PASSWORD)
    assert main(["Anna", "viewer"]) == 0
    (tmp_path / "users").write_text(capsys.readouterr().out)
    person = read_users(tmp_path / "users").check("Anna", PASSWORD)
    assert person is not None
    assert (person.name, person.role, person.can_review) == ("Anna", "viewer", False)


@pytest.mark.parametrize(
    ("passwords", "said"),
    [(("short", "short"), "10 to 72 bytes, received 5"), ((PASSWORD, "other"), "differ")],
)
def test_a_password_that_will_not_do_is_said(
    typed: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    passwords: tuple[str, str],
    said: str,
) -> None:
    typed(*passwords)
    assert main(["Anna"]) == 1
    assert said in capsys.readouterr().err


def test_a_program_hands_the_password_over_by_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wsi_pipeline.web.users.ROUNDS", 4)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert main(["Anna"]) == 0
    assert capsys.readouterr().out.startswith("Anna:$2b$")
    assert main(["An:na"]) == 1
    assert "colon" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "status"), [([], 2), (["a", "chief"], 2), (["--help"], 0)])
def test_who_asks_how_is_told(words: list[str], status: int) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == status
