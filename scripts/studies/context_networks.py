"""Small networks over maps of logits, for `compare_context.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from context_features import Grid, Maps, Refine, WholeMount, logits, rings
from numpy.typing import NDArray

from wsi_pipeline.classifier import logit, sigmoid
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.training.context import fit_context

SHEET = 80
"""Side of a network's input, in cells: the largest slide, and a multiple of four."""
BATCH = 4


def channels(maps: Maps, kind: str) -> Callable[[WholeMount], Grid]:
    """Return what gives a network its input, (rows, cols, n): first the logit that it corrects,
    last which cells are classified; "rings" puts the bundled form and its features between."""
    context = fit_context(maps) if kind == "rings" else None

    def of(one: WholeMount) -> Grid:
        known = ~np.isnan(one.values)
        if context is None:
            parts: list[NDArray[Any]] = [logits(one)[..., None]]
        else:
            parts = [logit(context.refine(one.values))[..., None], rings(one)]
        parts = [np.where(known[..., None], part / 3, 0.0) for part in parts]
        return np.concatenate([*parts, known[..., None]], axis=-1)

    return of


def filter_network(inputs: Any, width: int = 8) -> Any:
    """Return two layers: 5 x 5 cells, then the cell alone."""
    from keras import layers

    x = layers.Conv2D(width, 5, padding="same", activation="relu")(inputs)
    return layers.Conv2D(width, 1, activation="relu")(x)


def u_net(inputs: Any, width: int = 8) -> Any:
    """Return a U-Net of two levels (Ronneberger et al. 2015)."""
    from keras import layers

    def twice_convolved(x: Any, n: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(n, 3, padding="same", activation="relu")(x)
        return x

    fine = twice_convolved(inputs, width)
    middle = twice_convolved(layers.MaxPooling2D()(fine), 2 * width)
    x = twice_convolved(layers.MaxPooling2D()(middle), 4 * width)
    for finer, n in ((middle, 2 * width), (fine, width)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), finer])
        x = layers.Conv2D(n, 3, padding="same", activation="relu")(x)
    return x


@cache
def network(
    body: Callable[[Any], Any], kind: str, steps: int, jitter: float, maps: Maps, seed: int
) -> Refine:
    """Train a network that corrects a logit, on turned and flipped maps of jittered logits."""
    import keras

    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()
    inputs_of = channels(maps, kind)
    sheets = [Sheet.of(one, inputs_of(one)) for one in maps]
    inputs = keras.Input((SHEET, SHEET, sheets[0].inputs.shape[-1]))
    seen = keras.layers.Concatenate()([body(inputs), inputs])
    change = keras.layers.Conv2D(1, 1, kernel_initializer="zeros")(seen)
    model = keras.Model(inputs, change + 3 * inputs[..., :1])
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps * 9 // 10, warmup_target=5e-3, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01),
        keras.losses.BinaryCrossentropy(from_logits=True, reduction="sum"),
    )
    for batch in batches(sheets, steps, jitter, np.random.default_rng(seed)):
        model.train_on_batch(batch.inputs, batch.truth, sample_weight=batch.weight)

    def refine(one: WholeMount) -> FloatArray:
        sheet = Sheet.of(one, inputs_of(one)).inputs
        views = np.stack([turned(sheet, view) for view in range(8)])
        found = np.asarray(model.predict_on_batch(views))[..., 0]
        back = np.mean([turned_back(found[view], view) for view in range(8)], axis=0)
        rows, cols = one.values.shape
        refined = sigmoid(back[:rows, :cols].astype(np.float32))
        return np.where(np.isnan(one.values), np.float32(np.nan), refined)

    return refine


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """One or more maps as a network sees them, (..., SHEET, SHEET, channels)."""

    inputs: NDArray[np.float32]
    truth: NDArray[np.float32]
    weight: NDArray[np.float32]
    """0 where there is no label; of each map they add up to 1."""

    @classmethod
    def of(cls, one: WholeMount, inputs: Grid) -> Sheet:
        """Put a map into the corner of a sheet."""
        rows, cols = one.values.shape
        if max(rows, cols) > SHEET:
            raise SystemExit(f"{one.slide_id} is larger than {SHEET} cells: raise SHEET")
        use = (one.truth > 0) & ~np.isnan(one.values)
        margin = ((0, SHEET - rows), (0, SHEET - cols))
        return cls(
            np.pad(inputs, (*margin, (0, 0))).astype(np.float32),
            np.pad(one.truth == 2, margin).astype(np.float32)[..., None],
            np.pad(use / use.sum(), margin).astype(np.float32),
        )


def batches(
    sheets: Sequence[Sheet], steps: int, jitter: float, rng: np.random.Generator
) -> Iterator[Sheet]:
    """Yield maps turned and flipped, their logits scaled and shifted as a whole."""
    order: list[int] = []
    for _ in range(steps):
        while len(order) < BATCH:
            order += rng.permutation(len(sheets)).tolist()
        chosen, order = [sheets[i] for i in order[:BATCH]], order[BATCH:]
        views = rng.integers(8, size=BATCH).tolist()
        inputs = np.stack([turned(s.inputs, v) for s, v in zip(chosen, views, strict=True)])
        scale = rng.uniform(1 - jitter, 1 + jitter, (BATCH, 1, 1, 1))
        shift = rng.normal(0, jitter, (BATCH, 1, 1, 1))
        known = inputs[..., -1:]
        inputs = np.concatenate([(inputs[..., :-1] * scale + shift) * known, known], axis=-1)
        truth = np.stack([turned(s.truth, v) for s, v in zip(chosen, views, strict=True)])
        weight = np.stack([turned(s.weight, v) for s, v in zip(chosen, views, strict=True)])
        yield Sheet(inputs.astype(np.float32), truth, weight)


def turned(sheet: NDArray[Any], view: int) -> NDArray[Any]:
    """Return one of the eight turns and flips."""
    return np.rot90(sheet.swapaxes(0, 1) if view >= 4 else sheet, view % 4)


def turned_back(sheet: NDArray[Any], view: int) -> NDArray[Any]:
    """Undo `turned`."""
    back = np.rot90(sheet, -(view % 4))
    return back.swapaxes(0, 1) if view >= 4 else back
