"""Words in names neither steer a terminal nor make lines of their own; files are not public."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsi_pipeline.cli.main import main
from wsi_pipeline.cli.printing import printable, tamed, tamed_output
from wsi_pipeline.cli.terminal import JsonFormatter, LineFormatter
from wsi_pipeline.files import keep_from_others

HOSTILE = "a\x1b[2J\x1b]0;t\x07\u202egnp.\x9b1m\nINFO: all is well\r\x85"


@pytest.mark.parametrize("form", [LineFormatter("%(levelname)s: %(message)s"), JsonFormatter()])
def test_a_record_is_one_line_of_plain_characters(form: logging.Formatter) -> None:
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s: no slide", (HOSTILE,), None)
    line = form.format(record)
    assert line.isprintable()
    if isinstance(form, JsonFormatter):
        assert json.loads(line)["message"] == f"{HOSTILE}: no slide"


def test_a_traceback_keeps_its_lines() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int(HOSTILE)
    trace = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "failed", (), trace)
    text = LineFormatter("%(message)s").format(record)
    assert text.startswith("failed\nTraceback")
    assert "\x1b" not in text


def test_what_is_printed_keeps_lines_and_letters(capsys: pytest.CaptureFixture[str]) -> None:
    with tamed_output():
        print("µm² 腫瘍\tx\n\x1b[31mred")  # noqa: T201
    assert capsys.readouterr().out == "µm² 腫瘍\tx\n\\u001b[31mred\n"
    assert tamed("a\nb") == "a\nb"
    assert printable("a\nb") == "a\\u000ab"


def test_an_error_that_names_a_hostile_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(tmp_path / HOSTILE.replace("/", ""))]) == 1
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.isprintable()
    assert "all is well" in first


@pytest.mark.parametrize(("before", "after"), [(0o022, 0o027), (0o002, 0o007), (0o077, 0o077)])
def test_results_are_not_readable_by_everybody(before: int, after: int) -> None:
    own = os.umask(before)
    try:
        keep_from_others()
        assert os.umask(0) == after
    finally:
        os.umask(own)


def test_a_command_writes_files_that_others_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.svs").write_bytes(b"no slide")
    code = "import os\nos.umask(0o022)\nfrom wsi_pipeline.cli.main import main\nmain()"
    words = ["scan", str(tmp_path / "in"), "-o", str(tmp_path / "slides.csv")]
    subprocess.run([sys.executable, "-c", code, *words], check=False, capture_output=True)
    assert (tmp_path / "slides.csv").stat().st_mode & 0o777 == 0o640
