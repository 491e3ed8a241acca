"""The examples of the documentation do what they say, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import wsi_pipeline
from tests.phantoms import write_phantom
from wsi_pipeline.geometry import Box, Size

ROOT = Path(__file__).parents[1]
OTHERS = (
    "wsi_pipeline",
    "wsi_pipeline.config",
    "wsi_pipeline.cli.invocation",
    "wsi_pipeline.cli.training_bar",
)
"""Modules whose functions have examples, beside those of the public names."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the examples expect it: a slide, and what a run of it left."""
    where = tmp_path_factory.mktemp("examples")
    slide = where / "case.tif"
    write_phantom(slide, size_l0=Size(4096, 3072), hot_box_l0=Box(1600, 800, 800, 800), mpp=1.0)
    wsi_pipeline.run_slide(slide, where / "out")
    return where


def examples(owner: Any) -> list[doctest.DocTest]:
    """Return the examples of a class, function or module, with the names that it sees."""
    module = owner if inspect.ismodule(owner) else inspect.getmodule(owner)
    name = getattr(owner, "__name__", "")
    found = doctest.DocTestFinder().find(owner, name, module, globs=dict(vars(module)))
    return [test for test in found if test.examples]


def run(tests: list[doctest.DocTest]) -> None:
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in tests:
        report: list[str] = []
        assert runner.run(test, out=report.append).failed == 0, "".join(report)


@pytest.mark.parametrize("name", wsi_pipeline.__all__)
def test_every_public_name_has_an_example_that_works(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    tests = examples(getattr(wsi_pipeline, name))
    assert tests, f"{name} has no example"
    run(tests)


@pytest.mark.parametrize("name", OTHERS)
def test_examples_of_other_modules_work(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run(examples(importlib.import_module(name)))


def test_dir_lists_the_public_names_before_anyone_asked_for_them() -> None:
    code = "import wsi_pipeline; print(set(wsi_pipeline.__all__) <= set(dir(wsi_pipeline)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_what_the_public_names_return_is_shown_in_one_line(folder: Path) -> None:
    result = wsi_pipeline.run_slide(folder / "case.tif", folder / "out")
    for shown in (result, wsi_pipeline.ProbabilityMap.open(result.map_path)):
        assert "\n" not in repr(shown)
        assert len(repr(shown)) < 100 + len(str(folder))
    assert repr(result).startswith("SlideResult(case: done, IDC ")


def test_the_api_pages_are_built_by_the_documented_command(tmp_path: Path) -> None:
    script = ROOT / "scripts/api_pages.py"
    assert "scripts/api_pages.py -o html" in (ROOT / "README.md").read_text(encoding="utf-8")
    subprocess.run(
        [sys.executable, script, "-o", tmp_path / "html"], check=True, capture_output=True
    )
    page = (tmp_path / "html/wsi_pipeline.html").read_text(encoding="utf-8")
    for name in wsi_pipeline.__all__:
        assert f'id="{name}"' in page
    assert "Classify one slide and write everything to" in page
    assert wsi_pipeline.NOTICE in page
