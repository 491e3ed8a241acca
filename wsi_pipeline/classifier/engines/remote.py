"""Another worker's GPU: patches travel to the Dask worker that declares one.

What a slide costs beside its classification takes a CPU core far longer than a GPU takes for its
patches, so that one GPU serves many readers. Patches travel from the reader's memory straight to
the worker that classifies them. The model is loaded on workers that declare a GPU and on no other.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from wsi_pipeline.classifier.card import ModelCard, read_card
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.classifier.engines.owner import Owner
from wsi_pipeline.geometry import FloatArray, RgbArray

if TYPE_CHECKING:
    from wsi_pipeline.classifier.request import ModelRequest

GPU_RESOURCE: Final = "GPU"
"""What a worker declares that may classify: `dask worker ... --resources GPU=1`."""
ONE_GPU: Final = {GPU_RESOURCE: 1.0}
A_SHARE: Final = {GPU_RESOURCE: 0.125}
"""Of what classifies alone: a worker with as many threads fills batches from several readers."""

_starting = threading.Lock()


def remote_classifier(request: ModelRequest) -> RemoteClassifier | None:
    """Return the classifier on another worker; None where this worker declares a GPU itself."""
    from distributed import get_client, get_worker

    try:
        if get_worker().state.total_resources.get(GPU_RESOURCE):
            return None
    except ValueError:  # no worker: the client that started the run
        pass
    return _remote(get_client(), request)


@lru_cache(maxsize=2)
def _remote(client: Any, request: ModelRequest) -> RemoteClassifier:
    return RemoteClassifier(client, request)


class RemoteClassifier(PatchClassifier):
    """The model of another worker."""

    def __init__(self, client: Any, request: ModelRequest) -> None:
        self._client, self._request = client, replace(request, on_gpu_workers=False)
        self._card = read_card(request.folder)
        self._device, self._current = "", threading.local()

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._card

    @property
    def device(self) -> str:
        """Where this thread's last patches were classified, else where the next ones will be."""
        if hasattr(self._current, "device"):
            return str(self._current.device)
        if not self._device:
            self._device = str(self._submit(_device_of, self._request).result())
        return self._device

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return probabilities (N,), and features (N, n) where the network gives any."""
        # What a worker scatters stays in its memory until the other one fetches it.
        data = self._client.scatter(patches, hash=False)
        future = self._submit(_predict, self._request, data)
        probability, features, self._current.device = future.result()
        return probability, features

    def _submit(self, function: Any, *arguments: Any) -> Any:
        # Readers wait for it: it goes before whatever else the worker has to do.
        return self._client.submit(function, *arguments, resources=A_SHARE, priority=10, pure=False)


@lru_cache(maxsize=2)
def _owner(request: ModelRequest) -> Owner:
    """Return what classifies together what several readers ask this worker for."""
    return Owner(request.load())


def _predict(request: ModelRequest, patches: RgbArray) -> tuple[FloatArray, FloatArray | None, str]:
    with _starting:
        owner = _owner(request)
    return owner.answer(patches)


def _device_of(request: ModelRequest) -> str:
    with _starting:
        return _owner(request).device
