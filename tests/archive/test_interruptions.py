"""What goes wrong around the slides: threads that hang, drives, clocks, limits, other runs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.archive import faults
from tests.archive.conftest import MODEL, Archive, Diary
from wsi_pipeline.archive.record import RunRecord
from wsi_pipeline.errors import StorageError
from wsi_pipeline.pipeline.resolved import SlideJob, resolve_run
from wsi_pipeline.results.status import Done, Failed

SMALL_BLOCKS: dict[str, Any] = {"execution": {"block_px": 256}}


@pytest.fixture
def undisturbed(archive: Archive) -> dict[str, bytes]:
    """Return the maps of three slides that were made in another folder."""
    archive.add("a", "b", "c")
    out, archive.out = archive.out, archive.out.with_name("undisturbed")
    archive.run(**SMALL_BLOCKS)
    maps = archive.map_bytes()
    archive.out = out
    return maps


@pytest.mark.parametrize("way", ["sleep", "hold"])
def test_a_block_that_hangs_in_the_only_process_ends_it_with_a_clear_record(
    archive: Archive, tmp_path: Path, way: str
) -> None:
    archive.add("a")
    config = tmp_path / "hasty.yaml"
    config.write_text("execution: {stall_seconds: 2, workers: 2, block_px: 256}\n")
    script = tmp_path / "hanging.py"
    script.write_text(faults.HANGING_RUN.format(hang=faults.HANGS[way]))
    command: list[str | Path] = [sys.executable, script, "run", archive.slides, "-o", archive.out]
    done = subprocess.run(
        [*command, "--model", MODEL, "--outputs", "map", "-c", config],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 1
    if way == "sleep":
        assert "a: FAILED in classify: the process gave no sign of life for 2 s" in done.stdout
        assert "isolation: processes" in done.stderr
        assert archive.status("a")["state"] == "failed"
        assert "<lambda>" in archive.status("a")["traceback"], "the stacks say where"
        assert archive.record()["state"] == "failed"
    else:  # nothing of Python's could run: the next run records it
        assert archive.status("a")["state"] == "running"
        assert archive.run().failed == 1
        assert "nothing was finished" in archive.status("a")["error"]
    assert archive.run(retry_failed=True).done == 1


def test_a_slide_that_changes_while_it_is_read_is_done_again_by_the_next_run(
    archive: Archive, diary: Diary
) -> None:
    archive.add("a", "b")

    def write(job: SlideJob, done: int, n_patches: int) -> None:
        if job.slide_id == "a" and 0 < n_patches == done:
            os.utime(job.source.path, (1e9, 1e9))

    diary.on_progress = write
    outcome = archive.run(diary)
    assert (outcome.done, outcome.failed) == (1, 1)
    assert "changed while it was read" in archive.status("a")["error"]
    assert archive.run().done == 2


def test_an_output_drive_that_goes_away_ends_the_run_and_the_next_one_goes_on(
    archive: Archive, diary: Diary, undisturbed: dict[str, bytes]
) -> None:
    away = archive.out.with_name("away")

    def unplug(job: SlideJob, done: int, n_patches: int) -> None:
        if job.slide_id == "b" and done and archive.out.exists():
            archive.out.rename(away)
            archive.out.write_text("")  # what is left of a mount point cannot be written to

    diary.on_progress = unplug
    with pytest.raises(StorageError):
        archive.run(diary, **SMALL_BLOCKS)
    archive.out.unlink()
    away.rename(archive.out)
    assert archive.run(**SMALL_BLOCKS).done == 3
    assert archive.map_bytes() == undisturbed


def test_a_process_without_file_descriptors_loses_nothing(
    archive: Archive, diary: Diary, undisturbed: dict[str, bytes]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take_away(job: SlideJob, done: int, n_patches: int) -> None:
        if job.slide_id == "b" and done:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))

    diary.on_progress = take_away
    try:
        with pytest.raises(StorageError, match=r"Too many open files.*ulimit -n"):
            archive.run(diary, **SMALL_BLOCKS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert archive.run(**SMALL_BLOCKS).done == 3
    assert archive.map_bytes() == undisturbed


def test_a_clock_that_is_set_back_confuses_nothing(
    archive: Archive, diary: Diary, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(job: SlideJob, done: int, n_patches: int) -> None:
        if job.slide_id == "b" and done:
            raise KeyboardInterrupt

    diary.on_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        archive.run(diary, **SMALL_BLOCKS)
    for path in archive.out.rglob("*"):
        os.utime(path, (time.time() + 1e8, time.time() + 1e8))  # all of it is from the future
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1e9)
        after = Diary()
        assert archive.run(after, **SMALL_BLOCKS).done == 3
    assert after.started == ["b", "c"]
    assert archive.map_bytes() == undisturbed


@pytest.mark.parametrize("damage", [b"", b"{", b"PK\x03\x04 half a file", b"\0" * 500])
def test_what_a_power_cut_left_half_written_is_done_again(
    archive: Archive, diary: Diary, undisturbed: dict[str, bytes], damage: bytes
) -> None:
    def interrupt(job: SlideJob, done: int, n_patches: int) -> None:
        if job.slide_id == "b" and 2 * done > n_patches:
            raise KeyboardInterrupt

    diary.on_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        archive.run(diary, **SMALL_BLOCKS)
    blocks = sorted((archive.out / "slides/b/working").glob("block_*"))
    assert len(blocks) > 1
    blocks[0].write_bytes(damage)
    (archive.out / "slides/a/status.json").write_bytes(damage)
    (archive.out / "run.json").write_bytes(damage)
    (archive.out / "summary.csv").write_bytes(damage)
    assert archive.run(**SMALL_BLOCKS).done == 3
    assert archive.map_bytes() == undisturbed


OTHER_RUN = """
import sys, time
from pathlib import Path
from wsi_pipeline.execution.locks import slide_lock
from wsi_pipeline.results.status import Running, write_status
folder = Path(sys.argv[1])
with slide_lock(folder):
    write_status(folder, Running(stage="classify"))
    print("running", flush=True)
    time.sleep(600)
