"""The fault table: whatever a slide does, the run goes on, says why, and loses nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tifffile

from tests.archive import faults
from tests.archive.conftest import Archive, Diary
from wsi_pipeline.geometry import Box, Size

EXPECTED = {
    # fault in stage: state, what the error says, what the advice says
    "segfault in open": ("failed", "crashed: Segmentation fault", "--retry-failed"),
    "segfault in classify": ("failed", "crashed: Segmentation fault", "decoder has a defect"),
    "abort in map": ("failed", "crashed: Aborted", "--retry-failed"),
    "exit in stain": ("failed", "crashed: exit 3", "--retry-failed"),
    "sleep in open": ("failed", "nothing was finished in 8 s", "stall_seconds"),
    "hold in classify": ("failed", "nothing was finished in 8 s", "stall_seconds"),
    "memory in classify": ("failed", "used more than 0.7 GB", "memory_gb"),
    "kill in map": ("failed", "crashed: killed by SIGKILL", "--retry-failed"),
    "kill once in classify": ("done", "", ""),
    "no memory in open": ("failed", "not enough memory", "fewer workers"),
    "drive gone in classify": ("failed", "Input/output error", "drive"),
    "stale handle in classify": ("failed", "Stale file handle", "drive"),
    "no permission in open": ("failed", "Permission denied", "drive"),
    "changing in classify": ("failed", "changed while it was read", "next run"),
    "defect in stain": ("failed", "KeyError: 'surprise'", "report it"),
    "recursion in map": ("failed", "RecursionError", "report it"),
    "read error in classify": ("failed", "tile 7 is damaged", "Copy it again"),
    "good": ("done", "", ""),
    "no slide": ("failed", "no slide.tif", ""),
    "zero bytes": ("failed", "is empty (0 bytes)", "Copy it again"),
    "cut off": ("failed", "cut off.tif", ""),
    "lying": ("failed", "cannot be read", "damaged"),
    "no mpp": ("failed", "does not state its µm/px", "--mpp"),
    "absurd mpp": ("failed", "352.8", "--mpp"),
    "too coarse": ("failed", "the model needs 8", ""),
    "folder": ("failed", "is a folder", "Name a slide file"),
    "no tissue": ("empty", "", "preview"),
    "one pixel": ("empty", "", "preview"),
}
STAGES = {"changing in classify": "map"}
"""The stage's name in the record where it is another."""


@pytest.fixture
def faulty(archive: Archive) -> Archive:
    """Return an archive with a slide for each row of the table."""
    plain = [name for name in EXPECTED if " in " in name]
    archive.add(*plain, "good")
    archive.add_garbage("no slide")
    archive.add_garbage("zero bytes", b"")
    archive.add("cut off")
    cut = archive.slides / "cut off.tif"
    cut.write_bytes(cut.read_bytes()[:200])
    archive.add("lying")
    say_it_is_larger(archive.slides / "lying.tif")
    archive.add("no mpp", mpp=None)
    archive.add("absurd mpp", mpp=352.8)
    archive.add("too coarse", mpp=12.0, level_ratios=(1,))
    archive.add("no tissue", hot_box_l0=Box(0, 0, 0, 0), tissue_box_l0=Box(0, 0, 0, 0))
    archive.add("one pixel", size_l0=Size(1, 1), hot_box_l0=Box(0, 0, 1, 1), level_ratios=(1,))
    return archive


def say_it_is_larger(path: Path) -> None:
    """Let a slide claim eight times the width and height that its tiles make up."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            tag = file.pages.first.tags[name]
            tag.overwrite(8 * tag.value)


def test_whatever_a_slide_does_is_recorded_and_the_rest_is_done(
    faulty: Archive, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.runner.do_task", faults.do_task)
    in_processes = {
        "execution": {
            "isolation": "processes",
            "workers": 3,
            "stall_seconds": 8.0,
            "memory_gb": 0.7,
            "block_px": 512,
        }
    }
    config = faulty.config(**in_processes)
    jobs = faulty.jobs(config)
    folder = dataclasses.replace(
        jobs[0],
        slide_id="folder",
        source=dataclasses.replace(jobs[0].source, path=faulty.slides),
    )
    faulty.jobs = lambda _: [*jobs, folder]  # type: ignore[method-assign,assignment]
    outcome = faulty.run(diary, **in_processes)

    table = {name: faulty.status(name) for name in EXPECTED}
    assert {name: status["state"] for name, status in table.items()} == {
        name: state for name, (state, *_) in EXPECTED.items()
    }
    for name, (state, error, advice) in EXPECTED.items():
        status = table[name]
        assert error in status["error"], name
        assert advice in status["advice"], name
        stage = name.partition(" in ")[2]
        if stage and state == "failed":
            assert status["stage"] == STAGES.get(name, STAGES.get(stage, stage)), name
    assert diary.finished == {name: state for name, (state, *_) in EXPECTED.items()}
    assert outcome.failed == sum(state == "failed" for state, *_ in EXPECTED.values())
    assert "string_at" in table["segfault in open"]["traceback"], "the stack says where"
    assert not list(faulty.out.glob("slides/*/crash.txt"))
    assert not list((faulty.out / ".locks").iterdir())
