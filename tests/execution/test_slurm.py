"""SLURM's jobs, by a local cluster in the place of `dask_jobqueue.SLURMCluster`."""

from __future__ import annotations

import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.deploy.spec import ProcessInterface

from tests.execution.work import work_of_test
from wsi_pipeline.config import load_config
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.execution import slurm
from wsi_pipeline.execution.backend import open_backend
from wsi_pipeline.execution.cluster import ClusterExecutor
from wsi_pipeline.execution.executor import Lost, discard_progress
from wsi_pipeline.execution.slurm import slurm_cluster


class LocalJobs(LocalCluster):
    """A cluster whose jobs are workers in this process."""

    arguments: dict[str, Any]

    def __init__(self, *, cores: int = 1, **arguments: Any) -> None:
        if "colour" in arguments:
            raise TypeError("unexpected keyword argument 'colour'")
        LocalJobs.arguments = {"cores": cores, **arguments}
        super().__init__(
            n_workers=0, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        )


class RefusedJob(ProcessInterface):
    """As dask-jobqueue's: closing it leaves its status as it is."""

    async def start(self) -> None:
        raise RuntimeError("sbatch: error: Memory specification can not be satisfied")

    async def close(self) -> None: ...


class RefusedJobs(LocalJobs):
    def new_worker_spec(self) -> dict[Any, dict[str, Any]]:
        return {name: {"cls": RefusedJob, "options": {}} for name in super().new_worker_spec()}


@pytest.fixture
def jobqueue(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("dask_jobqueue")
    module.SLURMCluster = LocalJobs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    return module


def test_slurm_is_given_the_arguments_of_the_config(jobqueue: ModuleType) -> None:
    arguments = {"cores": 8, "memory": "32GB", "queue": "gpu"}
    config = load_config(None, {"execution": {"slurm": {"jobs": 3, **arguments}}})
    with open_backend(config, 5) as backend:
        assert LocalJobs.arguments == arguments
        assert "3 workers in SLURM jobs" in backend.words
        assert backend.is_isolated, "slides are its tasks"
    with open_backend(config, 2) as backend:
        assert not backend.is_isolated, "fewer slides than workers are shared by them"


def test_an_argument_that_slurm_does_not_know_is_told(jobqueue: ModuleType) -> None:
    with (
        pytest.raises(ConfigError, match=r"execution\.slurm: .*colour.*SLURMCluster"),
        slurm_cluster({"colour": "red"}),
    ):
        pass


def test_a_job_that_slurm_refuses_is_told_before_anything_is_waited_for(
    jobqueue: ModuleType,
) -> None:
    jobqueue.SLURMCluster = RefusedJobs  # type: ignore[attr-defined]
    with (
        pytest.raises(ConfigError, match=r"takes no such job: .*\n?.*sinfo"),
        slurm_cluster({"jobs": 2}),
    ):
        pass


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'wsi-pipeline\[slurm\]'"),
        slurm_cluster({"cores": 1}),
    ):
        pass


def test_a_job_that_ends_is_asked_for_again(
    jobqueue: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.2)
    with slurm_cluster({"jobs": 2}) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        time.sleep(0.5)  # it is seen to be there
        first = _workers(cluster)
        client.retire_workers([first[0]], close_workers=True)
        until = time.monotonic() + 10
        while _workers(cluster).keys() != {0, 1} or _workers(cluster)[0] == first[0]:
            assert time.monotonic() < until, "no other job under its name"
            time.sleep(0.05)
        assert _workers(cluster)[1] == first[1], "the other goes on"
    assert "1 jobs have ended" in caplog.text


def test_workers_of_one_job_are_told_by_their_suffix() -> None:
    spec = {"group": ["-0", "-1"]}
    cluster = SimpleNamespace(
        worker_spec={"job-0": spec, "job-1": spec},
        scheduler_info={"workers": {"tcp://a": {"name": "job-1-0"}}},
    )
    assert slurm._jobs_with_workers(cluster) == {"job-1"}


def _workers(cluster: Any) -> dict[int, str]:
    """Return the address of each job's worker."""
    workers = cluster.scheduler_info["workers"]
    return {worker["name"]: address for address, worker in workers.items()}


def test_a_run_without_any_worker_says_so_once_and_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsi_pipeline.execution.cluster.LOOK_SECONDS", 0.1)
    results: dict[str, str | Lost] = {}
    with LocalJobs() as cluster, Client(cluster) as client:
        threading.Timer(0.5, lambda: cluster.scale(1)).start()
        ClusterExecutor(client).run(work_of_test, ["a"], results.__setitem__, discard_progress)
    assert str(results["a"]).startswith("a by ")
    assert caplog.text.count("no worker is connected") == 1


def test_a_result_that_died_with_its_worker_is_made_again() -> None:
    results: dict[str, str | Lost] = {}
    with LocalJobs() as cluster, Client(cluster) as client:
        cluster.scale(2)
        client.wait_for_workers(2)

        def report(task: str, result: str | Lost) -> None:
            assert task not in results
            if not results:
                time.sleep(0.5)  # the other is finished, its result not fetched yet
                for name in (0, 1):
                    cluster.sync(cluster.workers.pop(name).close)
                cluster.sync(slurm._start, cluster)
            results[task] = result

        ClusterExecutor(client).run(work_of_test, ["a", "b"], report, discard_progress)
    assert {task: str(result)[:5] for task, result in results.items()} == {
        "a": "a by ",
        "b": "b by ",
    }
