"""Dask workers as SLURM jobs: asked for, and asked for again where one ends before the run does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from wsi_pipeline.errors import ConfigError

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 15.0
"""How often jobs that have ended are looked for; one is missed at two looks."""


@contextmanager
def slurm_cluster(arguments: dict[str, Any]) -> Iterator[Any]:
    """Give a cluster whose workers SLURM starts, and cancel what is left of its jobs afterwards.

    Parameters
    ----------
    arguments : dict
        Of `dask_jobqueue.SLURMCluster`; `jobs` is how many are asked for.

    Raises
    ------
    ConfigError
        Where dask-jobqueue is missing, does not know an argument, or SLURM takes no such job.
    """
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
    with cluster:
        try:
            cluster.sync(_submit, cluster, jobs)
        except (RuntimeError, OSError) as error:  # the first: sbatch has said no, and why
            raise ConfigError(
                f"SLURM takes no such job: {' '.join(str(error).split())}",
                "Compare `execution.slurm` with what `sinfo` and `scontrol show partition` say",
            ) from error
        with jobs_kept_up(cluster):
            yield cluster


async def _submit(cluster: Any, jobs: int) -> None:
    for _ in range(jobs):  # not scale(), which would say in a log alone that a job is refused
        cluster.worker_spec.update(cluster.new_worker_spec())
    await _start(cluster)


async def _start(cluster: Any) -> None:
    """Start what is wanted and not there; forget jobs that are refused, so that all can close."""
    from distributed import Status

    try:
        await cluster
    except (RuntimeError, OSError):
        refused = {k: job for k, job in cluster.workers.items() if job.status is Status.created}
        for name, job in refused.items():
            del cluster.workers[name]
            job.status = Status.closed
        raise


@contextmanager
def jobs_kept_up(cluster: Any) -> Iterator[None]:
    """Ask again for jobs that end meanwhile: killed, preempted, or out of their time.

    dask-jobqueue itself does not: without this a run outlives its last job, and waits for ever.
    """
    over = threading.Event()
    thread = threading.Thread(target=_keep_up, args=(cluster, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keep_up(cluster: Any, over: threading.Event) -> None:
    seen: set[Any] = set()
    missed: set[Any] = set()
    while not over.wait(LOOK_SECONDS):
        here = _jobs_with_workers(cluster)
        seen |= here
        ended = seen - here  # one that waits in SLURM's queue has not been seen yet
        for_good = ended & missed  # not while its worker is started again
        if for_good:
            logger.warning("%d jobs have ended; SLURM is asked for others", len(for_good))
            try:
                cluster.sync(_ask_again, cluster, for_good)
                seen -= for_good
            except (RuntimeError, OSError) as error:  # asked again at a later look
                logger.warning("SLURM gives no other job: %s", error)
        missed = ended - for_good


def _jobs_with_workers(cluster: Any) -> set[Any]:
    """Return the jobs of which a worker is connected; one of several names a worker by a suffix."""
    names = {worker["name"] for worker in cluster.scheduler_info["workers"].values()}
    return {
        job
        for job, spec in cluster.worker_spec.items()
        if names & {job, *(f"{job}{suffix}" for suffix in spec.get("group", ()))}
    }


async def _ask_again(cluster: Any, jobs: set[Any]) -> None:
    for job in jobs & cluster.workers.keys():
        await cluster.workers.pop(job).close()
    await _start(cluster)
