"""What the documents for users name exists: files, commands and their options."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from wsi_pipeline.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MAX_LINES = 130
MAX_PICTURES_BYTES = 300_000
DOCUMENTS = [
    README,
    ROOT / "configs/README.md",
    ROOT / "configs/training/README.md",
    ROOT / "scripts/BENCHMARKS.md",
    *sorted((ROOT / "scripts/studies").glob("*.md")),
]
EACH_DOCUMENT = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
FILE = re.compile(r"(?:configs|scripts|tests|wsi_pipeline)/[\w./*-]*\w")


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_its_pictures_are_there_and_light() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert len(pictures) == 2
    assert sum((ROOT / picture).stat().st_size for picture in pictures) < MAX_PICTURES_BYTES


@EACH_DOCUMENT
def test_every_file_that_is_named_exists(document: Path) -> None:
    for name in set(FILE.findall(document.read_text(encoding="utf-8"))):
        assert list(ROOT.glob(name)), f"{document.name} names {name}"


@cache
def options_of(command: str) -> str:
    """Return the help of a command."""
    from contextlib import redirect_stdout
    from io import StringIO

    text = StringIO()
    with redirect_stdout(text), pytest.raises(SystemExit):
        main([command, "--help"])
    return text.getvalue()


@EACH_DOCUMENT
def test_every_command_that_is_shown_exists_with_its_options(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    lines = re.findall(r"(?:^    |`)wsi-pipeline ([^`\n#|]+)", text, re.MULTILINE)
    for line in lines:
        words = shlex.split(line.replace("$NET", ""))
        if words[0] in ("COMMAND", "--help"):
            continue
        assert words[0] in COMMANDS, line
        for word in words[1:]:
            if re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert re.search(rf"(?<!\w){word}\b", options_of(words[0])), line
