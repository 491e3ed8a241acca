"""Runs whose processes share one owner of the GPU, a model on the CPU in its place."""

from __future__ import annotations

import pytest

from tests.archive.conftest import Archive, Diary
from tests.classifier import faulty
from wsi_pipeline.execution import backend


@pytest.fixture
def slides(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    archive.add("a", "b", "c")
    archive.run()
    archive.maps_before = archive.map_bytes()  # type: ignore[attr-defined]
    monkeypatch.setattr(backend, "wants_owner", lambda _device: True)
    return archive


def run_again(archive: Archive, diary: Diary) -> None:
    execution = {"isolation": "processes", "workers": 2, "block_px": 256}
    assert archive.run(diary, overwrite=True, execution=execution).done == 3


def test_all_processes_classify_by_one_model_and_the_maps_are_the_same(
    slides: Archive, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "load_on_gpu", faulty.stand_in)
    run_again(slides, diary)
    assert slides.map_bytes() == slides.maps_before  # type: ignore[attr-defined]
    assert diary.where.endswith("one owner of the GPU")
    (device,) = {slides.status(name)["device"] for name in "abc"}
    assert device.startswith("stand-in of process")
    assert slides.record()["device"] == [device]
    assert slides.status("a")["devices_of_blocks"] == {}


def test_a_gpu_that_fails_costs_no_slide_and_the_record_says_which_blocks_it_made(
    slides: Archive, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "load_on_gpu", faulty.failing_stand_in)
    run_again(slides, diary)
    assert slides.map_bytes() == slides.maps_before  # type: ignore[attr-defined]
    statuses = [slides.status(name) for name in "abc"]
    assert {status["state"] for status in statuses} == {"done"}
    devices = [status["device"] for status in statuses]
    assert sum("stand-in" in device for device in devices) in (1, 2), "whose block came first"
    assert all("LiteRT" in device for device in devices)
    mixed = next(status for status in statuses if "stand-in" in status["device"])
    blocks = mixed["devices_of_blocks"]
    assert mixed["device"].split("; ") == list(blocks)
    (by_gpu,), by_cpu = (
        [at for device, at in blocks.items() if word in device] for word in ("stand-in", "LiteRT")
    )
    assert len(by_gpu) == 1
    assert by_gpu[0] not in by_cpu[0]


def test_a_run_without_a_gpu_goes_on_by_itself(
    slides: Archive, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "load_on_gpu", faulty.without_gpu_for)
    run_again(slides, diary)
    assert slides.map_bytes() == slides.maps_before  # type: ignore[attr-defined]
    assert "LiteRT" in slides.status("a")["device"]
