"""Where the blocks are done: threads of this process, a running Dask scheduler, SLURM jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wsi_pipeline.classifier import available_cores
from wsi_pipeline.config import Config
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.execution import ClusterExecutor, Executor, ThreadExecutor

logger = logging.getLogger(__name__)


@contextmanager
def connected_executor(config: Config) -> Iterator[Executor]:
    """Give the executor that the configuration asks for, and release it afterwards.

    Raises
    ------
    ConfigError
        Where the scheduler does not answer, or SLURM is asked for without its package.
    """
    execution = config.execution
    if execution.scheduler is None and execution.slurm is None:
        yield ThreadExecutor(execution.workers or available_cores())
        return
    with _client(execution.scheduler, execution.slurm) as client:
        logger.info("Dask dashboard: %s", client.dashboard_link)
        yield ClusterExecutor(client)


@contextmanager
def _client(address: str | None, slurm: dict[str, Any] | None) -> Iterator[Any]:
    from distributed import Client

    if address is not None:
        try:
            client = Client(address, timeout=10)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {address}",
                "Start one with `dask scheduler`, workers with `dask worker ADDRESS`",
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
    cluster = SLURMCluster(**arguments)
    cluster.scale(jobs=jobs)
    return cluster
