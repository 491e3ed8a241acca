"""Training of a patch classifier: epochs, the best of them, and resuming after a kill."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier.engines.keras import in_precision
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.networks.architectures import build
from wsi_pipeline.learning.networks.imagenet import BASES, freeze_base, unfreeze_top
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.training.augmentation import histology_augmentation
from wsi_pipeline.learning.training.mixing import Batch, mixed
from wsi_pipeline.learning.training.optimization import make_loss, make_optimizer
from wsi_pipeline.learning.training.options import TrainingOptions

logger = logging.getLogger(__name__)


def _each_once(data: PatchDataset, rng: np.random.Generator) -> NDArray[np.intp]:
    return rng.permutation(len(data))


def _as_many_of_either(data: PatchDataset, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw half of an epoch from either class; the rarer class comes more than once."""
    n = len(data) // 2
    halves = [np.flatnonzero(data.labels == label) for label in (0, 1)]
    drawn = [rng.choice(half, n, replace=len(half) < n) for half in halves]
    return rng.permutation(np.concatenate(drawn))


def _by_root_of_patient(data: PatchDataset, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw from each patient as the root of its patches: whole slides outweigh samples less.

    Patches of one patient are much alike; a new patient is what the network will meet.
    """
    members = [np.flatnonzero(data.patients == patient) for patient in np.unique(data.patients)]
    roots = np.sqrt([len(mine) for mine in members])
    shares = np.rint(len(data) * roots / roots.sum()).astype(int)
    drawn = [np.resize(rng.permutation(mine), n) for mine, n in zip(members, shares, strict=True)]
    return rng.permutation(np.concatenate(drawn))


PRECISIONS: Final = ("float32", "mixed_bfloat16", "mixed_float16")
"""Dtype policies. bfloat16 for CPUs and recent GPUs, float16 for older GPUs."""
SAMPLINGS: Final = {
    "natural": _each_once,
    "balanced": _as_many_of_either,
    "patients": _by_root_of_patient,
}
"""How the patches of an epoch are drawn."""


N_JUDGING: Final = 3000
"""Validation patches that judge an epoch, about, with the same limit for each patient: a whole
slide's thousand would outweigh the other patients, and all take a fifth of the time."""


class PatchBatches(keras.utils.PyDataset):
    """The batches of one epoch, in an order that the seed and the epoch alone decide."""

    def __init__(self, data: PatchDataset, options: TrainingOptions, epoch: int) -> None:
        super().__init__()
        self.data, self.options, self.epoch = data, options, epoch
        rng = np.random.default_rng([options.seed, epoch])
        self.order = SAMPLINGS[options.sampling](data, rng)

    def __len__(self) -> int:
        return max(1, len(self.order) // self.options.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        """Return float32 patches (N, side, side, 3) from 0 to 255, targets and weights (N, 1)."""
        size = self.options.batch_size
        chosen = self.order[index * size : (index + 1) * size]
        labels = self.data.labels[chosen, None]
        targets = labels if self.data.targets is None else self.data.targets[chosen, None]
        weights = np.where(labels > 0, self.options.positive_weight, 1.0).astype(np.float32)
        batch = Batch(
            self.data.images[chosen].astype(np.float32), targets.astype(np.float32), weights
        )
        rng = np.random.default_rng([self.options.seed, self.epoch, index])
        batch = mixed(batch, self.options.mixup, self.options.cutmix, rng)
        return batch.images, batch.targets, batch.weights


def train(
    data: PatchDataset, validation: PatchDataset, options: TrainingOptions, work: Path
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train a network and return it as it was after its best epoch, with the history.

    The state after each epoch lies in `work`; a run that was killed goes on from there and ends
    with the same weights as an undisturbed one on the same machine.

    Returns
    -------
    model : keras.Model
        Takes float32 patches from 0 to 255, returns probabilities (N, 1); computes in float32
        whatever it was trained in.
    history : list of dict
        One entry an epoch: `loss`, `accuracy` (both under augmentation), `validation_loss`,
        `validation_auc`, `validation_accuracy` (on `N_JUDGING` validation patches),
        `seconds`.
    """
    work.mkdir(parents=True, exist_ok=True)
    _check(options)
    per_patient = math.ceil(N_JUDGING / len(np.unique(validation.patients)))
    judging = validation.sample(per_patient, np.random.default_rng(0))
    trainer, history = _new_trainer(data, options), _history(work, options)
    if history:
        _restore(trainer, work, data, options, len(history))
    for epoch in range(len(history), options.epochs):
        if _has_stalled(history, options.patience):
            logger.info("no better AUC for %d epochs: stopped", options.patience)
            break
        if epoch == options.head_epochs > 0:
            _begin_tuning(trainer, data, options)
        history.append(_one_epoch(trainer, data, judging, options, epoch))
        logger.info("epoch %d of %d: %s", epoch + 1, options.epochs, _words(history[-1]))
        if _merit(history[-1]) >= max(map(_merit, history)):
            trainer.get_layer(options.architecture).save_weights(work / "best.weights.h5")
        _checkpoint(work, trainer, history, options)
    network = trainer.get_layer(options.architecture)
    network.load_weights(work / "best.weights.h5")
    if options.precision != "float32":
        network = in_precision(network, "float32")
    return network, history


@keras.saving.register_keras_serializable("wsi_pipeline")  # type: ignore[untyped-decorator]
def accuracy(targets: Any, probabilities: Any) -> Any:
    """Return which calls at one half are those of the targets, which may lie between 0 and 1."""
    return keras.ops.equal(targets > 0.5, probabilities > 0.5)


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
    network = build(options.architecture, side, weights=options.weights, input_px=options.input_px)
    if options.precision != "float32":
        network = in_precision(network, options.precision)
    network.name = options.architecture
    if options.head_epochs:
        freeze_base(network)
    inputs = keras.Input((side, side, 3), dtype="float32")
    augmentation = histology_augmentation(
        seed=options.seed,
        dihedral=options.dihedral,
        scale=options.scale,
        stain=options.stain,
        focus=options.focus,
        jpeg=options.jpeg,
    )
    trainer = keras.Model(inputs, network(augmentation(inputs)))
    n_epochs = options.head_epochs or options.epochs
    _compile(trainer, options, options.learning_rate, len(PatchBatches(data, options, 0)), n_epochs)
    return trainer


def _begin_tuning(trainer: keras.Model, data: PatchDataset, options: TrainingOptions) -> None:
    """Let the top of the base train too, with a schedule of its own."""
    unfreeze_top(trainer.get_layer(options.architecture), options.tuned_share)
    n_epochs = options.epochs - options.head_epochs
    _compile(trainer, options, options.tuning_rate, len(PatchBatches(data, options, 0)), n_epochs)


def _compile(
    trainer: keras.Model, options: TrainingOptions, rate: float, steps: int, n_epochs: int
) -> None:
    optimizer = make_optimizer(
        options.optimizer,
        learning_rate=rate,
        weight_decay=options.weight_decay,
        warm_up_steps=steps,
        steps=steps * (n_epochs - 1),
    )
    if options.precision == "mixed_float16":  # else small gradients become 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = make_loss(options.loss, options.label_smoothing)
    trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=False)


def _one_epoch(
    trainer: keras.Model,
    data: PatchDataset,
    validation: PatchDataset,
    options: TrainingOptions,
    epoch: int,
) -> dict[str, float]:
    start = time.perf_counter()
    _reseed(trainer, options.seed, epoch)
    # The order is ours already; Keras would shuffle by a state that a resumed run does not have.
    fitted = trainer.fit(PatchBatches(data, options, epoch), epochs=1, shuffle=False, verbose=0)
    entry = {name: float(values[0]) for name, values in fitted.history.items()}
    entry |= _validate(trainer.get_layer(options.architecture), validation)
    return {**entry, "seconds": time.perf_counter() - start}


def _check(options: TrainingOptions) -> None:
    if options.sampling not in SAMPLINGS:
        raise ConfigError(
            f"there is no sampling {options.sampling!r}", f"Choose one of {', '.join(SAMPLINGS)}"
        )
    if options.precision not in PRECISIONS:
        raise ConfigError(
            f"there is no precision {options.precision!r}",
            f"Choose one of {', '.join(PRECISIONS)}",
        )
    if options.head_epochs and options.architecture not in BASES:
        raise ConfigError(
            f"{options.architecture} has no base to keep still for {options.head_epochs} epochs",
            f"Leave the head epochs out, or choose one of {', '.join(BASES)}",
        )


def _has_stalled(history: list[dict[str, float]], patience: int) -> bool:
    if not patience or not history:
        return False
    merits = [_merit(entry) for entry in history]
    return len(merits) - 1 - int(np.argmax(merits)) >= patience


def _merit(entry: dict[str, float]) -> float:
    """Return the AUC on validation; the loss where a single class leaves it undefined."""
    auc = entry["validation_auc"]
    return auc if math.isfinite(auc) else -entry["validation_loss"]


def _validate(network: keras.Model, validation: PatchDataset) -> dict[str, float]:
    probabilities = predict(network, validation.images)
    p = np.clip(probabilities.astype(float), 1e-7, 1 - 1e-7)
    y = validation.labels
    return {
        "validation_loss": float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p)))),
        "validation_auc": metrics.auc(y, p),
        "validation_accuracy": float(np.mean((p >= 0.5) == (y > 0))),
    }


def _checkpoint(
    work: Path, trainer: keras.Model, history: list[dict[str, float]], options: TrainingOptions
) -> None:
    """Write model, optimizer and history beside, then rename: a kill leaves a whole pair."""
    epoch = len(history)
    new = work / f"state-{epoch:04d}.keras"
    trainer.save(work / "writing.keras")
    (work / "writing.keras").replace(new)
    state = {"state": new.name, "history": history, "options": asdict(options)}
    (work / "writing.json").write_text(json.dumps(state))
    (work / "writing.json").replace(work / "state.json")
    for old in work.glob("state-*.keras"):
        if old != new:
            old.unlink()


def _history(work: Path, options: TrainingOptions) -> list[dict[str, float]]:
    """Return the epochs that an earlier, interrupted run of this training has done."""
    if not (work / "state.json").exists():
        return []
    state = json.loads((work / "state.json").read_text())
    before = state.get("options", asdict(options))
    other = [name for name, value in asdict(options).items() if before.get(name, value) != value]
    if other:
        raise ConfigError(
            f"{work} holds a training with other options ({', '.join(other)})",
            "Choose another model folder, or delete that one to start anew",
        )
    logger.info("going on after epoch %d", len(state["history"]))
    return list(state["history"])


def _restore(
    trainer: keras.Model, work: Path, data: PatchDataset, options: TrainingOptions, n_done: int
) -> None:
    """Take weights and optimizer state over from the checkpoint.

    The loaded model itself will not do: Keras forgets which variables are free of weight decay.
    """
    if 0 < options.head_epochs < n_done:
        _begin_tuning(trainer, data, options)
    state = json.loads((work / "state.json").read_text())
    saved = keras.models.load_model(work / state["state"])
    trainer.set_weights(saved.get_weights())
    trainer.optimizer.build(trainer.trainable_variables)
    for variable, value in zip(trainer.optimizer.variables, saved.optimizer.variables, strict=True):
        variable.assign(value)


def _reseed(trainer: keras.Model, seed: int, epoch: int) -> None:
    """Let the random draws of an epoch depend on the seed and the epoch alone."""
    generators = [v for v in trainer.variables if v.name == "seed_generator_state"]
    for variable, child in zip(
        generators, np.random.SeedSequence([seed, epoch]).spawn(len(generators)), strict=True
    ):
        variable.assign(np.array([child.generate_state(1)[0] % 2**31, 0], np.int64))


def _words(entry: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in entry.items() if math.isfinite(value))
