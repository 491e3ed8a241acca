"""Slides copied to a fast drive while they are done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.archive.conftest import Archive, Diary
from wsi_pipeline.archive import local_copy as module
from wsi_pipeline.archive.local_copy import local_copy
from wsi_pipeline.pipeline.resolved import SlideJob


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "share" / "case 1.svs"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 100)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_the_copy_is_the_slide_and_is_gone_afterwards(slide: Path, cache: Path) -> None:
    signs: list[None] = []
    with local_copy(slide, cache, lambda: signs.append(None)) as copy:
        assert copy is not None
        assert copy.name == slide.name
        assert copy.parent.parent == cache
        assert copy.read_bytes() == slide.read_bytes()
    assert not list(cache.iterdir())
    assert signs


def test_the_copy_is_gone_after_a_failure_too(slide: Path, cache: Path) -> None:
    with pytest.raises(RuntimeError, match="the slide"), local_copy(slide, cache):
        raise RuntimeError("the slide")
    assert not list(cache.iterdir())


def test_without_a_cache_and_for_slides_of_several_files_nothing_is_copied(
    slide: Path, cache: Path
) -> None:
    with local_copy(slide, None) as copy:
        assert copy is None
    with local_copy(slide.with_suffix(".mrxs"), cache) as copy:
        assert copy is None
    assert not cache.exists()


def test_a_cache_that_is_full_costs_no_slide(
    slide: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LEFT_FREE_BYTES", 2**60)
    with local_copy(slide, cache) as copy:
        assert copy is None
    assert "case 1.svs is read where it is" in caplog.text
    assert "are free" in caplog.text
    assert not list(cache.iterdir())


def test_a_cache_that_is_no_folder_costs_no_slide(slide: Path, cache: Path) -> None:
    cache.write_bytes(b"")
    with local_copy(slide, cache) as copy:
        assert copy is None


def test_a_slide_that_is_gone_is_left_to_the_stage_that_opens_it(slide: Path, cache: Path) -> None:
    slide.unlink()
    with local_copy(slide, cache) as copy:
        assert copy is None
    assert not list(cache.iterdir())


def test_a_file_that_is_still_written_to_is_not_copied(slide: Path, cache: Path) -> None:
    def grow() -> None:
        with slide.open("ab") as file:
            file.write(b"more")

    with local_copy(slide, cache, grow) as copy:
        assert copy is None


def test_what_killed_processes_left_is_removed_and_what_runs_keeps_its_copy(
    slide: Path, cache: Path
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = cache / f"{module.copy_prefix()}{ended.pid}-x"
    reused = cache / f"{module.copy_prefix()}{os.getpid()}-x"  # by a process before this one
    others = cache / "notes-of-somebody"
    for folder in (left, reused, others):
        folder.mkdir(parents=True)
    os.utime(reused, (1e9, 1e9))
    with local_copy(slide, cache) as first, local_copy(slide, cache) as second:
        assert first is not None
        assert first.exists()
        assert second is not None
        assert second.parent != first.parent
        assert not left.exists()
        assert not reused.exists()
    assert list(cache.iterdir()) == [others]


def test_a_run_reads_the_copy_and_records_the_slide(archive: Archive, diary: Diary) -> None:
    archive.add("a", "b")
    archive.run()
    without = archive.map_bytes()
    cache, seen = archive.out.parent / "cache", set[str]()

    def lose_the_drive(job: SlideJob, done: int, n_patches: int) -> None:
        copies = {path.name for path in cache.glob("*/*.tif")}
        seen.update(copies)
        if n_patches and job.source.path.exists():  # it is being classified
            assert copies == {job.source.path.name}
            job.source.path.rename(job.source.path.with_suffix(".away"))

    diary.on_progress = lose_the_drive
    outcome = archive.run(diary, overwrite=True, execution={"local_cache": str(cache)})
    assert outcome.done == 2
    assert seen == {"a.tif", "b.tif"}
    assert archive.map_bytes() == without
    assert archive.status("a")["slide"] == str(archive.slides / "a.tif")
    assert archive.status("a")["seconds"]["copy"] > 0
    assert not list(cache.iterdir())


def test_processes_read_copies_too(archive: Archive) -> None:
    archive.add("a", "b", "c")
    archive.add_garbage("d")
    cache = archive.out.parent / "cache"
    outcome = archive.run(
        execution={"local_cache": str(cache), "isolation": "processes", "workers": 2}
    )
    assert (outcome.done, outcome.failed) == (3, 1)
    assert not list(cache.iterdir())
