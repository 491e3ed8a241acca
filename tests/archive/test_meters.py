"""What a run measures while it goes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.archive.conftest import Archive
from wsi_pipeline.archive.meters import GpuMeter, QueueMeter


def test_the_queue_is_a_mean_over_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    meter = QueueMeter(4)
    meter.begun()
    meter.begun()
    now += 3  # two wait, two are under way
    meter.ended(has_begun=True)
    meter.ended(has_begun=False)  # one of those that waited was done by another run
    now += 1  # one waits, one is under way
    assert meter.figures() == {
        "waiting_mean": 1.75,
        "under_way_mean": 1.75,
        "under_way_max": 2,
    }


def test_without_a_gpu_its_busy_share_is_unknown_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.meters.has_nvidia_device", lambda: False)
    assert GpuMeter().figures() == {"gpu_busy_share": None}


@pytest.mark.parametrize(
    ("answer", "share"), [("echo '50\n70'", 0.6), ("echo '[N/A]'", None), ("exit 9", None)]
)
def test_the_busy_share_is_what_the_driver_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, share: float | None
) -> None:
    tool = tmp_path / "nvidia-smi"
    asked = tmp_path / "asked"
    tool.write_text(f"#!/bin/sh\necho once >> {asked}\n{answer}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("wsi_pipeline.archive.meters.has_nvidia_device", lambda: True)
    monkeypatch.setattr("wsi_pipeline.archive.meters.SAMPLE_SECONDS", 0.01)
    before = set(threading.enumerate())
    meter = GpuMeter()
    threads = set(threading.enumerate()) - before
    # Asked again, it has the first answer; one that is no number ends it.
    while any(t.is_alive() for t in threads) and not _lines(asked) > 1:
        time.sleep(0.01)
    assert meter.figures() == {"gpu_busy_share": share}
    for thread in threads:
        thread.join(5)


def _lines(path: Path) -> int:
    return path.read_text().count("once") if path.exists() else 0


def test_the_record_has_the_metrics_of_the_run(archive: Archive) -> None:
    archive.add("a", "b")
    archive.run()
    metrics = archive.record()["metrics"]
    assert metrics["slides"] == 2
    assert metrics["bytes_read"] is None or metrics["bytes_read"] > 0
    assert metrics["queue"]["under_way_max"] == 1
    assert 0 < metrics["queue"]["under_way_mean"] <= 1
    assert "gpu_busy_share" in metrics
