"""A cluster with GPUs: which workers read, cut and draw where others classify for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsi_pipeline.classifier.engines.remote import GPU_RESOURCE, ONE_GPU
from wsi_pipeline.execution.cluster import WorkerSelector


def gpu_worker_selector(client: Any) -> WorkerSelector:
    """Return where slides and blocks run: on workers without a GPU, where there are some.

    Without such readers the workers with a GPU do everything themselves. Beside them Dask may still
    move one that waits to a worker with a GPU that has nothing to do (work stealing): harmless, as
    that one classifies its own.
    """

    def select() -> Mapping[str, Any]:
        readers = client.run_on_scheduler(_without_gpu)
        if readers:  # should all of them die, any worker will do
            return {"workers": readers, "allow_other_workers": True}
        return {"resources": ONE_GPU}

    return select


def _without_gpu(dask_scheduler: Any) -> list[str]:
    workers = dask_scheduler.workers.values()
    return [worker.address for worker in workers if not worker.resources.get(GPU_RESOURCE)]
