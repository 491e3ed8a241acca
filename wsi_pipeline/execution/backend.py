"""Which executor does the slides: this process, processes, a Dask cluster, SLURM jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from wsi_pipeline.classifier import ModelRequest, available_cores
from wsi_pipeline.classifier.engines.owned import OwnerAddress
from wsi_pipeline.classifier.request import load_on_gpu
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.execution.block_executor import (
    BlockExecutor,
    ClusterBlockExecutor,
    ThreadBlockExecutor,
)
from wsi_pipeline.execution.cluster import LIGHT_DASK, ClusterExecutor, anywhere
from wsi_pipeline.execution.executor import Executor, SerialExecutor
from wsi_pipeline.execution.gpu_owner import gpu_owner, wants_owner
from wsi_pipeline.execution.gpu_workers import gpu_worker_selector
from wsi_pipeline.execution.processes import GIGA, ProcessExecutor
from wsi_pipeline.execution.slurm import slurm_cluster

ANSWER_SECONDS: Final = 10.0
FEW_SLIDES: Final = 2
"""So few are done in this process: they start at once, and share all threads block by block."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a run's slides are done."""

    executor: Executor
    block_executor: BlockExecutor
    """Runs the blocks of a slide."""
    threads: int
    """Of the model, and of the executor where it is this process's."""
    is_isolated: bool
    """True where a process that dies is not the user's own."""
    words: str
    """For the user and the record."""
    on_gpu_workers: bool = False
    """True where workers that declare a GPU classify for the others."""
    owner: OwnerAddress | None = None
    """Of the GPU, where processes share one."""


@contextmanager
def open_backend(
    config: Config, n_slides: int, model: ModelRequest | None = None
) -> Iterator[Backend]:
    """Give where the configuration wants the slides done, and release it afterwards.

    Parameters
    ----------
    config : Config
    n_slides : int
    model : ModelRequest, optional
        What they are classified by; a GPU of this machine then gets its owner.

    Raises
    ------
    ConfigError
        Where the scheduler does not answer, or SLURM is asked for without its package.
    """
    execution = config.execution
    if execution.scheduler is not None:
        with _client(execution.scheduler) as client:
            n_workers = len(client.nthreads())
            yield _cluster_backend(client, config, n_slides, n_workers, f"{n_workers} workers")
        return
    if execution.slurm is not None:
        with _slurm_client(dict(execution.slurm)) as client:
            n_workers = len(client.cluster.plan)  # none of them has come yet
            words = f"{n_workers} workers in SLURM jobs"
            yield _cluster_backend(client, config, n_slides, n_workers, words)
        return
    cores = execution.workers or available_cores()
    if execution.isolation == "threads" or (
        execution.isolation == "auto" and n_slides <= FEW_SLIDES
    ):
        executor = SerialExecutor(execution.stall_seconds)
        yield Backend(executor, ThreadBlockExecutor(cores), cores, False, f"{cores} threads")
        return
    n_processes = max(1, min(cores, n_slides))
    threads = max(1, cores // n_processes)
    processes = ProcessExecutor(
        n_processes,
        execution.memory_gb and execution.memory_gb * GIGA,
        execution.stall_seconds,
    )
    words = f"{n_processes} processes of {threads} threads"
    blocks = ThreadBlockExecutor(threads)
    if model is None or not wants_owner(config.inference.device):
        yield Backend(processes, blocks, threads, True, words)
        return
    with gpu_owner(partial(load_on_gpu, model)) as owner:
        words += ", one owner of the GPU"
        yield Backend(processes, blocks, threads, True, words, owner=owner)


def _cluster_backend(
    client: Any, config: Config, n_slides: int, n_workers: int, workers: str
) -> Backend:
    """Choose slides as tasks, or blocks where there are fewer slides than workers."""
    on_gpu_workers = config.inference.device == "gpu"
    worker_selector, words = anywhere, ""
    if on_gpu_workers:
        worker_selector = gpu_worker_selector(client)
        words = ", classification on those with GPU"
    words = f"Dask, {workers}{words}, dashboard {client.dashboard_link}"
    cluster = ClusterExecutor(client, worker_selector, config.execution.stall_seconds)
    if n_slides < max(FEW_SLIDES, n_workers):
        blocks, cores = ClusterBlockExecutor(cluster), available_cores()
        return Backend(SerialExecutor(), blocks, cores, False, words, on_gpu_workers)
    return Backend(cluster, ThreadBlockExecutor(1), 1, True, words, on_gpu_workers)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    import dask
    from distributed import Client

    with dask.config.set(LIGHT_DASK):
        try:
            client = Client(address, timeout=ANSWER_SECONDS)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {address}",
                "Start one with `dask scheduler`, workers with `dask worker ADDRESS --nthreads 1`",
            ) from error
        with client:
            yield client


@contextmanager
def _slurm_client(arguments: dict[str, Any]) -> Iterator[Any]:
    import dask
    from distributed import Client

    with (
        dask.config.set(LIGHT_DASK),
        slurm_cluster(arguments) as cluster,
        Client(cluster) as client,
    ):
        yield client
