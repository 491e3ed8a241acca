"""Which farm does the slides: this process, supervised processes, a Dask cluster, SLURM jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from wsi_pipeline.archive.farm import Farm, Lost, Result, SerialFarm, Task, Work, tell_nobody
from wsi_pipeline.archive.processes import GIGA, ProcessFarm
from wsi_pipeline.classifier import available_cores
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError, WorkersLostError
from wsi_pipeline.execution import (
    ClusterExecutor,
    Executor,
    ThreadExecutor,
    completed,
    result_of,
)

PATIENCE: Final = 2.0
"""Processes watch over themselves; one that has not ended itself after so many times the limit, or
that has no such watch, is ended from outside."""
ANSWER_SECONDS: Final = 10.0
FEW_SLIDES: Final = 2
"""So few are done in this process: they start at once, and share all threads block by block."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run's slides are done."""

    farm: Farm
    executor: Executor
    """Runs the blocks of a slide."""
    threads: int
    """Of the model, and of the executor where it is this process's."""
    is_isolated: bool
    """True where a process that dies is not the user's own."""
    words: str
    """For the user and the record."""


class ClusterFarm:
    """Slides as tasks of a Dask cluster; a worker that dies costs one slide's unfinished blocks."""

    def __init__(self, client: Any, resources: Mapping[str, float] | None = None) -> None:
        self.client, self.resources = client, resources

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        report: Callable[[Task, Result | Lost], None],
        told: Callable[[Task, Any], None],
    ) -> None:
        """Do the tasks on the workers; their progress is not told."""
        del told
        for task, future in completed(self.client, partial(_quietly, work), tasks, self.resources):
            try:
                result: Any = result_of(future)
            except WorkersLostError as error:
                result = Lost(error.problem)
            report(task, result)


@contextmanager
def opened_site(config: Config, n_slides: int) -> Iterator[Site]:
    """Give where the configuration wants the slides done, and release it afterwards.

    Raises
    ------
    ConfigError
        Where the scheduler does not answer, or SLURM is asked for without its package.
    """
    execution = config.execution
    if execution.scheduler is not None or execution.slurm is not None:
        with _client(execution.scheduler, execution.slurm) as client:
            yield _cluster_site(client, config, n_slides)
        return
    cores = execution.workers or available_cores()
    if execution.isolation == "threads" or (
        execution.isolation == "auto" and n_slides <= FEW_SLIDES
    ):
        yield Site(SerialFarm(), ThreadExecutor(cores), cores, False, f"{cores} threads")
        return
    n_processes = max(1, min(cores, n_slides))
    threads = max(1, cores // n_processes)
    farm = ProcessFarm(
        n_processes,
        execution.memory_gb and execution.memory_gb * GIGA,
        PATIENCE * execution.stall_seconds,
    )
    words = f"{n_processes} processes of {threads} threads"
    yield Site(farm, ThreadExecutor(threads), threads, True, words)


def _cluster_site(client: Any, config: Config, n_slides: int) -> Site:
    """Choose slides as tasks, or blocks where there are fewer slides than workers."""
    resources = {"GPU": 1.0} if config.inference.device == "gpu" else None
    n_workers = len(client.nthreads())
    words = f"Dask, {n_workers} workers, dashboard {client.dashboard_link}"
    if n_slides < max(FEW_SLIDES, n_workers):
        executor = ClusterExecutor(client, resources)
        return Site(SerialFarm(), executor, available_cores(), False, words)
    return Site(ClusterFarm(client, resources), ThreadExecutor(1), 1, True, words)


def _quietly(work: Callable[[Any, Any], Any], task: Any) -> Any:
    return work(task, tell_nobody)


@contextmanager
def _client(address: str | None, slurm: dict[str, Any] | None) -> Iterator[Any]:
    from distributed import Client

    if address is not None:
        try:
            client = Client(address, timeout=ANSWER_SECONDS)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {address}",
                "Start one with `dask scheduler`, workers with `dask worker ADDRESS --nthreads 1`",
            ) from error
        with client:
            yield client
        return
    with _slurm_cluster(dict(slurm or {})) as cluster, Client(cluster) as client:
        yield client


def _slurm_cluster(arguments: dict[str, Any]) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ConfigError(
            "execution.slurm needs the package dask-jobqueue", "pip install 'wsi-pipeline[slurm]'"
        ) from error
    jobs = int(arguments.pop("jobs", 1))
    try:
        cluster = SLURMCluster(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"execution.slurm: {error}", "Its keys are the arguments of dask_jobqueue.SLURMCluster"
        ) from error
    cluster.scale(jobs=jobs)
    return cluster
