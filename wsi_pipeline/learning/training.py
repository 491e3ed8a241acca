"""Training of a patch classifier: epochs, the best of them, and resuming after a kill."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.learning import metrics
from wsi_pipeline.learning.architectures import build
from wsi_pipeline.learning.augmentation import histology_augmentation
from wsi_pipeline.learning.datasets import PatchDataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a model is trained; stored in its card."""

    architecture: str = "compact-residual"
    epochs: int = 24
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    """Peak of the cosine schedule, after a linear warm-up of one epoch."""
    weight_decay: float = 0.02
    label_smoothing: float = 0.02
    positive_weight: float = 1.0
    """Weight of an IDC patch in the loss; 1 leaves the prevalence as it is."""
    jpeg: bool = True
    """Train for compressed slides. Without it 4:2:0 slides lose a tenth of the AUC."""
    stain: bool = True
    """Vary hematoxylin and eosin apart."""
    seed: int = 0


class PatchBatches(keras.utils.PyDataset):
    """The batches of one epoch, in an order that the seed and the epoch alone decide."""

    def __init__(self, data: PatchDataset, options: TrainingOptions, epoch: int) -> None:
        super().__init__()
        self.data, self.options = data, options
        self.order = np.random.default_rng([options.seed, epoch]).permutation(len(data))

    def __len__(self) -> int:
        return max(1, len(self.order) // self.options.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        """Return float32 patches (N, side, side, 3) from 0 to 255, labels and weights (N, 1)."""
        size = self.options.batch_size
        chosen = self.order[index * size : (index + 1) * size]
        labels = self.data.labels[chosen, None].astype(np.float32)
        weights = np.where(labels > 0, self.options.positive_weight, 1.0).astype(np.float32)
        return self.data.images[chosen].astype(np.float32), labels, weights


def train(
    data: PatchDataset, validation: PatchDataset, options: TrainingOptions, work: Path
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train a network and return it as it was after its best epoch, with the history.

    The state after each epoch lies in `work`; a run that was killed goes on from there and ends
    with the same weights as an undisturbed one on the same machine.

    Returns
    -------
    model : keras.Model
        Takes float32 patches from 0 to 255, returns probabilities (N, 1).
    history : list of dict
        One entry an epoch: `loss`, `validation_loss`, `validation_auc`, `seconds`.
    """
    work.mkdir(parents=True, exist_ok=True)
    trainer, history = _resume(work) or (_new_trainer(data, options), [])
    for epoch in range(len(history), options.epochs):
        start = time.perf_counter()
        fitted = trainer.fit(PatchBatches(data, options, epoch), epochs=1, verbose=0)
        network = trainer.get_layer(options.architecture)
        entry = {"loss": float(fitted.history["loss"][0]), **_validate(network, validation)}
        entry["seconds"] = time.perf_counter() - start
        history.append(entry)
        logger.info("epoch %d of %d: %s", epoch + 1, options.epochs, _words(entry))
        if entry["validation_auc"] >= max(h["validation_auc"] for h in history):
            network.save_weights(work / "best.weights.h5")
        _checkpoint(work, trainer, history)
    network = trainer.get_layer(options.architecture)
    network.load_weights(work / "best.weights.h5")
    return network, history


def predict(model: keras.Model, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
    """Return the probability of each patch, float32 (N,)."""
    parts = [
        np.asarray(model.predict_on_batch(images[i : i + batch].astype(np.float32)))[:, 0]
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(parts).astype(np.float32)


def _new_trainer(data: PatchDataset, options: TrainingOptions) -> keras.Model:
    """Return augmentation and network as one model, compiled."""
    keras.utils.set_random_seed(options.seed)
    side = data.images.shape[1]
    network = build(options.architecture, side)
    network.name = options.architecture
    inputs = keras.Input((side, side, 3), dtype="float32")
    augmented = histology_augmentation(seed=options.seed, jpeg=options.jpeg, stain=options.stain)(
        inputs
    )
    trainer = keras.Model(inputs, network(augmented))
    steps = len(PatchBatches(data, options, 0))
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate / 20,
        steps * max(1, options.epochs - 1),
        warmup_target=options.learning_rate,
        warmup_steps=steps,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=options.weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.BinaryCrossentropy(label_smoothing=options.label_smoothing)
    trainer.compile(optimizer, loss, jit_compile=False)
    return trainer


def _validate(network: keras.Model, validation: PatchDataset) -> dict[str, float]:
    probabilities = predict(network, validation.images)
    p = np.clip(probabilities.astype(float), 1e-7, 1 - 1e-7)
    y = validation.labels
    return {
        "validation_loss": float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p)))),
        "validation_auc": metrics.auc(y, p),
        "validation_accuracy": float(np.mean((p >= 0.5) == (y > 0))),
    }


def _checkpoint(work: Path, trainer: keras.Model, history: list[dict[str, float]]) -> None:
    """Write model, optimizer and history beside, then rename: a kill leaves a whole pair."""
    epoch = len(history)
    new = work / f"state-{epoch:04d}.keras"
    trainer.save(work / "writing.keras")
    (work / "writing.keras").replace(new)
    (work / "writing.json").write_text(json.dumps({"state": new.name, "history": history}))
    (work / "writing.json").replace(work / "state.json")
    for old in work.glob("state-*.keras"):
        if old != new:
            old.unlink()


def _resume(work: Path) -> tuple[keras.Model, list[dict[str, float]]] | None:
    if not (work / "state.json").exists():
        return None
    state = json.loads((work / "state.json").read_text())
    logger.info("going on after epoch %d", len(state["history"]))
    return keras.models.load_model(work / state["state"]), state["history"]


def _words(entry: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in entry.items() if math.isfinite(value))


def options_record(options: TrainingOptions) -> dict[str, Any]:
    """Return the options as plain data for the model card."""
    return asdict(options)
