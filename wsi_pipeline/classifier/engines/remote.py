"""Another worker's GPU: patches travel to the Dask worker that declares one.

What a slide costs beside its classification takes a CPU core far longer than a GPU takes for its
patches, so that one GPU serves many readers. Patches travel from the reader's memory straight to
the worker that classifies them. The model is loaded on workers that declare a GPU and on no other.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from wsi_pipeline.classifier.card import ModelCard, read_card
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.geometry import FloatArray, RgbArray

if TYPE_CHECKING:
    from wsi_pipeline.classifier.request import ModelRequest

GPU_RESOURCE: Final = "GPU"
"""What a worker declares that may classify: `dask worker ... --resources GPU=1`."""
ONE_GPU: Final = {GPU_RESOURCE: 1.0}


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

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return probabilities (N,), and features (N, n) where the network gives any."""
        # What a worker scatters stays in its memory until the other one fetches it.
        data = self._client.scatter(patches, hash=False)
        future = self._submit(_predict, self._request, data)
        found: tuple[FloatArray, FloatArray | None] = future.result()
        return found

    def _submit(self, function: Any, *arguments: Any) -> Any:
        # Readers wait for it: it goes before whatever else the worker has to do.
        return self._client.submit(function, *arguments, resources=ONE_GPU, priority=10, pure=False)


def _predict(request: ModelRequest, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
    return request.load().predict_features(patches)


def _device_of(request: ModelRequest) -> str:
    return request.load().device
