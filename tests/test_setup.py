"""The set-up scripts: what they do without a network, and the lock they install from."""

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

import pytest

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one package that no index has, with the real set-up scripts."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "nothing"\nversion = "0"\n')
    (tmp_path / "requirements.lock").write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
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


def fingerprint(project: Path) -> str:
    code = "import bootstrap; print(bootstrap._fingerprint())"
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
    make_ready(project, fingerprint(project))
    start = time.monotonic()
    done = run(project, script, "--setup-only")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Ready: ")
    assert time.monotonic() - start < 5  # the machine may be busy


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
    spec = importlib.util.spec_from_file_location("bootstrap", project / "scripts/bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    bootstrap = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bootstrap)
    done: list[str] = []
    monkeypatch.setattr(bootstrap, "_create", lambda: done.append("create"))
    monkeypatch.setattr(bootstrap, "_install", lambda: done.append("install"))
    bootstrap.ensure_environment()
    assert done == expected
    bootstrap.ensure_environment()
    assert done == expected


def test_changed_pins_are_noticed(project: Path) -> None:
    before = fingerprint(project)
    (project / "requirements.lock").write_text("other==1.0\n")
    assert fingerprint(project) != before


def test_lock_pins_every_dependency_with_hashes() -> None:
    pinned = {match[1] for match in PIN.finditer((ROOT / "requirements.lock").read_text())}
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = table["dependencies"] + table["optional-dependencies"]["dev"]
    names = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in wanted}
    assert names <= pinned
    assert "setuptools" in pinned  # builds the editable install, without isolation


def test_lock_holds_a_hash_for_every_pin_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    entries = re.split(r"\n(?=[a-z])", text)
    unhashed = [entry for entry in entries if PIN.match(entry) and "--hash=sha256:" not in entry]
    assert unhashed == []
