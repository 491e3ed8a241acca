"""A cluster with GPUs: other workers read, cut and draw; those with a GPU classify for them.

What a slide costs beside its classification takes a CPU core far longer than a GPU takes for its
patches, so that one GPU serves many readers. Patches travel from the reader's memory straight to
the worker that classifies them. The model is loaded on workers that declare a GPU and on no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Final

from wsi_pipeline.classifier import ModelCard, ModelRequest, PatchClassifier, classify_by, read_card
from wsi_pipeline.execution.dask_tasks import WorkerSelector
from wsi_pipeline.geometry import FloatArray, RgbArray

RESOURCE: Final = "GPU"
ONE_GPU: Final = {RESOURCE: 1.0}


def gpu_worker_selector(client: Any) -> WorkerSelector:
    """Return where slides and blocks run: on workers without a GPU, where there are some.

    Without such readers the workers with a GPU do everything themselves.
    """

    def place() -> Mapping[str, Any]:
        readers = client.run_on_scheduler(_without_gpu)
        if readers:  # should all of them die, any worker will do
            return {"workers": readers, "allow_other_workers": True}
        return {"resources": ONE_GPU}

    return place


def classify_here() -> None:
    """Let a worker classify by itself, whatever an earlier run had it do."""
    classify_by(None)


def classify_on_gpu_workers() -> None:
    """Let a worker without a GPU have its patches classified by one that declares it."""
    from distributed import get_client, get_worker

    worker = get_worker()
    if worker.state.total_resources.get(RESOURCE):
        classify_here()
    else:
        classify_through(get_client())


def classify_through(client: Any) -> None:
    """Let this process have its patches classified by the workers that declare a GPU."""
    classify_by(cache(partial(RemoteClassifier, client)))


class RemoteClassifier:
    """Implements `PatchClassifier` by the model of another worker."""

    def __init__(self, client: Any, request: ModelRequest) -> None:
        self._client, self._request = client, request
        self._card = read_card(request.folder)
        self._device = ""

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._card

    @property
    def device(self) -> str:
        """Where the other worker runs the model; asked for once."""
        if not self._device:
            self._device = str(self._submit(_device_of, self._request).result())
        return self._device

    def predict(self, patches: RgbArray) -> FloatArray:
        """Return the probability of IDC of each patch, float32 (N,)."""
        # What a worker scatters stays in its memory until the other one fetches it.
        data = self._client.scatter(patches, hash=False)
        future = self._submit(_predict, self._request, data)
        probability: FloatArray = future.result()
        return probability

    def _submit(self, function: Any, *arguments: Any) -> Any:
        # Readers wait for it: it goes before whatever else the worker has to do.
        return self._client.submit(function, *arguments, resources=ONE_GPU, priority=10, pure=False)


def _predict(request: ModelRequest, patches: RgbArray) -> FloatArray:
    return _own(request).predict(patches)


def _device_of(request: ModelRequest) -> str:
    return _own(request).device


def _own(request: ModelRequest) -> PatchClassifier:
    classify_here()
    return request.load()


def _without_gpu(dask_scheduler: Any) -> list[str]:
    workers = dask_scheduler.workers.values()
    return [worker.address for worker in workers if not worker.resources.get(RESOURCE)]
