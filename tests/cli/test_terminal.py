"""Standard error: log lines, JSON and the progress bar, whatever libraries write from C++."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.phantoms import Phantom
from wsi_pipeline.cli.logs import TerminalWatcher
from wsi_pipeline.cli.main import EXIT_INTERRUPTED, EXIT_USAGE, main

LITERT = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
MODEL = Path(__file__).parents[1] / "models" / "darkness"
PROGRAM = """
import logging, os, subprocess, sys
from wsi_pipeline.cli.terminal import set_up_logging, standard_error_of_our_own
as_json, verbose = "json" in sys.argv, "verbose" in sys.argv
set_up_logging(verbose=verbose, as_json=as_json)
with standard_error_of_our_own(as_json=as_json):
    {body}
"""


def stderr_of(body: str, *words: str) -> list[str]:
    """Return what a process leaves on standard error that does `body` as a command would."""
    program = PROGRAM.replace("{body}", body)
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    "line",
    [
        LITERT,
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1732770000.123456   4242 port.cc:153] oneDNN custom operations are on.",
        "2026-11-28 05:50:34.123456: I tensorflow/core/util/port.cc:153] oneDNN is on.",
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow",
    ],
)
def test_chatter_from_c_is_kept_away_unless_asked_for(line: str) -> None:
    body = f"os.write(2, {(line + chr(10)).encode()!r})"
    assert stderr_of(body) == []
    assert stderr_of(body, "verbose") == [f"INFO: {line}"]


def test_what_is_no_chatter_becomes_a_warning_and_is_not_lost() -> None:
    assert stderr_of(r"os.write(2, b'malloc(): corrupted\nno newline at the end')") == [
        "WARNING: malloc(): corrupted",
        "WARNING: no newline at the end",
    ]


def test_the_last_words_of_a_child_process_arrive() -> None:
    body = "subprocess.run([sys.executable, '-c', 'raise SystemExit(chr(120) * 3)'], check=False)"
    assert stderr_of(body) == ["WARNING: xxx"]


@pytest.mark.parametrize("name", ["tifffile", "distributed.worker", "py.warnings"])
def test_warnings_of_libraries_are_shown_on_demand_alone(name: str) -> None:
    body = f"logging.getLogger({name!r}).warning('tag 42 is odd')"
    assert stderr_of(body) == []
    assert stderr_of(body, "verbose") == ["WARNING: tag 42 is odd"]
    (line,) = stderr_of(body, "json")
    assert json.loads(line)["logger"] == name


def test_dask_gives_its_loggers_no_handlers_of_their_own() -> None:
    body = "import distributed; logging.getLogger('distributed.core').warning('lost a worker')"
    assert stderr_of(body) == []
    (line,) = stderr_of(body, "json")
    assert json.loads(line)["message"] == "lost a worker"


def test_a_bug_is_a_line_of_json_too() -> None:
    (line,) = stderr_of("print('x', file=sys.stderr) if False else 1 / 0", "json")
    record = json.loads(line)
    assert record["message"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in record["traceback"]


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without asking them")
def test_sigterm_ends_a_command_as_ctrl_c_does() -> None:
    # what containers and systemd send; the first process of a container would not even notice it
    program = """
import os, signal, sys, time
from wsi_pipeline.cli import main, models
def work(_options):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
models.execute, sys.argv = work, ["wsi-pipeline", "models"]
sys.exit(main.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_INTERRUPTED
    assert done.stderr.strip() == "interrupted"  # it is no command that goes on from there


def test_wrong_usage_is_a_line_of_json_where_that_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--log-json"])
    assert ended.value.code == EXIT_USAGE
    record = json.loads(capsys.readouterr().err)
    assert "required: INPUT, -o/--out" in record["message"]
    assert record["usage"].startswith("usage: wsi-pipeline run")


def test_an_error_is_a_line_of_json_with_its_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nothere", "-o", "out", "--log-json"]) == EXIT_USAGE
    record = json.loads(capsys.readouterr().err)
    assert record["message"] == "there is no nothere"
    assert record["advice"] == "Name slide files, folders or a CSV list"


def test_every_line_of_a_run_is_json_and_stdout_stays_words(
    tmp_path: Path, phantom_factory: Callable[..., Phantom]
) -> None:
    slides = [str(phantom_factory(name=f"{name}.tif").path) for name in "abc"]
    words = [*slides, "-o", str(tmp_path / "out"), "-j", "2", "--log-json"]
    done = subprocess.run(
        [sys.executable, "-m", "wsi_pipeline", "run", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"run started", "slide started", "slide finished"} <= {r["message"] for r in records}
    assert "3 done, 0 empty, 0 failed" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals in this form")
def test_the_bar_of_a_terminal_is_not_broken(
    tmp_path: Path, phantom_factory: Callable[..., Phantom]
) -> None:
    import pty
    import termios

    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    words = [str(phantom_factory().path), "-o", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-m", "wsi_pipeline", "run", *words],
        stdout=subprocess.DEVNULL,
        stderr=follower,
    ) as run:
        os.close(follower)
        screen = _read_all(leader)
    os.close(leader)
    assert run.returncode == 0
    assert "patch" in screen  # the bar was there
    assert "XNNPACK" not in screen
    # all that reached the terminal are the bar's own carriage returns: not one line of anyone else
    assert "\n" not in screen.replace("\r\n", "\n").strip()


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_the_time_of_the_bar_goes_on_while_one_slide_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("wsi_pipeline.cli.terminal.TICK_SECONDS", 0.05)
    with TerminalWatcher() as watcher:
        watcher.run_started("id", 3, "2 threads")
        end = time.monotonic() + 30
        while "00:01<" not in screen.getvalue():  # and nothing was told meanwhile
            assert time.monotonic() < end, screen.getvalue()
            time.sleep(0.01)
    shown = screen.getvalue()
    assert not shown.split("\r")[-1].strip()  # taken away
    time.sleep(0.2)
    assert screen.getvalue() == shown


def _read_all(descriptor: int) -> str:
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces).decode(errors="replace")
