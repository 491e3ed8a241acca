import argparse
import json
import logging
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.web.serving import Run
from wsi_pipeline.cli.main import main
from wsi_pipeline.cli.serve import (
    TOKEN_VARIABLE,
    access_of,
    add_arguments,
    address_of,
    listen,
)
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.execution.memory import give_memory_back


@contextmanager
def serving(out: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; yield it and what it prints before it serves."""
    command = [sys.executable, "-m", "wsi_pipeline", "serve", str(out), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl+C" in line:
            break
    try:
        yield process, "".join(lines)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()


def first_address(printed: str) -> str:
    found = re.search(r"http://\S+", printed)
    assert found, printed
    return found.group()


def test_it_prints_its_address_serves_and_stops_quietly(run: Run) -> None:
    with serving(run.out, "--no-token") as (process, printed):
        address = first_address(printed)
        assert address.startswith("http://127.0.0.1:")
        assert "Research use only. Not for diagnosis." in printed
        with urllib.request.urlopen(f"{address}api/archive", timeout=10) as answer:
            assert answer.status == 200
            assert "server" not in answer.headers
    assert process.returncode in (0, 130)


def test_on_any_other_address_it_asks_for_a_token(run: Run) -> None:
    with serving(run.out, "--host", "0.0.0.0") as (process, printed):
        ticket = first_address(printed)
        assert "/enter?ticket=" in ticket
        port = re.search(r":(\d+)/", ticket)
        assert port
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/api/archive", timeout=10)
    assert process.returncode in (0, 130)


def test_two_servers_on_one_folder_lose_no_save(own_run: Run) -> None:
    path = own_run.out / "slides/case 1/review.json"
    with (
        serving(own_run.out, "--no-token") as (_, one),
        serving(own_run.out, "--no-token") as (_, other),
    ):
        bases = [f"{first_address(text)}api/slides/case%201" for text in (one, other)]
        region = httpx.get(f"{bases[0]}/regions", timeout=60).json()["features"][0]["id"]
        saved: list[str] = []
        conflicts: list[str] = []

        def reviewer(number: int) -> None:
            base, words = bases[number % 2], f"by {number}"
            with httpx.Client(timeout=60) as client:
                for turn in range(4):
                    comment = f"{words}, {turn}"
                    while True:  # as the page does: load their version, save again
                        revision = client.get(f"{base}/review").json()["revision"]
                        change = {"id": region, "decision": "accepted", "comment": comment}
                        update = {"revision": revision, "reviewer": words, "changes": [change]}
                        answer = client.put(f"{base}/review", json=update)
                        (saved if answer.status_code == 200 else conflicts).append(comment)
                        assert answer.status_code in (200, 409), answer.text
                        if answer.status_code == 200:
                            break

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(reviewer, range(4)))
    review = json.loads(path.read_text())
    kept = [entry["changes"][0]["after"]["comment"] for entry in review["history"]]
    assert sorted(kept) == sorted(saved)
    assert len(saved) == review["revision"] == 16
    assert conflicts  # they did get in each other's way


def test_neither_token_nor_ticket_comes_into_the_log(run: Run) -> None:
    token = "a-token-of-my-own"  # not a secret
    with serving(run.out, "--token", token) as (process, printed):
        entrance = first_address(printed)
        base = entrance.split("/enter")[0]
        with httpx.Client(timeout=60) as client:
            assert client.get(entrance).status_code == 303
            client.get(f"{base}/api/archive", headers={"authorization": f"Bearer {token}"})
            client.get(f"{base}/api/slides/{token}?token={token}", params={"threshold": "x"})
            client.post(f"{base}/enter", data={"token": f"{token}-nearly"})
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        logged = process.stdout.read()
    assert token not in printed + logged
    assert "ticket" not in logged


def options_of(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["out", *words])


def test_every_address_asks_for_a_token_that_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    tokens = set()
    for words in ([], ["--host", "localhost"], ["--host", "10.0.0.1"]):
        access, is_made = access_of(options_of(*words))
        assert access is not None
        assert is_made
        assert len(access.token) >= 32
        tokens.add(access.token)
    assert len(tokens) == 3


def test_the_token_comes_from_a_file_the_environment_or_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("a-token-in-a-file\n")
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-around-us")
    for words, expected in (
        (["--token-file", str(tmp_path / "token")], "a-token-in-a-file"),
        (["--token", "a-token-on-the-line"], "a-token-on-the-line"),
        ([], "a-token-around-us"),
    ):
        access, is_made = access_of(options_of(*words))
        assert access is not None
        assert (access.token, is_made) == (expected, False)


@pytest.mark.skipif(os.name != "posix", reason="a mode does not say there who may read")
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604])
def test_a_token_that_others_can_read_is_told_with_its_mode_and_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = tmp_path / "my token"
    path.write_text("a-token-in-a-file\n")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING, "wsi_pipeline"):
        access, _ = access_of(options_of("--token-file", str(path)))
    assert access is not None
    said = f"open to others on this machine (mode {mode:04o}): chmod 600 '{path}'"
    assert (said in caplog.text) == (mode in (0o640, 0o604))
    assert access.token not in caplog.text


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--no-token", "--host", "0.0.0.0"], "whoever reaches 0.0.0.0"),
        (["--no-token", "--token", "a-token-of-my-own"], "lets everybody in"),
        (["--token", "short"], "too easily guessed"),
        (["--token", "a-token-of-my-own", "--token-file", "x"], "two tokens"),
        (["--token-file", "/no/such/file"], "cannot be read"),
        (["--users", "/no/such/file"], "cannot be read"),
        (["--trusted-user-header", "X-Remote-User"], "needs a token"),
    ],
)
def test_options_that_make_no_sense_are_told(
    words: list[str], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=match):
        access_of(options_of(*words))


def test_a_user_of_the_same_machine_reads_and_writes_nothing_without_the_token(
    own_run: Run,
) -> None:
    with serving(own_run.out) as (_, printed):
        entrance = first_address(printed)
        base = entrance.split("/enter")[0]
        for path in (
            "api/archive",
            "api/slides/case%201/review",
            "slides/case%201",
            "openapi.json",
        ):
            assert httpx.get(f"{base}/{path}", timeout=60).status_code == 403
        update = {"revision": 0, "reviewer": "Prof. Dr. Chief", "changes": [{"id": "x"}]}
        answer = httpx.put(f"{base}/api/slides/case%201/review", json=update, timeout=60)
        assert answer.status_code == 403
        guess = {"authorization": "Bearer a-guess"}
        assert httpx.get(f"{base}/api/archive", headers=guess, timeout=60).status_code == 403
        with httpx.Client(timeout=60, follow_redirects=True) as browser:
            assert "Archive" in browser.get(entrance).text
            assert browser.get(f"{base}/api/archive").status_code == 200
    assert not (own_run.out / "slides/case 1/review.json").exists()
    events = [json.loads(line) for line in (own_run.out / "audit.jsonl").read_text().splitlines()]
    assert {"start", "refused", "sign-in"} <= {event["event"] for event in events}
    assert (own_run.out / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_a_port_that_is_taken_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(run.out), "--port", str(port)]) == 2
    assert "choose one with --port" in capsys.readouterr().err


def test_memory_goes_back_to_the_system_where_that_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "from wsi_pipeline.execution.memory import give_memory_back as g; print(g())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert give_memory_back() is False


def test_small_answers_do_not_wait_for_the_browsers_acknowledgement() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # what asyncio asks before TCP_NODELAY


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_is_none_is_told(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        listen(host, port)


def test_a_slides_folder_that_is_none_is_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(run.out), "--slides", str(tmp_path / "none")]) == 2
    assert "--slides" in capsys.readouterr().err


def test_a_folder_without_results_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(tmp_path)]) == 1
    assert "run -o" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:80/"), ("::1", "http://[::1]:80/")],
)
def test_the_address_can_be_opened(host: str, expected: str) -> None:
    assert address_of(host, 80) == expected
    assert "0.0.0.0" not in address_of("0.0.0.0", 80)


def test_the_command_imports_no_web_framework_before_it_serves() -> None:
    code = (
        "import sys, wsi_pipeline.cli.serve\n"
        "print([m for m in ('fastapi', 'uvicorn', 'starlette', 'openslide') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