"""


def test_a_run_that_is_killed_leaves_its_slide_to_the_other(
    archive: Archive, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.runner.BUSY_SECONDS", 0.05)
    archive.add("a", "b")
    folder = archive.out / "slides" / "a"
    folder.mkdir(parents=True)
    other = subprocess.Popen([sys.executable, "-c", OTHER_RUN, folder], stdout=subprocess.PIPE)
    assert other.stdout
    assert other.stdout.readline() == b"running\n"
    waited_for: list[str] = []

    def kill(job: SlideJob, owner: str) -> None:
        waited_for.append(owner)
        other.kill()

    diary.waiting_for = kill  # type: ignore[method-assign]
    assert archive.run(diary).done == 2
    other.wait()
    other.stdout.close()
    assert f"process {other.pid}" in waited_for[0]


def test_a_stale_lock_file_holds_nobody_up(archive: Archive, diary: Diary) -> None:
    archive.add("a")
    (archive.out / ".locks").mkdir(parents=True)
    stale = {"pid": os.getpid(), "host": "another machine", "since": "2020-01-01 00:00:00"}
    (archive.out / ".locks" / "a.lock").write_text(json.dumps(stale))
    assert archive.run(diary).done == 1
    assert not diary.waited_for


def test_runs_that_share_a_folder_each_keep_their_record(archive: Archive) -> None:
    archive.out.mkdir()
    run = resolve_run(archive.config(), archive.out)
    first, second = (RunRecord.start(run, [archive.slides / name]) for name in ("a.tif", "b.tif"))
    first.finish("failed", {"a": Failed()}, {})
    assert archive.record()["run_id"] == second.run_id, "run.json is of the run that began last"
    second.finish("done", {"b": Done()}, {})
    records = {
        path.stem: json.loads(path.read_text()) for path in (archive.out / "runs").glob("*.json")
    }
    assert archive.record() == records[second.run_id]
    assert records[first.run_id]["outcomes"]["a"]["state"] == "failed"
    assert records[first.run_id]["state"] == "failed"
