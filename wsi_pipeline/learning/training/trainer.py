"""Training of a patch classifier: epochs, the best of them, and resuming after a kill."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import keras
import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import find_model
from wsi_pipeline.classifier.engines.device import is_worth_compiling
from wsi_pipeline.classifier.engines.keras import (
    in_precision,
    load_keras_model,
    probability_network,
)
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.networks.architectures import build
from wsi_pipeline.learning.networks.imagenet import BASES, freeze_base, unfreeze_top
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.training.augmentation_chain import histology_augmentation
from wsi_pipeline.learning.training.batches import SAMPLINGS, PatchBatches
from wsi_pipeline.learning.training.color_exchange import ColorExchange
from wsi_pipeline.learning.training.optimization import make_loss, make_optimizer
from wsi_pipeline.learning.training.options import TrainingOptions

logger = logging.getLogger(__name__)


PRECISIONS: Final = ("float32", "mixed_bfloat16", "mixed_float16")
"""Dtype policies. bfloat16 for CPUs and recent GPUs, float16 for older GPUs."""

N_JUDGING: Final = 3000
"""Validation patches that judge an epoch, about, with the same limit for each patient: a whole
slide's thousand would outweigh the other patients, and all take a fifth of the time."""
JUDGING_SEED: Final = 2026
"""Of their alterations: the same for every training, so that epochs and recipes compare."""
EpochProgress = Callable[[int, int, int], None]
"""Told after each batch: epoch from 1, patches done in it, patches of an epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """What an epoch is drawn from."""

    data: PatchDataset
    negatives: PatchDataset | None
    exchange: ColorExchange | None

    @classmethod
    def of(
        cls, data: PatchDataset, negatives: PatchDataset | None, options: TrainingOptions
    ) -> Self:
        sides = [side for side in (data, negatives) if side is not None]
        return cls(data, negatives, ColorExchange.fit(*sides) if options.color_exchange else None)

    def batches(self, options: TrainingOptions, epoch: int) -> PatchBatches:
        return PatchBatches(self.data, options, epoch, self.negatives, self.exchange)


@dataclass(frozen=True, slots=True, eq=False)
class _Judging:
    """The validation patches that judge an epoch."""

    data: PatchDataset
    altered: NDArray[np.float32] | None
    """The same under the augmentation, the same for every epoch and seed; None = not asked for."""

    @classmethod
    def of(cls, data: PatchDataset, options: TrainingOptions) -> Self:
        if not options.judge_altered:
            return cls(data, None)
        chain = histology_augmentation(replace(options, seed=JUDGING_SEED))
        parts = [
            np.asarray(chain(data.images[i : i + 256].astype(np.float32), training=True))
            for i in range(0, len(data), 256)
        ]
        return cls(data, np.concatenate(parts))


def train(
    data: PatchDataset,
    validation: PatchDataset,
    options: TrainingOptions,
    work: Path,
    negatives: PatchDataset | None = None,
    *,
    progress: EpochProgress | None = None,
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train a network and return it as it was after its best epoch, with the history.

    The state after each epoch lies in `work`; a run that was killed goes on from there and ends
    with the same weights as an undisturbed one on the same machine.

    Parameters
    ----------
    data, validation : PatchDataset
    options : TrainingOptions
    work : Path
    negatives : PatchDataset, optional
        Patches of other tissue, which take `options.negatives_share` of each epoch.
    progress : callable, optional
        See `EpochProgress`.

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
    judging = _Judging.of(validation.sample(per_patient, np.random.default_rng(0)), options)
    material = _Material.of(data, negatives, options)
    n_steps = len(material.batches(options, 0))
    trainer = new_trainer(data.images.shape[1], options, n_steps)
    history = _history(work, options)
    if history:
        _restore(trainer, work, options, len(history), n_steps)
    for epoch in range(len(history), options.epochs):
        if _has_stalled(history, options.patience):
            logger.info("no better AUC for %d epochs: stopped", options.patience)
            break
        if epoch == options.head_epochs > 0:
            _begin_tuning(trainer, options, n_steps)
        watched = [_Watch(progress, epoch + 1, n_steps, options.batch_size)] if progress else []
        history.append(_one_epoch(trainer, material, judging, options, epoch, watched))
        logger.info("epoch %d of %d: %s", epoch + 1, options.epochs, _words(history[-1]))
        if _merit(history[-1]) >= max(map(_merit, history)):
            trainer.get_layer(options.architecture).save_weights(work / "best.weights.h5")
        save_checkpoint(work, trainer, history, options)
    network = trainer.get_layer(options.architecture)
    network.load_weights(work / "best.weights.h5")
    if options.precision != "float32":
        network = in_precision(network, "float32")
    if options.blend:
        _blend(network, options)
    return network, history


def _blend(network: keras.Model, options: TrainingOptions) -> None:
    """Average the weights with those of another model of the same network.

    References
    ----------
    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    other = probability_network(load_keras_model(find_model(options.blend))).get_weights()
    mine, share = network.get_weights(), options.blend_share
    if [a.shape for a in mine] != [b.shape for b in other]:
        raise ConfigError(
            f"{options.blend} is another network than {options.architecture}",
            "Blend with a model of the same architecture, such as the one that it started from",
        )
    network.set_weights([(1 - share) * a + share * b for a, b in zip(mine, other, strict=True)])


