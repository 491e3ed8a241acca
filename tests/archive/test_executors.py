"""What every executor holds: the contract of plain tasks, and the fault table of slides.

Whatever a slide does, the run goes on, says why, and loses nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tifffile

from tests.archive import faults
from tests.archive.conftest import Archive, Diary
from tests.clusters import local_cluster, remote_cluster
from tests.execution.work import work_of_test
from wsi_pipeline.config import Config
from wsi_pipeline.execution.cluster import ClusterExecutor
from wsi_pipeline.execution.executor import Executor, LossCause, Lost, SerialExecutor
from wsi_pipeline.execution.processes import ProcessExecutor
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.pipeline.resolved import SlideJob

EXECUTORS = ("serial", "processes", "local cluster", "remote cluster")
ISOLATED = EXECUTORS[1:]
CLUSTERS = EXECUTORS[2:]
MEMORY_GB = 0.7
STALL_SECONDS = 10.0
DEADLY = ("segfault", "abort", "exit", "sleep", "hold", "memory", "kill")
"""Faults that end a process, or would: what the executors differ by."""
OUTCOMES = ("good", "no tissue", "defect in stain")
"""Of what a task itself records an executor only passes on what became of it: one of each kind."""

EXPECTED = {
    # fault in stage: state, what the error says, what the advice says
    "segfault in open": ("failed", "crashed: Segmentation fault", "--retry-failed"),
    "segfault in classify": ("failed", "crashed: Segmentation fault", "decoder has a defect"),
    "abort in map": ("failed", "crashed: Aborted", "--retry-failed"),
    "exit in stain": ("failed", "crashed: exit 3", "--retry-failed"),
    "sleep in open": ("failed", "nothing was finished in 10 s", "stall_seconds"),
    "hold in classify": ("failed", "nothing was finished in 10 s", "stall_seconds"),
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


ON_CLUSTERS = {
    "segfault in classify": EXPECTED["segfault in classify"],
    "hold in classify": EXPECTED["hold in classify"],
    "memory in classify": ("failed", "every worker that took it up died", "--retry-failed"),
}
"""One of each way to die that a cluster tells apart: with a dump, by the watchdog, without a word,
as a nanny kills. Workers that are killed by mistake: test_cluster.py."""


class Clusters:
    """Starts each cluster when the first test asks for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._addresses: dict[str, str] = {}

    def address(self, name: str) -> str:
        if name not in self._addresses:
            memory = f"{MEMORY_GB}GB"
            if name == "local cluster":
                local = self._stack.enter_context(local_cluster(2, memory))
                self._addresses[name] = local.scheduler_address
            else:
                remote = remote_cluster(self._folder, 2, "--memory-limit", memory)
                self._addresses[name] = self._stack.enter_context(remote)
        return self._addresses[name]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    with ExitStack() as stack:
        yield Clusters(tmp_path_factory.mktemp("cluster"), stack)


Make = Any
"""Makes the executor of a name, with the limit of its watchdogs."""


@pytest.fixture
def make(clusters: Clusters) -> Iterator[Make]:
    from distributed import Client

    with ExitStack() as stack:

        def made(name: str, stall_seconds: float | None = None) -> Executor:
            if name == "serial":
                return SerialExecutor(stall_seconds)
            if name == "processes":
                return ProcessExecutor(2, stall_seconds=stall_seconds)
            client = stack.enter_context(Client(clusters.address(name)))
            client.wait_for_workers(2)
            return ClusterExecutor(client, stall_seconds=stall_seconds)

        yield made


def results_of(executor: Executor, tasks: list[str]) -> tuple[dict[str, str | Lost], list[str]]:
    results: dict[str, str | Lost] = {}
    messages: list[str] = []

    def report(task: str, result: str | Lost) -> None:
        assert task not in results, "once"
        results[task] = result

    def on_progress(task: str, message: str) -> None:
        assert task == message
        messages.append(message)

    executor.run(work_of_test, tasks, report, on_progress)
    return results, messages


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_task_is_done_once_and_an_error_of_the_work_ends_the_run(
    make: Make, name: str
) -> None:
    tasks = [*map(str, range(20))]
    results, messages = results_of(make(name), tasks)
    assert sorted(messages) == sorted(tasks)
    assert {task: str(result).split()[0] for task, result in results.items()} == dict(
        zip(tasks, tasks, strict=True)
    )
    with pytest.raises(ValueError, match="raised in the worker"):
        results_of(make(name), ["raise", *tasks])
    assert results_of(make(name), []) == ({}, [])


@pytest.mark.parametrize("name", ISOLATED)
def test_a_task_that_crashes_or_hangs_costs_itself(make: Make, name: str) -> None:
    tasks = ["crash", "wait600", "a", "b"]
    results, _ = results_of(make(name, 1.0), tasks)
    assert set(results) == set(tasks)
    assert all(str(results[task]).startswith(f"{task} by ") for task in "ab")
    died = Lost(LossCause.CRASHED, "every worker that took it up died")
    assert results["crash"] == (
        died if name in CLUSTERS else Lost(LossCause.CRASHED, "killed by SIGSEGV")
    )
    assert results["wait600"] == (
        died if name in CLUSTERS else Lost(LossCause.SILENT, "gave no sign of life for 1 s")
    )


