"""Regressions on features of a cell and its neighbors, for `compare_context.py`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.classifier import logit, sigmoid
from wsi_pipeline.classifier.context import N_FEATURES, ring_features
from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.learning.training.context import LabelledMap, fit_context, fit_logistic

NEIGHBORS = [step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)]

Grid = NDArray[np.float64]
Maps = tuple["WholeMount", ...]
Refine = Callable[["WholeMount"], FloatArray]
"""A map -> refined probabilities, shape (rows, cols)."""
Fit = Callable[[Maps, int], Refine]
"""Maps to learn from and a seed -> how to refine another."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeMount(LabelledMap):
    """A patient's patches put together."""

    color: Grid
    """float64, shape (rows, cols, 3): mean color of each patch, NaN where there is none."""


def regression_on(features: Callable[[WholeMount], Grid]) -> Fit:
    """Return how a logistic regression on these features of a cell is fitted."""
    features = cache(features)

    def fit(maps: Maps, _: int) -> Refine:
        weights, bias = fit_logistic([features(one) for one in maps], maps)
        return lambda one: sigmoid((features(one) @ weights + bias).astype(np.float32))

    return fit


def unchanged(_: Maps, __: int) -> Refine:
    """Leave a map as it is."""
    return lambda one: one.values


def bundled(maps: Maps, _: int) -> Refine:
    """Fit the form that models carry."""
    context = fit_context(maps)
    return lambda one: context.refine(one.values)


def with_bundled(fit: Fit, maps: Maps, seed: int) -> Refine:
    """Return the mean of the logits of the bundled form and another."""
    both = bundled(maps, seed), fit(maps, seed)
    return lambda one: sigmoid(np.mean([logit(refine(one)) for refine in both], axis=0))


def twice(maps: Maps, seed: int) -> Refine:
    """Fit the form that models carry, and again on its own result (auto-context)."""
    first = bundled(maps, seed)
    out = {
        one: bundled(tuple(other for other in maps if other is not one), seed)(one) for one in maps
    }

    def features(one: WholeMount) -> Grid:
        refined = out[one] if one in out else first(one)
        return np.concatenate([one.features, ring_features(refined)[..., :N_FEATURES]], axis=-1)

    return regression_on(features)(maps, seed)


def stacked(*parts: Callable[[WholeMount], Grid]) -> Callable[[WholeMount], Grid]:
    """Return the features of all parts."""
    return lambda one: np.concatenate([part(one) for part in parts], axis=-1)


@cache
def logits(one: WholeMount) -> Grid:
    """Return the logit of each cell, NaN where not classified."""
    known = ~np.isnan(one.values)
    return np.where(known, logit(np.nan_to_num(one.values, nan=0.5)), np.nan).astype(float)


@cache
def rings(one: WholeMount) -> Grid:
    """Return what the bundled form looks at."""
    return one.features


def shifted(values: Grid, down: int, right: int, fill: float = np.nan) -> Grid:
    """Return at each cell the value so many cells below and to the right."""
    reach = max(abs(down), abs(right))
    rows, cols = values.shape
    padded = np.pad(values, reach, constant_values=fill)
    return padded[reach + down : reach + down + rows, reach + right : reach + right + cols]


def orbit_means(radius: int, one: WholeMount) -> Grid:
    """Return the own logit and the mean over each set of neighbors that a turn or a flip maps onto
    each other: weights on them are a symmetric filter that looks past cells not classified."""
    own = logits(one)
    features = [own]
    for far in range(1, radius + 1):
        for near in range(far + 1):
            steps = {(s * a, t * b) for a, b in ((near, far), (far, near))
                     for s, t in product((1, -1), repeat=2)}  # fmt: skip
            around = np.stack([shifted(own, *step) for step in steps])
            n_known = (~np.isnan(around)).sum(0)
            features.append((np.nansum(around, 0) + own) / (n_known + 1))
    return np.stack(features, axis=-1)