class _Watch(keras.callbacks.Callback):
    """Tells how far an epoch is."""

    def __init__(self, progress: EpochProgress, epoch: int, n_steps: int, batch: int) -> None:
        super().__init__()
        self._progress, self._epoch, self._n_steps, self._batch = progress, epoch, n_steps, batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras'
        """Keras calls this."""
        self._progress(self._epoch, (batch + 1) * self._batch, self._n_steps * self._batch)


@keras.saving.register_keras_serializable("wsi_pipeline")  # type: ignore[untyped-decorator]
def accuracy(targets: Any, probabilities: Any) -> Any:
    """Return which calls at one half are those of the targets, which may lie between 0 and 1."""
    return keras.ops.equal(targets > 0.5, probabilities > 0.5)


def predict(model: keras.Model, images: NDArray[Any], batch: int = 256) -> NDArray[np.float32]:
    """Return the probability of each patch, float32 (N,)."""
    parts = [
        np.asarray(model.predict_on_batch(images[i : i + batch].astype(np.float32)))[:, 0]
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(parts).astype(np.float32)


def new_trainer(side_px: int, options: TrainingOptions, n_steps: int) -> keras.Model:
    """Return augmentation and network as one model, compiled."""
    keras.utils.set_random_seed(options.seed)
    network = _network(side_px, options)
    if options.precision != "float32":
        network = in_precision(network, options.precision)
    network.name = options.architecture
    if options.head_epochs:
        freeze_base(network)
    inputs = keras.Input((side_px, side_px, 3), dtype="float32")
    trainer = keras.Model(inputs, network(histology_augmentation(options)(inputs)))
    n_epochs = options.head_epochs or options.epochs
    compile_for_training(trainer, options, options.learning_rate, n_steps, n_epochs)
    return trainer


def _network(side_px: int, options: TrainingOptions) -> keras.Model:
    """Return a new network, or that of the model to start from."""
    if not options.start:
        return build(
            options.architecture, side_px, weights=options.weights, input_px=options.input_px
        )
    card = find_model(options.start)
    if card.architecture != options.architecture or card.patch_size_px != side_px:
        raise ConfigError(
            f"{card.name} is {card.architecture or 'a network of no name'} for patches of "
            f"{card.patch_size_px} px, not {options.architecture} for {side_px} px",
            "Train with the architecture and the patch size of the model to start from",
        )
    return probability_network(load_keras_model(card))


def _begin_tuning(trainer: keras.Model, options: TrainingOptions, n_steps: int) -> None:
    """Let the top of the base train too, with a schedule of its own."""
    unfreeze_top(trainer.get_layer(options.architecture), options.tuned_share)
    n_epochs = options.epochs - options.head_epochs
    compile_for_training(trainer, options, options.tuning_rate, n_steps, n_epochs)


def compile_for_training(
    trainer: keras.Model, options: TrainingOptions, rate: float, steps: int, n_epochs: int
) -> None:
    """Give a model the loss and the optimizer of the options, its rate for so many epochs."""
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
    # TensorFlow compiles steps to a graph in any case; what XLA adds on a GPU was not measured.
    with_xla = is_worth_compiling(on_gpu=False)
    trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=with_xla)


def _one_epoch(
    trainer: keras.Model,
    material: _Material,
    judging: _Judging,
    options: TrainingOptions,
    epoch: int,
    watched: list[keras.callbacks.Callback],
) -> dict[str, float]:
    start = time.perf_counter()
    _reseed(trainer, options.seed, epoch)
    # The order is ours already; Keras would shuffle by a state that a resumed run does not have.
    fitted = trainer.fit(
        material.batches(options, epoch), epochs=1, shuffle=False, verbose=0, callbacks=watched
    )
    entry = {name: float(values[0]) for name, values in fitted.history.items()}
    entry |= _validate(trainer.get_layer(options.architecture), judging)
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
    if options.blend and not 0 < options.blend_share < 1:
        raise ConfigError(f"blend_share is {options.blend_share:g}", "It lies between 0 and 1")
    if not 0 < options.negatives_share < 1:
        raise ConfigError(
            f"negatives_share is {options.negatives_share:g}", "It is a share between 0 and 1"
        )
    if options.start and (options.weights or options.input_px):
        raise ConfigError(
            f"start {options.start!r} brings its own weights and input size",
            "Leave weights and input_px out",
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
    """Return the AUC on validation, as they are and altered; the loss where there is no AUC."""
    auc = float(np.mean([entry[key] for key in ("validation_auc", "altered_auc") if key in entry]))
    return auc if math.isfinite(auc) else -entry["validation_loss"]


def _validate(network: keras.Model, judging: _Judging) -> dict[str, float]:
    y = judging.data.labels
    p = np.clip(predict(network, judging.data.images).astype(float), 1e-7, 1 - 1e-7)
    scores = {
        "validation_loss": float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p)))),
        "validation_auc": metrics.auc(y, p),
        "validation_accuracy": float(np.mean((p >= 0.5) == (y > 0))),
    }
    if judging.altered is not None:
        scores["altered_auc"] = metrics.auc(y, predict(network, judging.altered))
    return scores


def save_checkpoint(
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
    trainer: keras.Model, work: Path, options: TrainingOptions, n_done: int, n_steps: int
) -> None:
    """Take weights and optimizer state over from the checkpoint.

    The loaded model itself will not do: Keras forgets which variables are free of weight decay.
    """
    if 0 < options.head_epochs < n_done:
        _begin_tuning(trainer, options, n_steps)
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