def test_a_task_that_hangs_in_the_only_process_is_told_from_a_thread(make: Make) -> None:
    results: list[str | Lost] = []
    make("serial", 1.0).run(
        work_of_test, ["wait1.5"], lambda _, result: results.append(result), print
    )
    assert results[0] == Lost(LossCause.SILENT, "gave no sign of life for 1 s", still_here=True)


@pytest.mark.parametrize("name", ISOLATED)
def test_an_interrupt_ends_the_run_soon_and_the_next_one_works(make: Make, name: str) -> None:
    def interrupt(task: str, message: str) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        make(name).run(work_of_test, ["wait1"], print, interrupt)
    assert time.monotonic() - start < 60
    assert results_of(make(name), ["a"])[0].keys() == {"a"}


def rows_of(name: str) -> dict[str, tuple[str, str, str]]:
    """Return the rows of the table that an executor is tried with."""
    if name == "serial":  # in whose process the tests run
        return {slide: row for slide, row in EXPECTED.items() if not slide.startswith(DEADLY)}
    outcomes = {slide: EXPECTED[slide] for slide in OUTCOMES}
    if name in CLUSTERS:
        return outcomes | ON_CLUSTERS
    return outcomes | {slide: row for slide, row in EXPECTED.items() if slide.startswith(DEADLY)}


def add_faulty(archive: Archive, expected: Collection[str]) -> None:
    """Add a slide for each row of the table; a folder stands for itself."""
    archive.add(*(name for name in expected if " in " in name), "good")
    for name in set(ODD_SLIDES) & set(expected):
        ODD_SLIDES[name](archive, name)


def add_cut_off(archive: Archive, name: str) -> None:
    """Add a slide that was not copied to its end."""
    archive.add(name)
    cut = archive.slides / f"{name}.tif"
    cut.write_bytes(cut.read_bytes()[:200])


def add_lying(archive: Archive, name: str) -> None:
    """Add a slide that claims eight times the width and height that its tiles make up."""
    archive.add(name)
    with tifffile.TiffFile(archive.slides / f"{name}.tif", mode="r+b") as file:
        for tag in (file.pages.first.tags[key] for key in ("ImageWidth", "ImageLength")):
            tag.overwrite(8 * tag.value)


NOTHING = Box(0, 0, 0, 0)
PIXEL = Box(0, 0, 1, 1)
ODD_SLIDES: dict[str, Callable[[Archive, str], None]] = {
    "no slide": lambda archive, name: archive.add_garbage(name),
    "zero bytes": lambda archive, name: archive.add_garbage(name, b""),
    "cut off": add_cut_off,
    "lying": add_lying,
    "no mpp": lambda archive, name: archive.add(name, mpp=None),
    "absurd mpp": lambda archive, name: archive.add(name, mpp=352.8),
    "too coarse": lambda archive, name: archive.add(name, mpp=12.0, level_ratios=(1,)),
    "no tissue": lambda archive, name: archive.add(name, hot_box_l0=NOTHING, tissue_box_l0=NOTHING),
    "one pixel": lambda archive, name: archive.add(
        name, size_l0=Size(1, 1), hot_box_l0=PIXEL, level_ratios=(1,)
    ),
}


def add_folder(archive: Archive) -> None:
    """Have a folder among the jobs."""
    made = archive.jobs

    def jobs(config: Config) -> list[SlideJob]:
        found = made(config)
        source = dataclasses.replace(found[0].source, path=archive.slides)
        return [*found, dataclasses.replace(found[0], slide_id="folder", source=source)]

    archive.jobs = jobs  # type: ignore[method-assign]


def execution_of(name: str, clusters: Clusters) -> dict[str, Any]:
    """Return the settings that let a run have the executor."""
    execution: dict[str, Any] = {"block_px": 512}
    if name == "serial":  # whose watchdog would end this process
        return execution
    execution["stall_seconds"] = STALL_SECONDS
    if name in CLUSTERS:
        return execution | {"scheduler": clusters.address(name)}
    return execution | {"isolation": "processes", "workers": 3, "memory_gb": MEMORY_GB}


@pytest.mark.parametrize("name", EXECUTORS)
def test_whatever_a_slide_does_is_recorded_and_the_rest_is_done(
    archive: Archive,
    diary: Diary,
    monkeypatch: pytest.MonkeyPatch,
    clusters: Clusters,
    name: str,
) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.runner.do_task", faults.do_task)
    expected = rows_of(name)
    add_faulty(archive, expected)
    if "folder" in expected:
        add_folder(archive)
    outcome = archive.run(diary, execution=execution_of(name, clusters))

    table = {slide: archive.status(slide) for slide in expected}
    states = {slide: state for slide, (state, *_) in expected.items()}
    assert {slide: status["state"] for slide, status in table.items()} == states
    for slide, (state, error, advice) in expected.items():
        status = table[slide]
        assert error in status["error"], slide
        assert advice in status["advice"], slide
        stage = slide.partition(" in ")[2]
        if stage and state == "failed":
            assert status["stage"] == STAGES.get(slide, STAGES.get(stage, stage)), slide
    assert diary.finished == states
    assert outcome.failed == sum(state == "failed" for state, *_ in expected.values())
    if name != "serial":
        assert "string_at" in table["segfault in classify"]["traceback"], "the stack says where"
    assert not list(archive.out.glob("slides/*/crash.txt"))
    assert not list((archive.out / ".locks").iterdir())