def ordered(one: WholeMount) -> Grid:
    """Return the second, fourth and smallest of the eight neighbors' logits, and own x mean."""
    own = logits(one)
    around = np.stack([shifted(own, *step) for step in NEIGHBORS])
    around = np.where(np.isnan(around), own, around)
    falling = -np.sort(-around, axis=0)
    return np.stack([falling[1], falling[3], falling[7], own * around.mean(0) / 4], axis=-1)


def best_window(side: int, one: WholeMount) -> Grid:
    """Return the largest and the smallest mean of the windows that hold the cell: a cell at the
    rim of a focus is taken with the focus, one beside it with what lies around."""
    margin = side - 1
    own = np.pad(logits(one), margin, constant_values=np.nan)
    steps = list(product(range(side), repeat=2))
    inside = np.stack([shifted(own, *step) for step in steps])
    enough = (~np.isnan(inside)).sum(0) >= max(2, len(steps) // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no cell of a window is classified
        means = np.where(enough, np.nanmean(inside, 0), np.nan)
        windows = np.stack([shifted(means, -down, -right) for down, right in steps])
        found = np.nanmax(windows, 0), np.nanmin(windows, 0)
    known = [np.where(np.isnan(values), own, values) for values in found]
    return np.stack(known, axis=-1)[margin:-margin, margin:-margin]


def of_the_slide(statistic: Callable[[Grid], float], one: WholeMount) -> Grid:
    """Return the same number for every cell of the slide."""
    own = logits(one)
    return np.full((*own.shape, 1), statistic(own[~np.isnan(own)]))


def color(one: WholeMount) -> Grid:
    """Return the patch's mean color against the slide's."""
    return (one.color - np.nanmedian(one.color, (0, 1))) / 32


def random_field(
    coupling: float, reach: int, contrast: float, own_weight: float, one: WholeMount
) -> Grid:
    """Return the logit after ten damped mean-field steps of a Potts model.

    Neighbors within `reach` count by a Gaussian of half the reach and, where `contrast` is
    positive, by one of the difference of their mean colors, in levels (Krähenbühl & Koltun 2011).
    """
    unary = own_weight * np.nan_to_num(logits(one))
    pairs = couplings(reach, contrast, one)
    total = np.sum([weight for _, weight in pairs], axis=0)
    typical = np.median(total[~np.isnan(one.values)])
    mean, field = np.tanh(unary / 2), unary
    for _ in range(10):
        said = [weight * shifted(mean, down, right, fill=0.0) for (down, right), weight in pairs]
        field = unary + coupling / typical * np.sum(said, axis=0)
        mean = 0.5 * mean + 0.5 * np.tanh(field / 2)
    return np.where(np.isnan(one.values), np.nan, field)[..., None]


@cache
def couplings(reach: int, contrast: float, one: WholeMount) -> list[tuple[tuple[int, int], Grid]]:
    """Return each step to a neighbor with the weight of the pair, 0 where one is not classified."""
    known = (~np.isnan(one.values)).astype(float)
    pairs = []
    for down, right in product(range(-reach, reach + 1), repeat=2):
        if (down, right) == (0, 0):
            continue
        weight = np.exp(-2 * (down**2 + right**2) / reach**2) if reach > 1 else 1.0
        pair = weight * known * shifted(known, down, right, fill=0.0)
        if contrast:
            other = [shifted(one.color[..., i], down, right) for i in range(3)]
            apart = np.nan_to_num(((one.color - np.stack(other, axis=-1)) ** 2).sum(-1))
            pair = pair * np.exp(-apart / (2 * contrast**2))
        pairs.append(((down, right), pair))
    return pairs


def random_fields(before: Callable[[WholeMount], Grid] | None = None) -> dict[str, Fit]:
    """Return the settings of the field, alone or beside other features."""
    settings: dict[str, Fit] = {}
    for reach, contrast, coupling, own in product((1, 4), (0, 20, 40), (2.0, 4.0), (0.5, 1.0)):
        field = partial(random_field, coupling, reach, contrast, own)
        name = f"reach {reach}, contrast {contrast or 'none'}, coupling {coupling:g}, own {own:g}"
        settings[name] = regression_on(stacked(before, field) if before else field)
    return settings
