"""From a card to a loaded classifier: which engine, which device."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING

from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.classifier.engines.device import gpu_name, has_nvidia_device
from wsi_pipeline.classifier.guarded import GuardedClassifier
from wsi_pipeline.errors import ModelError

if TYPE_CHECKING:  # brings Keras
    from wsi_pipeline.classifier.engines.keras import KerasClassifier

logger = logging.getLogger(__name__)

GPU_BATCH = 1024
CPU_BATCH = 64


def load_classifier(
    card: ModelCard, *, device: str = "auto", batch_size: int | None = None, n_threads: int = 0
) -> PatchClassifier:
    """Load a model.

    Parameters
    ----------
    card : ModelCard
    device : {"auto", "cpu", "gpu"}
        "auto" takes a GPU where there is one. On the CPU a folder with `model.tflite` runs on
        LiteRT, which starts at once; any other runs on Keras.
    batch_size : int, optional
        Patches a call on Keras.
    n_threads : int
        CPU threads of LiteRT; 0 = all cores.

    Raises
    ------
    ModelError
        Where the model cannot be loaded, or a GPU was asked for and there is none.
    """
    if device == "gpu" or (device == "auto" and has_nvidia_device()):
        name = _gpu_name()
        if name is not None:
            return _on_gpu(card, batch_size or GPU_BATCH, name, n_threads)
        if device == "gpu":
            raise ModelError(
                "no GPU was found for device 'gpu'",
                "Install a driver and, in an environment of its own, `pip install '.[cuda]'` (the "
                "set-up brings TensorFlow without GPU code); or use device 'auto' or 'cpu'",
            )
        logger.warning(
            "a GPU is in this machine but the Keras backend does not see it: using the CPU"
        )
    if card.litert_path is not None and importlib.util.find_spec("ai_edge_litert"):
        from wsi_pipeline.classifier.engines.litert import LiteRTClassifier

        return LiteRTClassifier(card, n_threads or available_cores())
    return _keras(card, batch_size or CPU_BATCH, "CPU", mixed_precision=False)


def available_cores() -> int:
    """Return the number of CPU cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _gpu_name() -> str | None:
    _quiet_tensorflow()
    return gpu_name()


def _on_gpu(card: ModelCard, batch_size: int, name: str, n_threads: int) -> PatchClassifier:
    engine = _keras(card, batch_size, name, mixed_precision=True)

    def load(size: int | None) -> PatchClassifier:
        if size is None:
            return load_classifier(card, device="cpu", n_threads=n_threads)
        return engine.resized(size)

    return GuardedClassifier(load, batch_size)


def _keras(
    card: ModelCard, batch_size: int, device: str, *, mixed_precision: bool
) -> KerasClassifier:
    _quiet_tensorflow()
    from wsi_pipeline.classifier.engines.keras import KerasClassifier

    return KerasClassifier(
        card, batch_size=batch_size, device=device, mixed_precision=mixed_precision
    )


def _quiet_tensorflow() -> None:
    """Keep TensorFlow's start-up notices out of the user's terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
