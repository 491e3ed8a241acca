"""A real Dask cluster of several processes, and the arguments that SLURM is given."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.archive import faults
from tests.archive.conftest import Archive, Diary
from wsi_pipeline.archive.cluster import ClusterFarm, opened_site
from wsi_pipeline.archive.farm import Lost, SerialFarm, Tell
from wsi_pipeline.archive.processes import ProcessFarm
from wsi_pipeline.config import load_config
from wsi_pipeline.errors import ConfigError


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a scheduler with two workers, each a process of one thread that shares no memory."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        resources={"GPU": 1},
        silence_logs=50,
    ) as cluster:
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


def test_a_slide_that_crashes_its_worker_is_quarantined_at_once(
    archive: Archive, diary: Diary, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.runner.do_task", faults.do_task)
    archive.add("segfault in classify", "sleep in open", "good")
    outcome = archive.run(diary, execution=on(cluster, stall_seconds=5.0))
    assert (outcome.done, outcome.failed) == (1, 2)
    crash = archive.status("segfault in classify")
    assert "Segmentation fault" in crash["error"]
    assert crash["stage"] == "classify"
    assert "nothing was finished in 5 s" in archive.status("sleep in open")["error"]


def test_fewer_slides_than_workers_share_them_block_by_block(
    archive: Archive, diary: Diary, cluster: Any
) -> None:
    archive.add("a")
    assert archive.run(diary, execution=on(cluster)).done == 1
    maps = archive.map_bytes()
    archive.run(overwrite=True, execution={"block_px": 256})
    assert archive.map_bytes() == maps


def _whoami(task: int, tell: Tell) -> int:
    return os.getpid()


def test_gpu_work_goes_to_workers_that_declare_one(cluster: Any) -> None:
    from distributed import Client

    config = load_config(
        None,
        {"inference": {"device": "gpu"}, "execution": {"scheduler": cluster.scheduler_address}},
    )
    with opened_site(config, 8) as site:
        assert isinstance(site.farm, ClusterFarm)
        assert site.farm.resources == {"GPU": 1.0}
        results: dict[int, int | Lost] = {}
        site.farm.run(_whoami, range(8), results.__setitem__, lambda *_: None)
        assert len(results) == 8
    with Client(cluster.scheduler_address) as client:
        nobody = client.submit(os.getpid, resources={"no such thing": 1}, pure=False)
        time.sleep(0.2)
        assert nobody.status == "pending", "a resource is a promise that Dask keeps"
        nobody.cancel()


def test_no_scheduler_is_said_with_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_pipeline.archive.cluster.ANSWER_SECONDS", 0.5)
    config = load_config(None, {"execution": {"scheduler": "tcp://127.0.0.1:1"}})
    with pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:1.*dask worker"), _opened(config):
        pass


class FakeSlurm:
    """Stands in for dask_jobqueue.SLURMCluster: a local cluster that remembers its arguments."""

    arguments: dict[str, Any]
    jobs = 0

    def __init__(self, *, cores: int = 1, **arguments: Any) -> None:
        if "colour" in arguments:
            raise TypeError("unexpected keyword argument 'colour'")
        FakeSlurm.arguments = {"cores": cores, **arguments}

    def scale(self, jobs: int) -> None:
        FakeSlurm.jobs = jobs


def test_slurm_is_given_the_arguments_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    from wsi_pipeline.archive.cluster import _slurm_cluster

    module = ModuleType("dask_jobqueue")
    module.SLURMCluster = FakeSlurm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    _slurm_cluster({"jobs": 20, "cores": 8, "memory": "32GB", "queue": "gpu"})
    assert FakeSlurm.arguments == {"cores": 8, "memory": "32GB", "queue": "gpu"}
    assert FakeSlurm.jobs == 20
    with pytest.raises(ConfigError, match=r"execution\.slurm: .*colour.*SLURMCluster"):
        _slurm_cluster({"colour": "red"})


def test_slurm_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    config = load_config(None, {"execution": {"slurm": {"cores": 1}}})
    with pytest.raises(ConfigError, match=r"pip install 'wsi-pipeline\[slurm\]'"), _opened(config):
        pass


@pytest.mark.parametrize(
    ("execution", "n_slides", "farm", "is_isolated", "threads"),
    [
        ({"workers": 4}, 1, SerialFarm, False, 4),
        ({"workers": 4}, 2, SerialFarm, False, 4),
        ({"workers": 4}, 3, ProcessFarm, True, 1),
        ({"workers": 8}, 4, ProcessFarm, True, 2),
        ({"workers": 2}, 100, ProcessFarm, True, 1),
        ({"workers": 2, "isolation": "threads"}, 100, SerialFarm, False, 2),
        ({"workers": 2, "isolation": "processes"}, 1, ProcessFarm, True, 2),
    ],
)
def test_few_slides_start_at_once_and_many_are_isolated(
    execution: dict[str, Any], n_slides: int, farm: type, is_isolated: bool, threads: int
) -> None:
    with opened_site(load_config(None, {"execution": execution}), n_slides) as site:
        assert type(site.farm) is farm
        assert (site.is_isolated, site.threads) == (is_isolated, threads)


def _opened(config: Any) -> Any:
    return opened_site(config, 5)
