"""What LiteRT writes from C++ is a log line, and nobody else's words are lost for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, os, subprocess, sys, threading
from wsi_pipeline.classifier.engines.stderr_filter import logged_lines
if "verbose" in sys.argv:
    logging.basicConfig(level=logging.INFO, format="LOG %(message)s", stream=sys.stdout)
{body}
"""


def stderr_of(body: str, *words: str) -> str:
    """Return what a process of its own leaves on standard error."""
    program = PROGRAM.replace("{body}", body)
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return done.stderr + done.stdout


def test_the_known_line_is_logged_and_all_others_arrive_in_their_order() -> None:
    body = r"""
with logged_lines(b"INFO: Created"):
    os.write(2, b"before\nINFO: Created it\n")
    print("from Python", file=sys.stderr)
    os.write(2, b"no newline")
os.write(2, b", after\n")
"""
    assert stderr_of(body) == "before\nfrom Python\nno newline, after\n"
    assert stderr_of(body, "verbose").endswith("LOG INFO: Created it\n")


def test_a_child_process_may_outlive_the_call() -> None:
    body = r"""
import time
with logged_lines(b"INFO: Created"):
    child = subprocess.Popen([sys.executable, "-c", "import sys; input(); sys.exit('last words')"],
                             stdin=subprocess.PIPE)
child.communicate(b"\n")
time.sleep(0.2)
"""
    assert stderr_of(body) == "last words\n"


def test_threads_that_write_meanwhile_lose_nothing() -> None:
    body = r"""
def write():
    for n in range(2000): os.write(2, b"line\n")
threads = [threading.Thread(target=write) for _ in range(4)]
for thread in threads: thread.start()
for _ in range(20):
    with logged_lines(b"INFO: Created"): os.write(2, b"INFO: Created it\n")
for thread in threads: thread.join()
"""
    assert stderr_of(body) == "line\n" * 8000


def test_without_a_standard_error_the_call_is_made_all_the_same() -> None:
    body = "os.close(2)\nwith logged_lines(b'x'): print('made')"
    assert stderr_of(body) == "made\n"


def test_loading_the_bundled_model_from_python_writes_nothing() -> None:
    pytest.importorskip("ai_edge_litert")
    body = """
from wsi_pipeline.classifier import find_model, load_classifier
for _ in range(2): load_classifier(find_model("idc-compact"), device="cpu")
"""
    assert stderr_of(body) == ""
    assert "XNNPACK" in stderr_of(body, "verbose")
