"""`train`: what its help states, and the bar within an epoch."""

from __future__ import annotations

import re
import sys
import time
from io import StringIO

import pytest

from wsi_pipeline.cli.main import main
from wsi_pipeline.cli.train import DEFAULTS
from wsi_pipeline.cli.training_bar import TrainingBar


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def help_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    return capsys.readouterr().out


STATED = [name for name, default in DEFAULTS.items() if default not in ("", None, True, False)]


@pytest.mark.parametrize("option", STATED)
def test_the_help_states_the_default_that_is_used(option: str, help_text: str) -> None:
    flag = option.replace("_", "-")
    entry = re.search(rf"^  --{flag} .*?(?=^  --|\Z)", help_text, re.MULTILINE | re.DOTALL)
    assert entry is not None, f"there is no --{flag}"
    assert f"(default: {DEFAULTS[option]})" in " ".join(entry[0].split())


def test_the_bar_tells_epoch_speed_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with TrainingBar(3) as bar:
        for epoch in (1, 2):
            for done in (64, 128, 192):
                time.sleep(0.11)  # the bar is drawn ten times a second at most
                bar.show(epoch, done, 192)
    shown = terminal.getvalue()
    assert "epoch 1 of 3" in shown
    assert "epoch 2 of 3" in shown
    assert "patch/s" in shown
    assert "all epochs in " in shown
    assert shown.endswith("\r")  # it has taken itself away


def test_without_a_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBar(1) as bar:
        bar.show(1, 10, 10)
    assert capsys.readouterr().err == ""
