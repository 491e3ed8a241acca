"""A real Dask cluster of several processes, and the arguments that SLURM is given."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.archive import faults
from tests.archive.conftest import Archive, Diary
from tests.clusters import local_cluster
from tests.execution.work import work_of_test
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import ConfigError, WorkersLostError, WsiPipelineError
from wsi_pipeline.execution.backend import open_backend
from wsi_pipeline.execution.block_executor import ClusterBlockExecutor
from wsi_pipeline.execution.cluster import ClusterExecutor
from wsi_pipeline.execution.executor import Lost, SendProgress, SerialExecutor
from wsi_pipeline.execution.processes import ProcessExecutor
from wsi_pipeline.pipeline.resolved import resolve_run


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with local_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def undisturbed(archive: Archive) -> dict[str, bytes]:
    """Return the maps of four slides that one thread has made in another folder."""
    archive.add("a", "b", "c", "d")
    out, archive.out = archive.out, archive.out.with_name("undisturbed")
    archive.run(execution={"block_px": 256})
    maps = archive.map_bytes()
    archive.out = out
    return maps


def on(cluster: Any, **more: Any) -> dict[str, Any]:
    return {"scheduler": cluster.scheduler_address, "block_px": 256, **more}


def test_a_cluster_makes_the_same_maps(
    archive: Archive, diary: Diary, undisturbed: dict[str, bytes], cluster: Any
) -> None:
    assert archive.run(diary, execution=on(cluster)).done == 4
    assert archive.map_bytes() == undisturbed
    assert "2 workers" in diary.where
    assert "dashboard" in diary.where


def test_a_worker_that_is_killed_costs_nothing(
    archive: Archive, undisturbed: dict[str, bytes], cluster: Any
) -> None:
    pids = [worker.pid for worker in cluster.workers.values()]
    outcomes = []
    run = threading.Thread(target=lambda: outcomes.append(archive.run(execution=on(cluster))))
    run.start()
    while not list(archive.out.glob("slides/*/working/block_*")) and run.is_alive():
        time.sleep(0.002)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    run.join(120)
    assert [outcome.done for outcome in outcomes] == [4]
    assert archive.map_bytes() == undisturbed


def test_fewer_slides_than_workers_share_them_block_by_block(
    archive: Archive, diary: Diary, cluster: Any
) -> None:
    archive.add("a")
    assert archive.run(diary, execution=on(cluster)).done == 1
    maps = archive.map_bytes()
    archive.run(overwrite=True, execution={"block_px": 256})
    assert archive.map_bytes() == maps


def _whoami(task: int, send_progress: SendProgress) -> int:
    return os.getpid()


def gpu_run(cluster: Any) -> dict[str, Any]:
    return {"inference": {"device": "gpu"}, "execution": on(cluster)}


def test_a_run_keeps_little_of_the_tasks_that_it_sends(cluster: Any) -> None:
    run = resolve_run(Config(), Path("out")).placed(1, on_gpu_workers=False)
    assert len(pickle.dumps(run)) < 16_000  # with every slide; the whole card has twice as much
    config = load_config(None, {"execution": {"scheduler": cluster.scheduler_address}})
    with open_backend(config, 100) as backend:
        executor: Any = backend.executor
        log = executor.client.scheduler_comm.recent_message_log
        assert log.maxlen == 10 == cluster.scheduler.transition_log.maxlen


def test_workers_with_a_gpu_alone_do_whole_slides(cluster: Any) -> None:
    with open_backend(load_config(None, gpu_run(cluster)), 8) as backend:
        assert isinstance(backend.executor, ClusterExecutor)
        assert backend.executor.worker_selector() == {"resources": {"GPU": 1.0}}
        results: dict[int, int | Lost] = {}
        backend.executor.run(_whoami, range(8), results.__setitem__, lambda *_: None)
        assert len(results) == 8


@pytest.fixture(scope="module")
def mixed_cluster() -> Iterator[Any]:
    """Start a cluster of one reader and one worker that declares a GPU, a process each.

    Dask moves nothing between them: else the other is given a slide that waits, once in many runs.
    """
    import dask

    unmoved = dask.config.set({"distributed.scheduler.work-stealing": False})
    with unmoved, local_cluster(1) as cluster:
        options = {k: v for k, v in cluster.new_spec["options"].items() if k != "resources"}
        cluster.new_spec = {**cluster.new_spec, "options": options}
        cluster.scale(2)
        yield cluster


def test_readers_read_and_the_gpu_worker_classifies_for_them(
    archive: Archive, undisturbed: dict[str, bytes], mixed_cluster: Any
) -> None:
    from distributed import Client

    with Client(mixed_cluster.scheduler_address) as client:
        client.wait_for_workers(2)
        pids = client.run(faults.pretend_gpu)
        gpu = next(a for a in pids if client.run(_resources, workers=[a])[a])
    (reader,) = set(pids) - {gpu}
    with open_backend(load_config(None, gpu_run(mixed_cluster)), 8) as backend:
        results: dict[int, int | Lost] = {}
        executor: Any = backend.executor
        assert executor.worker_selector()["workers"] == [reader]
        executor.run(_whoami, range(8), results.__setitem__, lambda *_: None)
        assert set(results.values()) == {pids[reader]}, "slides go to readers"
    outcome = archive.run(**gpu_run(mixed_cluster))
    assert outcome.done == 4
    assert {archive.status(name)["device"] for name in "abcd"} == {f"GPU of process {pids[gpu]}"}
    assert archive.map_bytes() == undisturbed

    archive.add("e")  # fewer slides than workers: its blocks take the same ways
    archive.run(**gpu_run(mixed_cluster))
    assert archive.status("e")["state"] == "done"
    archive.add("f", "g")
    archive.run(execution=on(mixed_cluster))
    assert "GPU" not in archive.status("f")["device"], "the readers classify themselves again"


def _resources(dask_worker: Any) -> dict[str, float]:
    return dict(dask_worker.state.total_resources)


def test_what_cluster_workers_log_and_how_far_they_are_arrives(
    archive: Archive,
    diary: Diary,
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.runner.do_task", faults.do_task)
    archive.add("defect in stain", "good")
    root = logging.getLogger("wsi_pipeline")
    root.addHandler(caplog.handler)
    try:
        archive.run(diary, execution=on(cluster))
    finally:
        root.removeHandler(caplog.handler)
    assert sorted(diary.started) == ["defect in stain", "good"]
    said = [record for record in caplog.records if "defect in stain failed" in record.message]
    assert said
    assert "KeyError: 'surprise'" in said[0].message, "with its traceback"
    assert archive.record()["metrics"]["queue"]["under_way_max"] >= 1


def test_a_block_that_hangs_ends_its_worker_and_is_given_up(cluster: Any) -> None:
    from distributed import Client

    with Client(cluster.scheduler_address) as client:
        hasty = ClusterBlockExecutor(ClusterExecutor(client, stall_seconds=0.5))
        with pytest.raises(WorkersLostError, match="every worker that took it up died"):
            hasty.run(faults.sleep_or_say, [600.0], print)
        said: list[float] = []
        ClusterBlockExecutor(ClusterExecutor(client)).run(faults.sleep_or_say, [0.0], said.append)
        assert said == [0.0], "the worker has ended itself and come back"


def test_a_worker_that_cannot_end_itself_is_given_up_after_the_outer_limit(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.setattr("wsi_pipeline.execution.cluster.LOOK_SECONDS", 0.2)
    with Client(cluster.scheduler_address) as client:
        hasty = ClusterExecutor(client, stall_seconds=1.0)
        with pytest.raises(WorkersLostError, match=r"tcp://.* gave no sign of life for 2 s"):
            hasty.run(work_of_test, ["unwatched"], print, print)
    for worker in cluster.workers.values():
        os.kill(worker.pid, signal.SIGKILL)  # one of them still hangs; nannies bring them back


def test_a_scheduler_that_is_lost_ends_the_run_and_loses_nothing(
    archive: Archive, undisturbed: dict[str, bytes]
) -> None:
    log = archive.out.with_name("scheduler.json")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def started(program: str, *words: str) -> subprocess.Popen[bytes]:
        program = f"distributed.cli.{program}"
        command = [sys.executable, "-m", program, "--scheduler-file", str(log)]
        return subprocess.Popen([*command, *words], stderr=subprocess.DEVNULL, env=environment)

    scheduler = started("dask_scheduler", "--port", "0", "--no-dashboard")
    worker = started("dask_worker", "--nthreads", "1", "--no-nanny", "--death-timeout", "30")
    try:
        while not log.exists():
            time.sleep(0.05)
        address = json.loads(log.read_text())["address"]
        diary = Diary()
        diary.on_progress = lambda *_: scheduler.kill()
        with pytest.raises(WsiPipelineError, match="scheduler was lost"):
            archive.run(diary, execution={"scheduler": address, "block_px": 256})
    finally:
        worker.kill()
        scheduler.kill()
        worker.wait()
        scheduler.wait()
    assert archive.run(execution={"block_px": 256}).done == 4
    assert archive.map_bytes() == undisturbed


def test_no_scheduler_is_said_with_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_pipeline.execution.backend.ANSWER_SECONDS", 0.5)
    config = load_config(None, {"execution": {"scheduler": "tcp://127.0.0.1:1"}})
    with pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:1.*dask worker"), _opened(config):
        pass


@pytest.mark.parametrize(
    ("execution", "n_slides", "executor", "is_isolated", "threads"),
    [
        ({"workers": 4}, 1, SerialExecutor, False, 4),
        ({"workers": 4}, 2, SerialExecutor, False, 4),
        ({"workers": 4}, 3, ProcessExecutor, True, 1),
        ({"workers": 8}, 4, ProcessExecutor, True, 2),
        ({"workers": 2}, 100, ProcessExecutor, True, 1),
        ({"workers": 2, "isolation": "threads"}, 100, SerialExecutor, False, 2),
        ({"workers": 2, "isolation": "processes"}, 1, ProcessExecutor, True, 2),
    ],
)
def test_few_slides_start_at_once_and_many_are_isolated(
    execution: dict[str, Any], n_slides: int, executor: type, is_isolated: bool, threads: int
) -> None:
    with open_backend(load_config(None, {"execution": execution}), n_slides) as backend:
        assert type(backend.executor) is executor
        assert (backend.is_isolated, backend.threads) == (is_isolated, threads)


def _opened(config: Any) -> Any:
    return open_backend(config, 5)
