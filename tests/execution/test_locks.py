"""A lock that knows its owner and dies with it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsi_pipeline.errors import StorageError
from wsi_pipeline.execution.locks import SlideBusyError, shared_files, slide_lock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "slides" / "case.1"


def test_a_lock_is_held_once_and_names_its_owner(folder: Path) -> None:
    busy = pytest.raises(SlideBusyError, match=f"process {os.getpid()} on .* since 20")
    with slide_lock(folder), busy, slide_lock(folder):
        pass
    with slide_lock(folder):
        pass


def test_slides_are_locked_one_by_one(folder: Path) -> None:
    with slide_lock(folder), slide_lock(folder.with_name("case.2")):
        pass


def test_a_lock_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    with slide_lock(folder):
        assert list((tmp_path / ".locks").iterdir())
    assert not list((tmp_path / ".locks").iterdir())


def test_a_lock_is_free_after_an_error(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), slide_lock(folder):
        raise RuntimeError("inside")
    with slide_lock(folder):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from wsi_pipeline.execution.locks import slide_lock
with slide_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_its_owner(folder: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    busy = pytest.raises(SlideBusyError, match=f"process {holder.pid} ")
    with busy, slide_lock(folder):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert list((tmp_path / ".locks").iterdir()), "its file is still there, and no hindrance"
    with slide_lock(folder):
        pass


def test_a_drive_without_locks_is_worked_on_with_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(
        "wsi_pipeline.execution.locks.logger.warning",
        lambda form, *words: warnings.append(form % words),
    )
    warnings: list[str] = []
    for name in ("a", "b"):
        with slide_lock(folder.with_name(name)):
            pass
    assert len(warnings) == 1
    assert "passes no locks" in warnings[0]


def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".locks").write_text("in the way")
    with pytest.raises(StorageError, match=r"\.locks"), slide_lock(folder):
        pass


def test_a_run_that_does_not_let_go_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_pipeline.execution.locks.PATIENCE_SECONDS", 0.1)
    with (
        shared_files(tmp_path),
        pytest.raises(StorageError, match=f"process {os.getpid()} .* holds"),
        shared_files(tmp_path),
    ):
        pass
