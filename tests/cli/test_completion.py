"""Completion in shells: what the word at the cursor can become."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wsi_pipeline.cli.main import EXIT_DONE, main

SEPARATOR = "\v"


def completions(line: str) -> list[str]:
    """Return what argcomplete offers at the end of a line, as a shell asks for it."""
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": SEPARATOR,
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout",
    }
    done = subprocess.run(
        [sys.executable, "-m", "wsi_pipeline"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return [word.strip() for word in done.stdout.split(SEPARATOR)]


@pytest.mark.skipif(os.name == "nt", reason="these are shells of Unix")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wsi-pipeline comp", {"compare", "completion"}),
        ("wsi-pipeline run --thr", {"--threshold"}),
        ("wsi-pipeline run case.svs --stain mac", {"macenko"}),
        ("wsi-pipeline completion z", {"zsh"}),
    ],
)
def test_commands_options_and_values_are_offered(line: str, expected: set[str]) -> None:
    assert set(completions(line)) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_code(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == EXIT_DONE
    code = capsys.readouterr().out
    assert "wsi-pipeline" in code
    assert ("complete --command wsi-pipeline" in code) == (shell == "fish")
